"""The backend for engines, on a fake TensorRT and a fake GPU: no engine is executed here. See test_cuda.py for
those."""

import gc
import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from streamparts.backends.choice import open_backend
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.backends.overlap import NUM_SLOTS
from streamparts.backends.tensorrt.backend import RtxKernels, TensorRtBackend
from streamparts.backends.tensorrt.cache import EngineCache
from streamparts.backends.tensorrt.info import this_machine
from streamparts.backends.tensorrt.library import available, load_library
from streamparts.backends.tensorrt.make import Request, make_engine
from streamparts.backends.tensorrt.one_pass import ALIGNMENT, Interface, block_bytes
from streamparts.bundle.engine import BuildOptions
from streamparts.bundle.load import Bundle
from streamparts.data import NetworkOutputs
from streamparts.errors import MissingExtraError, ModelError
from streamparts.parity.patterns import pattern_frames
from tests.fake_cuda import Error
from tests.fake_tensorrt import FakeGpu, fake_tensorrt

MAX_BATCH = 4


@pytest.fixture
def engine(bundle: Bundle, fake_gpu: FakeGpu) -> Bundle:
    made = make_engine(Request(bundle, "fp32", BuildOptions(max_batch=MAX_BATCH)), this_machine("tiny"))
    fake_gpu.cuda.calls.clear()
    return made


@pytest.fixture
def backend(engine: Bundle) -> Iterator[TensorRtBackend]:
    backend = TensorRtBackend(engine)
    yield backend
    backend.close()


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return pattern_frames((64, 64), count, seed)


def same(one: NetworkOutputs, other: NetworkOutputs) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one[:3], other[:3], strict=True))


@pytest.mark.parametrize("count", [1, 2, 3, MAX_BATCH, MAX_BATCH + 1, 3 * MAX_BATCH, 3 * MAX_BATCH + 2])
def test_any_number_of_pictures_gives_what_the_model_gives(
    backend: TensorRtBackend, bundle: Bundle, count: int
) -> None:
    images = pictures(count)
    for _ in range(2):  # the second time from the graph
        assert same(backend.run(images), OnnxRuntimeBackend(bundle).run(images))


def test_the_sizes_of_a_stream_are_captured_when_the_backend_opens(backend: TensorRtBackend, fake_gpu: FakeGpu) -> None:
    assert backend.graphs == {1: True, 2: True, 4: True}
    fake_gpu.cuda.calls.clear()
    for count in (1, 3, 2, 4, 3, 9):
        backend.run(pictures(count))
    names = [call[0] for call in fake_gpu.cuda.calls]
    assert "begin capture" not in names
    assert names.count("launch graph") == 5 + 3


def test_all_batch_sizes_of_a_slot_compute_in_the_same_memory(backend: TensorRtBackend, fake_gpu: FakeGpu) -> None:
    assert len({context.scratch for context in fake_gpu.live_contexts}) == NUM_SLOTS
    assert len(fake_gpu.live_contexts) == 3 * NUM_SLOTS


def test_rows_that_were_filled_are_submitted_without_a_copy(backend: TensorRtBackend, bundle: Bundle) -> None:
    images = pictures(3)
    rows = backend.rows(3)
    rows[:] = images
    backend.submit(rows)
    other = backend.rows(1)
    assert not np.shares_memory(other, rows), "the next batch has its own memory"
    other[:] = images[2:]
    backend.submit(other)
    assert same(backend.collect(), OnnxRuntimeBackend(bundle).run(images))
    assert same(backend.collect(), OnnxRuntimeBackend(bundle).run(images[2:]))


def test_results_are_copies(backend: TensorRtBackend) -> None:
    first = backend.run(pictures(1, seed=1))
    kept = [output.copy() for output in first[:3]]
    backend.run(pictures(1, seed=2))
    backend.run(pictures(1, seed=3))
    backend.close()
    assert all(np.array_equal(one, other) for one, other in zip(first[:3], kept, strict=True))


def test_a_picture_may_be_overwritten_once_it_is_submitted(backend: TensorRtBackend, bundle: Bundle) -> None:
    images = pictures(1)
    wanted = OnnxRuntimeBackend(bundle).run(images)
    backend.submit(images)
    images[:] = 0
    assert same(backend.collect(), wanted)


