"""Requirements of every backend, tested on those available on this machine."""

import dataclasses
import hashlib
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from streamparts.arrays import ByteArray
from streamparts.backends.choice import find_backends, missing, open_backend
from streamparts.backends.loading import load_model
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.bundle.load import Bundle
from streamparts.data import Backend, NetworkOutputs
from streamparts.errors import BackendError, MissingExtraError, ModelError
from streamparts.parity.agreement import pose_differences, same_pixels
from streamparts.parity.sample_frames import sample_frames
from tests.exported import exported_bundle
from tests.tiny_model import PARTS, write_tiny_model

PEOPLE = Path(__file__).parent.parent / "examples" / "people.mp4"
HERE = [found.name for found in find_backends() if found.reason is None]
MODELS = {"tiny", "student", "scops", "teacher", "puppet-human", "person"}
PAIRS = [
    pytest.param(backend, model, id=f"{backend}-{model}")
    for backend in HERE
    for model in sorted(MODELS - {"tiny"} if backend.startswith("torch") else MODELS)
]
EACH_BACKEND = pytest.mark.parametrize("backend_name", HERE)
EACH_PAIR = pytest.mark.parametrize(("backend_name", "model"), PAIRS)

MAX_POSE_ERROR = 0.05 / 64
"""0.05 px at 128 px, in normalised coordinates."""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "tiny": load_model(write_tiny_model(folder / "tiny.onnx")),
        "student": exported_bundle("student", folder),
        "scops": exported_bundle("scops", folder),
        "teacher": exported_bundle("teacher", folder),
        "puppet-human": load_model("puppet-human"),
        "person": load_model("person"),
    }


@pytest.fixture(scope="module")
def opened(bundles: dict[str, Bundle]) -> dict[tuple[str, str], Backend]:
    """Backends that tests share, filled by `backend_of`."""
    return {}


@pytest.fixture
def backend(
    backend_name: str, model: str, bundles: dict[str, Bundle], opened: dict[tuple[str, str], Backend]
) -> Backend:
    if (backend_name, model) not in opened:
        opened[backend_name, model] = open_backend(bundles[model], backend_name)
    return opened[backend_name, model]


def pictures(bundle: Bundle, count: int = 3, seed: int = 0) -> ByteArray:
    """(count, H, W, 3): smooth colours, sharp rectangles, some noise; people for "person", which sees none of these."""
    if bundle.spec.name == "person":
        return people(bundle.spec.input_hw, count)[seed::6][:count].copy()
    random = np.random.default_rng(seed)
    height, width = bundle.spec.input_hw
    y, x = np.mgrid[:height, :width]
    images = np.empty((count, height, width, 3), np.uint8)
    for image in images:
        for channel in range(3):
            wave = np.sin(x / random.uniform(4, 20) + random.uniform(0, 6)) * np.cos(y / random.uniform(4, 20))
            image[..., channel] = 110 + 100 * wave + random.integers(0, 20, (height, width))
        for _ in range(4):
            top, left = random.integers(0, height - 16), random.integers(0, width - 16)
            image[top : top + 16, left : left + 12] = random.integers(0, 256, 3)
    return images


@cache
def people(size_hw: tuple[int, int], count: int) -> ByteArray:
    """Six times as many pictures as asked for; the clip is read once."""
    return sample_frames(PEOPLE, size_hw, 6 * count).images


def plain(bundle: Bundle) -> ByteArray:
    """Black, white and noise."""
    shape = (*bundle.spec.input_hw, 3)
    noise = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    return np.stack([np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8), noise])


def assert_agree(got: NetworkOutputs, wanted: NetworkOutputs, undirected: bool = False) -> None:
    for name, mine, reference in zip(NetworkOutputs._fields, got, wanted, strict=True):
        if reference is None:
            assert mine is None
            continue
        assert (mine.dtype, mine.shape) == (reference.dtype, reference.shape), name
    assert (got.labels == wanted.labels).mean() >= 0.999
    # Poses that are made of labels, and means over a part's pixels, are compared where these are the same.
    same = same_pixels(wanted.labels, got.labels, wanted.scores.shape[1])
    assert same.mean() > 0.5
    assert pose_differences(wanted.affines, got.affines, undirected)[same | (not undirected)].max() <= MAX_POSE_ERROR
    np.testing.assert_allclose(got.scores[same], wanted.scores[same], rtol=0, atol=1e-3)
    if wanted.evidence is not None:
        assert got.evidence is not None
        np.testing.assert_allclose(got.evidence[same], wanted.evidence[same], rtol=0, atol=1e-3)


