"""The torch backend for GPUs: what is not CUDA's own, padding, buffers, batches in flight, precision and the way
without a graph, runs on the host's stream; tests marked `cuda` run on a GPU."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from streamparts.backends import torch_cuda  # noqa: E402
from streamparts.backends.capture import CAPTURING, padded, sizes_to_warm  # noqa: E402
from streamparts.backends.choice import open_backend  # noqa: E402
from streamparts.backends.loading import load_model  # noqa: E402
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend  # noqa: E402
from streamparts.backends.overlap import NUM_SLOTS  # noqa: E402
from streamparts.backends.tolerances import disagreement  # noqa: E402
from streamparts.backends.torch_backend import best_device  # noqa: E402
from streamparts.backends.torch_cuda import TorchCudaBackend  # noqa: E402
from streamparts.backends.torch_graph import ATTEMPTS, TorchSlot, _Part, numpy_type, pack, unpack  # noqa: E402
from streamparts.bundle.load import Bundle  # noqa: E402
from streamparts.data import NetworkOutputs, Overlapping  # noqa: E402
from streamparts.errors import BackendError, ModelError  # noqa: E402
from streamparts.models.fuse import ConvReLU, fuse_relus  # noqa: E402
from streamparts.parity.patterns import pattern_frames  # noqa: E402
from streamparts.parity.sample_frames import sample_frames  # noqa: E402
from tests.conftest import ROOT  # noqa: E402
from tests.exported import exported_bundle  # noqa: E402
from tests.host_stream import HostStream  # noqa: E402

NEEDS_GPU = [
    pytest.mark.cuda,
    pytest.mark.skipif(best_device() != "cuda", reason="no GPU: CUDA graphs are not executed"),
]


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return exported_bundle("student", tmp_path_factory.mktemp("student"))


@pytest.fixture(scope="module")
def backend(student: Bundle) -> Iterator[TorchCudaBackend]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_cuda, "MAX_BATCH", 8)
        patch.setattr(TorchCudaBackend, "max_batch", 8)
        yield TorchCudaBackend(student, new_stream=HostStream)


def pictures(bundle: Bundle, count: int, seed: int = 0) -> np.ndarray:
    return pattern_frames(bundle.spec.input_hw, count, seed)


def assert_same(got: NetworkOutputs, wanted: NetworkOutputs) -> None:
    for mine, reference in zip(got, wanted, strict=True):
        assert (mine is None) == (reference is None)
        if mine is not None and reference is not None:
            np.testing.assert_array_equal(mine.shape, reference.shape)
            assert mine.dtype == reference.dtype
    assert (got.labels == wanted.labels).mean() >= 0.999
    np.testing.assert_allclose(got.affines, wanted.affines, rtol=0, atol=1e-4)
    np.testing.assert_allclose(got.scores, wanted.scores, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("batch", "largest", "size"),
    [(1, 8, 1), (2, 8, 2), (3, 8, 4), (5, 8, 8), (8, 8, 8), (5, 6, 6), (9, 256, 16), (255, 256, 256)],
)
def test_batches_are_padded_to_few_sizes(batch: int, largest: int, size: int) -> None:
    assert padded(batch, largest) == size


@pytest.mark.parametrize(("largest", "sizes"), [(1, (1,)), (3, (1, 2)), (6, (1, 2, 4)), (256, (1, 2, 4, 8))])
def test_small_sizes_are_prepared_at_opening(largest: int, sizes: tuple[int, ...]) -> None:
    assert sizes_to_warm(largest) == sizes


@pytest.mark.parametrize("count", [1, 3, 5, 8, 9, 20])
def test_any_number_of_pictures_gives_what_the_model_gives(
    backend: TorchCudaBackend, student: Bundle, count: int
) -> None:
    images = pictures(student, count)
    assert_same(backend.run(images), OnnxRuntimeBackend(student).run(images))


def test_no_size_is_captured_in_the_middle_of_a_stream(student: Bundle) -> None:
    streams: list[HostStream] = []

    def new() -> HostStream:
        streams.append(HostStream())
        return streams[-1]

    backend = TorchCudaBackend(student, new_stream=new)
    before = [stream.captures for stream in streams]
    assert before == [4] * NUM_SLOTS
    for count in (1, 2, 3, 4, 5, 6, 7, 8):
        backend.run(pictures(student, count))
    assert [stream.captures for stream in streams] == before
    assert backend.graphs == {1: True, 2: True, 4: True, 8: True}


def test_batches_under_way_come_back_in_order_and_do_not_mix(backend: TorchCudaBackend, student: Bundle) -> None:
    assert isinstance(backend, Overlapping)
    batches = [pictures(student, count, seed) for seed, count in enumerate((1, 3, 2, 1, 8))]
    wanted = [backend.run(batch) for batch in batches]
    got = []
    backend.submit(batches[0])
    for batch in batches[1:]:
        rows = backend.rows(len(batch))
        rows[:] = batch
        backend.submit(rows)
        got.append(backend.collect())
    got.append(backend.collect())
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.affines, other.affines)


def test_results_are_copies(backend: TorchCudaBackend, student: Bundle) -> None:
    first = backend.run(pictures(student, 1, 1))
    kept = [output.copy() for output in first if output is not None]
    for seed in (2, 3, 4):
        backend.run(pictures(student, 1, seed))
    for one, other in zip(first, kept, strict=False):
        np.testing.assert_array_equal(one, other)


def test_a_picture_may_be_overwritten_once_it_is_submitted(backend: TorchCudaBackend, student: Bundle) -> None:
    images = pictures(student, 1)
    wanted = backend.run(images)
    backend.submit(images)
    images[:] = 0
    np.testing.assert_array_equal(backend.collect().labels, wanted.labels)


def test_more_submissions_than_slots_are_refused(backend: TorchCudaBackend, student: Bundle) -> None:
    one = pictures(student, 1)
    for _ in range(NUM_SLOTS):
        backend.submit(one)
    for wrong in (backend.submit, backend.run):
        with pytest.raises(ValueError, match="collect"):
            wrong(one)
    for _ in range(NUM_SLOTS):
        backend.collect()
    with pytest.raises(ValueError, match="nothing was submitted"):
        backend.collect()
    with pytest.raises(ValueError, match="at most 8"):
        backend.submit(pictures(student, 9))


def test_a_capture_that_is_disturbed_is_tried_again(student: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        backend = TorchCudaBackend(student, new_stream=lambda: HostStream(failures=ATTEMPTS - 1))
    assert set(backend.graphs.values()) == {True}
    assert caplog.text == ""


def test_what_cannot_be_captured_runs_without_a_graph_and_says_so(
    student: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        backend = TorchCudaBackend(student, new_stream=lambda: HostStream(failures=1000))
    assert set(backend.graphs.values()) == {False}
    assert "torch-cuda: batches of 1 run without a CUDA graph, and slower (operation not permitted when" in caplog.text
    images = pictures(student, 3)
    for _ in range(2):
        assert_same(backend.run(images), OnnxRuntimeBackend(student).run(images))


def test_two_models_that_open_at_once_capture_one_after_the_other(student: Bundle) -> None:
    with ThreadPoolExecutor(2) as pool:
        opened = list(pool.map(lambda _: TorchCudaBackend(student, new_stream=HostStream), range(2)))
    assert all(set(each.graphs.values()) == {True} for each in opened)
    assert not CAPTURING.locked()


def test_a_network_that_fails_is_an_error_of_one_line(student: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError("CUDA error: out of\nmemory")

    monkeypatch.setattr(TorchSlot, "submit", breaks)
    backend = TorchCudaBackend(student, new_stream=HostStream)
    with pytest.raises(ModelError, match="torch-cuda: CUDA error: out of memory"):
        backend.run(pictures(student, 1))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "clip"), [("puppet-human", "puppet.mp4"), ("person", "people.mp4")])
def test_half_precision_is_inside_its_tolerance(name: str, clip: str) -> None:
    bundle = load_model(name)
    backend = TorchCudaBackend(bundle, "fp16", new_stream=HostStream)
    assert backend.name == "torch-cuda-fp16"
    frames = sample_frames(ROOT / "examples" / clip, bundle.spec.input_hw, 8).images
    assert disagreement(bundle, backend, "fp16", frames) is None
    assert disagreement(bundle, backend, "fp16") is None
    exact = OnnxRuntimeBackend(bundle).run(frames)
    assert not np.array_equal(backend.run(frames).affines, exact.affines), "16 bits are not 32"


def test_tf32_is_off_in_the_layers_that_lose_by_it() -> None:
    allowed: dict[str, bool] = {}
    network = torch_cuda.prepared(load_model("person"), "tf32", compiled=False)
    names = {layer: name.replace(".module", "") for name, layer in network.named_modules()}

    def note(layer: torch.nn.Module, *_: object) -> None:
        allowed[names[layer]] = torch.backends.cudnn.allow_tf32

    for layer in names:
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(note)
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=True):
        network(torch.zeros(1, 128, 128, 3, dtype=torch.uint8))
        assert torch.backends.cudnn.allow_tf32
    early = [f"student.encoder.lite0.{name}." for name in ("stem", *(f"stages.{number}" for number in range(4)))]
    others = ["student.encoder.across.0", "student.encoder.across.1", "student.pose.heat", "student.mask.0"]
    exact = {name for name, allows in allowed.items() if not allows}
    assert exact == {name for name in allowed if name.startswith(tuple(early)) or name in others}
    assert set(others) < exact < set(allowed)


def test_only_students_are_halved(tmp_path_factory: pytest.TempPathFactory) -> None:
    teacher = exported_bundle("teacher", tmp_path_factory.mktemp("teacher"))
    with pytest.raises(ModelError, match=r"torch-cuda-fp16.*torch-cuda\b"):
        TorchCudaBackend(teacher, "fp16", new_stream=HostStream)


def test_relus_are_fused_into_plain_convolutions_and_change_nothing(student: Bundle) -> None:
    from streamparts.backends.torch_network import build_network

    plain, fused = build_network(student), fuse_relus(build_network(student))
    assert sum(isinstance(module, ConvReLU) for module in fused.modules()) >= 10
    assert not any(isinstance(module, torch.nn.ReLU) for module in fused.modules())
    images = torch.from_numpy(pictures(student, 2))
    with torch.inference_mode():
        for one, other in zip(plain(images), fused(images), strict=True):
            assert torch.equal(one, other)


def test_relu6_is_fused_too_except_after_depthwise_convolutions() -> None:
    from streamparts.backends.torch_network import build_network

    bundle = load_model("person")
    plain, fused = build_network(bundle), fuse_relus(build_network(bundle))
    depthwise = sum(isinstance(module, torch.nn.Conv2d) and module.groups > 1 for module in plain.modules())
    left = sum(isinstance(module, torch.nn.ReLU6) for module in fused.modules())
    limits = [module.largest for module in fused.modules() if isinstance(module, ConvReLU)]
    assert left == depthwise and limits.count(6.0) >= 10 and limits.count(None) >= 1
    images = torch.from_numpy(pictures(bundle, 1))
    with torch.inference_mode():
        for one, other in zip(plain(images), fused(images), strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize(("activation", "largest"), [(torch.nn.ReLU(), None), (torch.nn.ReLU6(), 6.0)])
def test_cudnns_fused_kernel_is_called_with_the_convolutions_own_settings(
    activation: torch.nn.Module, largest: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the CPU, where what cuDNN does is put in its place."""

    def fused(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, *settings: object) -> torch.Tensor:
        stride, padding, dilation, groups = settings
        return torch.nn.functional.conv2d(x, weight, bias, stride, padding, dilation, groups).relu()

    monkeypatch.setattr(torch, "cudnn_convolution_relu", fused)
    convolution = torch.nn.Conv2d(4, 6, (3, 5), stride=(2, 1), padding=(1, 2), dilation=(1, 2)).requires_grad_(False)
    x = 20 * torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    wanted = activation(convolution(x))
    assert torch.equal(ConvReLU(convolution, largest).by_cudnn(x), wanted)
    assert wanted.max() > 6 or largest == wanted.max(), "it must be clipped somewhere"