def test_two_batches_are_under_way_at_once_and_come_back_in_order(
    backend: TensorRtBackend, bundle: Bundle, fake_gpu: FakeGpu
) -> None:
    batches = [pictures(count, seed) for seed, count in enumerate((1, 3, 2, 1, 4))]
    wanted = [OnnxRuntimeBackend(bundle).run(batch) for batch in batches]
    got = []
    backend.submit(batches[0])
    for batch in batches[1:]:
        backend.submit(batch)
        got.append(backend.collect())
    got.append(backend.collect())
    assert all(same(one, other) for one, other in zip(got, wanted, strict=True))
    assert len({call[1] for call in fake_gpu.cuda.calls if call[0] == "launch graph"}) == NUM_SLOTS


def test_more_submissions_than_slots_are_refused(backend: TensorRtBackend) -> None:
    for _ in range(NUM_SLOTS):
        backend.submit(pictures(1))
    with pytest.raises(ValueError, match="collect"):
        backend.submit(pictures(1))
    with pytest.raises(ValueError, match="collect"):
        backend.run(pictures(1))
    for _ in range(NUM_SLOTS):
        backend.collect()
    with pytest.raises(ValueError, match="nothing was submitted"):
        backend.collect()


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 64, 64, 3), np.float32),
        np.zeros((1, 32, 64, 3), np.uint8),
        np.zeros((64, 64, 3), np.uint8),
        np.zeros((0, 64, 64, 3), np.uint8),
    ],
)
def test_other_pictures_than_the_networks_are_refused(backend: TensorRtBackend, images: np.ndarray) -> None:
    with pytest.raises(ModelError, match="takes uint8 images of shape"):
        backend.run(images)


def test_pictures_that_are_views_are_read_as_they_look(backend: TensorRtBackend, bundle: Bundle) -> None:
    view = pictures(4)[::-2, :, ::-1]
    assert same(backend.run(view), OnnxRuntimeBackend(bundle).run(np.ascontiguousarray(view)))


@pytest.mark.parametrize(("batch", "evidence"), [(1, False), (3, True), (8, True)])
def test_outputs_lie_aligned_and_apart_in_their_block(batch: int, evidence: bool) -> None:
    fields = Interface((65, 63), 5, 8, evidence).fields(batch)
    assert [item.name for item in fields] == list(NetworkOutputs._fields[: 4 if evidence else 3])
    assert all(item.offset % ALIGNMENT == 0 for item in fields)
    ends = [item.offset + item.num_bytes for item in fields]
    assert all(end <= item.offset for end, item in zip(ends, fields[1:], strict=False))
    assert block_bytes(fields) == ends[-1]


def test_closing_gives_everything_back_once(engine: Bundle, fake_gpu: FakeGpu) -> None:
    backend = TensorRtBackend(engine)
    for count in (1, 2, MAX_BATCH):
        backend.run(pictures(count))
    backend.submit(pictures(1))
    assert fake_gpu.cuda.live and fake_gpu.live_contexts
    backend.close()
    backend.close()
    gc.collect()
    assert fake_gpu.cuda.live == {}
    assert not list(fake_gpu.live_contexts) and not list(fake_gpu.live_engines)


def test_a_backend_that_is_forgotten_gives_everything_back(engine: Bundle, fake_gpu: FakeGpu) -> None:
    backend = TensorRtBackend(engine)
    backend.run(pictures(1))
    del backend
    gc.collect()
    assert fake_gpu.cuda.live == {}


def test_larger_batches_are_captured_in_powers_of_two(bundle: Bundle, fake_gpu: FakeGpu) -> None:
    backend = TensorRtBackend(make_engine(Request(bundle, "fp32", BuildOptions(max_batch=20)), this_machine("tiny")))
    for count in (9, 12, 16, 17, 20):
        assert same(backend.run(pictures(count)), OnnxRuntimeBackend(bundle).run(pictures(count)))
    assert set(backend.graphs) == {1, 2, 4, 8, 16, 20}
    backend.close()
    assert fake_gpu.cuda.live == {}


@pytest.mark.parametrize("function", ["cudaMalloc", "cudaMallocHost", "cudaStreamCreateWithFlags", "cudaMemcpyAsync"])
def test_a_full_gpu_is_named_and_leaves_nothing_behind(engine: Bundle, fake_gpu: FakeGpu, function: str) -> None:
    fake_gpu.cuda.failing[function] = Error.cudaErrorMemoryAllocation
    with pytest.raises(ModelError, match="cudaErrorMemoryAllocation"):
        TensorRtBackend(engine)
    gc.collect()
    assert fake_gpu.cuda.live == {}
    assert not list(fake_gpu.live_engines)