@pytest.mark.slow
@EACH_PAIR
def test_a_backend_says_what_onnx_runtime_says(backend: Backend, model: str, bundles: dict[str, Bundle]) -> None:
    images = pictures(bundles[model], count=5)
    wanted = OnnxRuntimeBackend(bundles[model]).run(images)
    assert len(np.unique(wanted.labels)) > 1, "a picture of background alone proves little"
    assert_agree(backend.run(images), wanted, undirected=model == "scops")


@EACH_PAIR
def test_black_white_and_noise_are_pictures_too(backend: Backend, model: str, bundles: dict[str, Bundle]) -> None:
    images = plain(bundles[model])
    got = backend.run(images)
    assert np.isfinite(got.affines).all()
    assert_agree(got, OnnxRuntimeBackend(bundles[model]).run(images), undirected=model == "scops")


@EACH_PAIR
def test_a_batch_is_its_pictures_one_by_one(backend: Backend, model: str, bundles: dict[str, Bundle]) -> None:
    images = pictures(bundles[model], count=5)
    singles = [backend.run(image[None]) for image in images]
    for count in range(1, 6):
        joined = [None if parts[0] is None else np.concatenate(parts) for parts in zip(*singles[:count], strict=True)]
        assert_agree(backend.run(images[:count]), NetworkOutputs(*joined), undirected=model == "scops")


@EACH_PAIR
def test_the_same_picture_gives_the_same_again(backend: Backend, model: str, bundles: dict[str, Bundle]) -> None:
    images = pictures(bundles[model])
    first, _, again = backend.run(images), backend.run(images[::-1]), backend.run(images)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


@EACH_PAIR
def test_results_stay_when_the_next_picture_is_run(backend: Backend, model: str, bundles: dict[str, Bundle]) -> None:
    some, others = pictures(bundles[model]), plain(bundles[model])
    first = backend.run(some)
    kept = [None if array is None else array.copy() for array in first]
    second = backend.run(others)
    assert not np.array_equal(first.labels, second.labels)
    for array, copy in zip(first, kept, strict=True):
        np.testing.assert_array_equal(array, copy)
    for one, other in zip(first, second, strict=True):
        assert one is None or not np.shares_memory(one, other)


@EACH_PAIR
def test_the_picture_is_free_once_the_call_returns(backend: Backend, model: str, bundles: dict[str, Bundle]) -> None:
    images = pictures(bundles[model])
    got = backend.run(images)
    labels = got.labels.copy()
    images[:] = 0
    np.testing.assert_array_equal(got.labels, labels)
    again = pictures(bundles[model])
    np.testing.assert_array_equal(backend.run(again).labels, labels)


@EACH_PAIR
def test_pictures_need_not_lie_in_one_piece(backend: Backend, model: str, bundles: dict[str, Bundle]) -> None:
    images = pictures(bundles[model])
    mirrored = images[:, :, ::-1]
    assert not mirrored.flags.c_contiguous
    got, wanted = backend.run(mirrored), backend.run(np.ascontiguousarray(mirrored))
    np.testing.assert_array_equal(got.labels, wanted.labels)
    np.testing.assert_array_equal(got.affines, wanted.affines)


@EACH_PAIR
def test_pictures_may_be_read_only(backend: Backend, model: str, bundles: dict[str, Bundle]) -> None:
    images = pictures(bundles[model])
    wanted = backend.run(images)
    images.flags.writeable = False
    np.testing.assert_array_equal(backend.run(images).labels, wanted.labels)


@EACH_BACKEND
@pytest.mark.parametrize("model", ["student"])
@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 32, 64, 3), np.uint8),
        np.zeros((1, 64, 32, 3), np.uint8),
        np.zeros((1, 64, 64, 4), np.uint8),
        np.zeros((64, 64, 3), np.uint8),
        np.zeros((0, 64, 64, 3), np.uint8),
        np.zeros((1, 64, 64, 3), np.float32),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_other_pictures_are_refused_with_what_came(backend: Backend, wrong: np.ndarray) -> None:
    with pytest.raises(ModelError, match=r"\(N, 64, 64, 3\), got") as caught:
        backend.run(wrong)
    assert str(wrong.shape) in str(caught.value)