@pytest.mark.slow
def test_a_compiled_network_says_the_same(student: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced by the compiler's front end, which sees the same network; Inductor's code is not built here."""
    compile_with = torch.compile
    monkeypatch.setattr(torch, "compile", lambda network, **given: compile_with(network, backend="eager", **given))
    monkeypatch.setattr(torch_cuda, "sizes_to_warm", lambda largest: (2,))
    backend = TorchCudaBackend(student, compiled=True, new_stream=HostStream)
    assert backend.name == "torch-cuda-compiled"
    images = pictures(student, 2)
    assert_same(backend.run(images), OnnxRuntimeBackend(student).run(images))


def test_without_a_gpu_it_is_an_error_that_says_why(student: Bundle) -> None:
    if best_device() == "cuda":
        pytest.skip("a GPU is here")
    with pytest.raises(BackendError, match=r"torch-cuda-fp16.*NVIDIA"):
        open_backend(student, "torch-cuda-fp16")


def test_packed_outputs_come_back_in_their_own_order() -> None:
    outputs = [
        torch.arange(2 * 3 * 5, dtype=torch.uint8).reshape(2, 3, 5),
        torch.randn(2, 4, 2, 3),
        torch.randn(4, 2).T,  # not contiguous
        torch.arange(7, dtype=torch.int64),
    ]
    packed = pack(outputs)
    parts = [_Part(tuple(tensor.shape), numpy_type(tensor)) for tensor in outputs]
    assert packed.dtype == torch.uint8
    assert len(packed) == sum(part.num_bytes for part in parts)
    for tensor, array in zip(outputs, unpack(packed.numpy(), parts), strict=True):
        np.testing.assert_array_equal(tensor.numpy(), array)
        assert tensor.numpy().dtype == array.dtype
        assert array.ctypes.data % array.itemsize == 0


@pytest.fixture(params=["fp32", "fp16"])
def on_gpu(request: pytest.FixtureRequest, student: Bundle) -> TorchCudaBackend:
    return TorchCudaBackend(student, request.param)


class TestOnAGpu:
    pytestmark = NEEDS_GPU

    def test_graphs_of_two_models_and_threads_do_not_meet(self, student: Bundle) -> None:
        images = pictures(student, 9)
        wanted = OnnxRuntimeBackend(student).run(images)
        barrier = threading.Barrier(2)

        def work(_: int) -> float:
            barrier.wait()
            backend = TorchCudaBackend(student)
            sizes = [1, 3, 9, 1, 5] * 20
            return float(min((backend.run(images[:n]).labels == wanted.labels[:n]).mean() for n in sizes))

        with ThreadPoolExecutor(2) as pool:
            assert min(pool.map(work, range(2))) >= 0.999

    def test_a_graph_replayed_a_thousand_times_gives_the_same(self, on_gpu: TorchCudaBackend, student: Bundle) -> None:
        assert set(on_gpu.graphs.values()) == {True}
        images = pictures(student, 2)
        first = [on_gpu.run(image[None]) for image in images]
        for number in range(1000):
            again = on_gpu.run(images[number % 2][None])
            np.testing.assert_array_equal(again.labels, first[number % 2].labels)
            np.testing.assert_array_equal(again.affines, first[number % 2].affines)

    def test_batches_under_way_do_not_mix(self, on_gpu: TorchCudaBackend, student: Bundle) -> None:
        images = pictures(student, 64)
        wanted = [on_gpu.run(image[None]).labels for image in images]
        got = []
        on_gpu.submit(images[:1])
        for image in images[1:]:
            on_gpu.submit(image[None])
            got.append(on_gpu.collect().labels)
        got.append(on_gpu.collect().labels)
        assert all(np.array_equal(one, other) for one, other in zip(got, wanted, strict=True))

    def test_it_agrees_with_the_model(self, on_gpu: TorchCudaBackend, student: Bundle) -> None:
        precision = "fp16" if on_gpu.name.endswith("fp16") else "fp32"
        assert disagreement(student, on_gpu, precision) is None

    def test_backends_opened_and_dropped_leave_no_memory_behind(self, student: Bundle) -> None:
        def once() -> int:
            backend = TorchCudaBackend(student)
            backend.run(pictures(student, 8))
            del backend
            gc.collect()
            torch.cuda.empty_cache()
            return int(torch.cuda.mem_get_info()[0])

        for _ in range(3):
            once()
        before = once()
        for _ in range(10):
            after = once()
        assert before - after < 8 << 20