@pytest.mark.parametrize(
    ("function", "is_warm"),
    [
        ("cudaStreamSynchronize", False),
        ("cudaStreamSynchronize", True),
        ("cudaGraphLaunch", False),
        ("cudaGraphLaunch", True),
    ],
)
def test_a_failure_of_cuda_is_named_and_the_next_batch_gets_its_own_results(
    backend: TensorRtBackend, bundle: Bundle, fake_gpu: FakeGpu, function: str, is_warm: bool
) -> None:
    if is_warm:
        backend.run(pictures(2 * MAX_BATCH))
    fake_gpu.cuda.failing[function] = Error.cudaErrorIllegalAddress
    with pytest.raises(ModelError, match="cudaErrorIllegalAddress") as caught:
        backend.run(pictures(2 * MAX_BATCH, seed=1))
    assert "\n" not in str(caught.value)
    fake_gpu.cuda.failing.clear()
    images = pictures(3, seed=2)
    assert same(backend.run(images), OnnxRuntimeBackend(bundle).run(images))


def test_a_failure_of_the_network_is_told_in_tensorrts_words(engine: Bundle, fake_gpu: FakeGpu) -> None:
    fake_gpu.fails.add("execute")
    with pytest.raises(ModelError, match=r"tiny.onnx: TensorRT failed \(kernel failed\)"):
        TensorRtBackend(engine)
    assert fake_gpu.cuda.live == {}


def test_a_library_that_does_not_like_the_driver_is_told_in_its_words(
    engine: Bundle, bundle: Bundle, fake_gpu: FakeGpu
) -> None:
    fake_gpu.fails.add("start")
    words = r"TensorRT 10.99.0 does not start on this GPU and driver \(CUDA initialization failure\)"
    with pytest.raises(ModelError, match=words):
        TensorRtBackend(engine)
    with pytest.raises(ModelError, match=words):
        make_engine(Request(bundle, "fp32", BuildOptions()), this_machine("tiny"))


def test_a_backend_left_open_is_closed_at_exit(engine: Bundle, fake_gpu: FakeGpu) -> None:
    from streamparts.backends.tensorrt import backend as module

    backend = TensorRtBackend(engine)
    module._close_all()
    assert fake_gpu.cuda.live == {}
    assert backend.graphs == {}