@EACH_BACKEND
def test_models_in_one_process_do_not_disturb_each_other(backend_name: str, bundles: dict[str, Bundle]) -> None:
    other = "scops" if backend_name.startswith("torch") else "tiny"
    one, two = open_backend(bundles["student"], backend_name), open_backend(bundles[other], backend_name)
    third = OnnxRuntimeBackend(bundles["scops"])
    inputs = {one: pictures(bundles["student"]), two: pictures(bundles[other]), third: pictures(bundles["scops"])}
    alone = {backend: backend.run(images) for backend, images in inputs.items()}
    for _ in range(5):
        for backend, images in inputs.items():
            for got, wanted in zip(backend.run(images), alone[backend], strict=True):
                np.testing.assert_array_equal(got, wanted)


@pytest.mark.slow
@EACH_BACKEND
def test_a_signal_is_survived_after_a_model_was_dropped_elsewhere(backend_name: str, tmp_path: Path) -> None:
    """OpenVINO frees the stack for signals of the thread that loaded it; a fault would end this process too."""
    model = write_tiny_model(tmp_path / "tiny.onnx") if not backend_name.startswith("torch") else None
    model = model or exported_bundle("student", tmp_path).path
    script = f"""
import os, signal, threading
from streamparts.backends.choice import open_backend
from streamparts.backends.loading import load_model

backends = [open_backend(load_model({str(model)!r}), {backend_name!r})]
thread = threading.Thread(target=backends.clear)
thread.start()
thread.join()
signal.signal(signal.SIGTERM, lambda *_: print("heard"))
os.kill(os.getpid(), signal.SIGTERM)
print("alive")
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert (ended.stdout.split(), ended.returncode) == (["heard", "alive"], 0), ended.stderr


@EACH_BACKEND
def test_the_number_of_threads_changes_nothing_but_the_speed(backend_name: str, bundles: dict[str, Bundle]) -> None:
    images = pictures(bundles["student"])
    before = torch_threads()
    try:
        one, two = (open_backend(bundles["student"], backend_name, threads).run(images) for threads in (1, 2))
    finally:
        set_torch_threads(before)
    assert_agree(one, two)


@EACH_BACKEND
def test_without_a_number_of_threads_those_of_torch_stay(backend_name: str, bundles: dict[str, Bundle]) -> None:
    before = torch_threads()
    open_backend(bundles["student"], backend_name).run(pictures(bundles["student"]))
    assert torch_threads() == before


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "torch-cpu"])
def test_there_is_no_half_a_thread(name: str, bundles: dict[str, Bundle]) -> None:
    with pytest.raises(ValueError, match=r"threads.*1, got 0"):
        open_backend(bundles["student"], name, 0)


def torch_threads() -> int:
    import torch

    return torch.get_num_threads()


def set_torch_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def with_evidence(bundle: Bundle) -> Bundle:
    """The tiny model with one output more: scores, and one less the scores."""
    model = onnx.load_model_from_string(bundle.data)
    shape = numpy_helper.from_array(np.array([0, len(PARTS), 1], np.int64), "evidence_shape")
    model.graph.initializer.append(shape)
    model.graph.node.extend(
        [
            helper.make_node("Reshape", ["scores", "evidence_shape"], ["evidence_mass"]),
            helper.make_node("Sub", ["one_float", "evidence_mass"], ["evidence_peak"]),
            helper.make_node("Concat", ["evidence_mass", "evidence_peak"], ["evidence"], axis=2),
        ]
    )
    model.graph.output.append(helper.make_tensor_value_info("evidence", TensorProto.FLOAT, ["N", len(PARTS), 2]))
    data = model.SerializeToString()
    return dataclasses.replace(bundle, data=data, sha256=hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("backend_name", [name for name in HERE if not name.startswith("torch")])
def test_evidence_is_passed_on_where_the_model_gives_it(backend_name: str, bundles: dict[str, Bundle]) -> None:
    bundle = bundles["tiny"]
    images = pictures(bundle)
    assert open_backend(bundle, backend_name).run(images).evidence is None
    got = open_backend(with_evidence(bundle), backend_name).run(images)
    assert got.evidence is not None
    np.testing.assert_array_equal(got.evidence, np.stack([got.scores, 1 - got.scores], axis=-1))


@EACH_BACKEND
def test_a_broken_model_is_one_line(backend_name: str, bundles: dict[str, Bundle]) -> None:
    broken = dataclasses.replace(bundles["student"], data=b"nonsense")
    with pytest.raises(ModelError, match=r"student\.onnx") as caught:
        open_backend(broken, backend_name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [("openvino", "openvino", "openvino"), ("torch", "torch", "train"), ("torch-cpu", "onnx", "train")],
)
def test_a_missing_extra_names_its_pip_command(
    name: str, package: str, extra: str, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    for module in ("torch_backend", "torch_network", "torch_cuda"):
        monkeypatch.delitem(sys.modules, f"streamparts.backends.{module}", raising=False)
    command = rf"{package} is not installed; pip install 'streamparts\[{extra}\]'"
    with pytest.raises(MissingExtraError, match=command):
        open_backend(bundle, name)
    reason = missing(name)
    assert reason is not None
    assert "pip install" in reason


def test_a_provider_that_this_onnx_runtime_lacks_is_an_error(bundle: Bundle) -> None:
    if "onnxruntime-cuda" in HERE:
        pytest.skip("onnxruntime-cuda is here")
    with pytest.raises((MissingExtraError, BackendError), match="onnxruntime-cuda"):
        open_backend(bundle, "onnxruntime-cuda")


def test_onnx_runtime_never_falls_back_by_itself(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its Python would print to stdout, and go on on the CPU."""
    import onnxruntime

    fallbacks: list[str] = []
    disable = onnxruntime.InferenceSession.disable_fallback
    monkeypatch.setattr(
        onnxruntime.InferenceSession, "disable_fallback", lambda session: (fallbacks.append("off"), disable(session))[1]
    )
    backend = OnnxRuntimeBackend(bundle)
    assert fallbacks == ["off"] and backend._session._enable_fallback is False