@pytest.mark.parametrize("where", ["network", "cudaStreamEndCapture", "cudaGraphInstantiate"])
def test_an_engine_that_cannot_be_captured_runs_all_the_same_and_says_so(
    engine: Bundle, bundle: Bundle, fake_gpu: FakeGpu, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    if where == "network":
        fake_gpu.fails.add("capture")
    else:
        fake_gpu.cuda.failing[where] = Error.cudaErrorStreamCaptureUnsupported
    images = pictures(2)
    with caplog.at_level(logging.WARNING):
        backend = TensorRtBackend(engine)
    assert "runs without a CUDA graph" in caplog.text
    assert set(backend.graphs.values()) == {False}
    assert same(backend.run(images), OnnxRuntimeBackend(bundle).run(images))
    assert "launch graph" not in {call[0] for call in fake_gpu.cuda.calls}
    assert "graph" not in fake_gpu.cuda.live.values()


@pytest.mark.parametrize(
    ("failure", "words"),
    [("deserialize", r"cannot load this engine \(magic tag does not match\)"), ("context", "no execution context")],
)
def test_an_engine_that_tensorrt_does_not_take_is_refused_in_one_line(
    engine: Bundle, fake_gpu: FakeGpu, failure: str, words: str
) -> None:
    fake_gpu.fails.add(failure)
    with pytest.raises(ModelError, match=words) as caught:
        TensorRtBackend(engine).run(pictures(1))
    assert "\n" not in str(caught.value)


def test_an_engine_that_is_not_what_its_description_says_is_refused(engine: Bundle) -> None:
    import msgspec

    for change in ({"parts": ("a", "b", "c")}, {"input_hw": (32, 64)}):
        spec = msgspec.structs.replace(engine.spec, **change)
        with pytest.raises(ModelError, match=r"engine's '\w+' is .*, not \("):
            TensorRtBackend(replace(engine, spec=spec))


def test_no_runtime_is_made_where_there_is_no_driver(engine: Bundle, fake_gpu: FakeGpu) -> None:
    made = fake_gpu.num_runtimes
    fake_gpu.cuda.num_gpus = fake_gpu.cuda.driver = 0
    assert available() == "no CUDA driver or GPU here (cudaErrorInsufficientDriver)"
    with pytest.raises(ModelError, match=r"CUDA.*--model .*\.onnx"):
        TensorRtBackend(engine)
    assert fake_gpu.num_runtimes == made


def test_a_driver_that_is_too_old_is_told_with_both_remedies(fake_gpu: FakeGpu) -> None:
    fake_gpu.cuda.num_gpus, fake_gpu.cuda.driver = 0, 12040
    assert available() == (
        "no driver for CUDA 13 here: it supports CUDA 12.4, and cuda-bindings is for 13.2; update it to 580, "
        "or pip install 'cuda-bindings<13'"
    )


def test_a_gpu_with_a_library_is_available(fake_gpu: FakeGpu) -> None:
    assert available() is None
    assert load_library().title == "TensorRT 10.99.0"


def test_the_second_library_serves_where_the_first_one_is_not(
    fake_gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", fake_tensorrt(fake_gpu))
    load_library.cache_clear()
    assert load_library().title == "TensorRT for RTX 10.99.0"


def test_without_any_library_the_pip_command_is_named(fake_gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    load_library.cache_clear()
    with pytest.raises(MissingExtraError, match=r"pip install 'streamparts\[trt\]'"):
        load_library()
    assert "pip install" in str(available())


def test_without_cuda_bindings_the_pip_command_is_named(fake_gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    assert "pip install cuda-bindings" in str(available())


def test_an_onnx_bundle_is_built_into_the_cache(bundle: Bundle, fake_gpu: FakeGpu) -> None:
    for _ in range(2):
        backend = open_backend(bundle, "tensorrt")
        assert isinstance(backend, TensorRtBackend)
        assert same(backend.run(pictures(1)), OnnxRuntimeBackend(bundle).run(pictures(1)))
        backend.close()
    assert fake_gpu.num_builds == 1


class RuntimeCache:
    """A runtime cache of TensorRT for RTX: bytes that grow with each kernel; takes only those of its own driver."""

    def __init__(self, driver: bytes = b"580") -> None:
        self.data = self.driver = driver

    def deserialize(self, data: bytes) -> bool:
        if fits := data.startswith(self.driver):
            self.data = data
        return fits

    def serialize(self) -> bytes:
        return self.data


def test_kernels_that_rtx_compiled_are_kept_for_the_next_process(fake_gpu: FakeGpu) -> None:
    def opened(cache: RuntimeCache, plan: str = "a" * 64) -> RtxKernels:
        kernels = RtxKernels(plan, "1.7.1")
        kernels.attach(cache)
        return kernels

    first = RuntimeCache()
    kernels = opened(first)
    assert first.data == b"580", "nothing was saved yet"
    first.data += b" kernel"
    kernels.save()
    second = RuntimeCache()
    opened(second).save()
    assert second.data == b"580 kernel"
    of_another_engine = RuntimeCache()
    opened(of_another_engine, "b" * 64)
    assert of_another_engine.data == b"580"
    newer = RuntimeCache(b"590")
    kernels = opened(newer)
    newer.data += b" other"
    kernels.save()
    again = RuntimeCache(b"590")
    opened(again)
    assert again.data == b"590 other", "what another driver made was replaced"


def test_kernels_that_cannot_be_saved_are_no_error(fake_gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    RtxKernels("a" * 64, "1.7.1").save()  # TensorRT itself has no runtime cache

    def refuses(*_: object) -> None:
        raise ModelError("the disk is full")

    kernels, cache = RtxKernels("a" * 64, "1.7.1"), RuntimeCache()
    kernels.attach(cache)
    cache.data += b" kernel"
    monkeypatch.setattr(EngineCache, "write", refuses)
    kernels.save()


def test_rtx_diagnostics_are_told_in_words() -> None:
    from streamparts.backends.tensorrt.library import Library, rtx_plan_problem

    enum = SimpleNamespace(VALID=0, SUBOPTIMAL=1, INVALID=2)
    library = Library(SimpleNamespace(EngineValidity=enum), "tensorrt_rtx", SimpleNamespace(take=lambda: "said so"))

    def problem(answer: tuple[int, int]) -> str | None:
        return rtx_plan_problem(library, SimpleNamespace(get_engine_validity=lambda plan: answer), b"")

    assert problem((0, 0)) is None
    assert problem((1, 0)) is None
    assert problem((2, 3)) == "made by another version of the library, made for other compute capabilities"
    assert problem((2, 0)) == "said so"