def test_a_provider_that_fails_prints_nothing_and_names_its_reason(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """ONNX Runtime's Python would print "EP Error" to stdout, where the results may go, and make one on the CPU."""
    import onnxruntime

    if "onnxruntime-cuda" in HERE:
        pytest.skip("onnxruntime-cuda is here")

    def fails(session: object, providers: object, options: object, disabled: object = None) -> None:
        raise RuntimeError("CUDA error cudaErrorNoKernelImageForDevice")

    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load libcudnn.so.9"), raising=False)
    monkeypatch.setattr(onnxruntime.InferenceSession, "_create_inference_session", fails)
    with pytest.raises(ModelError, match="cudaErrorNoKernelImageForDevice"):
        OnnxRuntimeBackend(bundle, device="cuda")
    assert capfd.readouterr().out == ""


def test_libraries_that_a_provider_lacks_are_the_reason(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import onnxruntime

    from streamparts.backends import onnx_runtime

    if "onnxruntime-cuda" in HERE:
        pytest.skip("onnxruntime-cuda is here")
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load libcudnn.so.9"), raising=False)
    monkeypatch.setattr(onnx_runtime, "missing_gpu", lambda: None)
    with pytest.warns(UserWarning), pytest.raises(BackendError, match=r"Failed to load libcudnn\.so\.9"):
        OnnxRuntimeBackend(bundle, device="cuda")
    assert capfd.readouterr().out == ""


def test_a_provider_that_falls_back_to_the_cpu_is_an_error(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    if "onnxruntime-cuda" in HERE:
        pytest.skip("onnxruntime-cuda is here")
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    # ONNX Runtime warns of it, or, where it has the provider but no device, writes to its log.
    with pytest.warns(UserWarning), pytest.raises(BackendError, match="CUDAExecutionProvider"):
        OnnxRuntimeBackend(bundle, device="cuda")


def test_the_path_of_a_model_is_not_read_again(tmp_path: Path) -> None:
    bundle = load_model(write_tiny_model(tmp_path / "tiny.onnx"))
    bundle.path.unlink()
    for name in HERE:
        if missing(name, bundle) is None:
            open_backend(bundle, name).run(pictures(bundle))
