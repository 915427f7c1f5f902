"""Frames in a GPU's memory: the code for them runs here on tensors in the host's."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from fractions import Fraction

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from streamparts import Tracker, track  # noqa: E402
from streamparts.backends.loading import load_model  # noqa: E402
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend  # noqa: E402
from streamparts.backends.shared import SharedDeviceBackend, share  # noqa: E402
from streamparts.backends.torch_cuda import TorchCudaBackend  # noqa: E402
from streamparts.bundle.load import Bundle  # noqa: E402
from streamparts.data import DeviceImage, Frame, NetworkOutputs, Overlapping  # noqa: E402
from streamparts.devices import OnDevice, torch_images  # noqa: E402
from streamparts.devices.torch_images import TorchImage, axis_weights  # noqa: E402
from streamparts.errors import ModelError  # noqa: E402
from streamparts.geometry import Letterbox  # noqa: E402
from streamparts.parity.sample_frames import sample_frames  # noqa: E402
from streamparts.sources.rescale import _resize_array  # noqa: E402
from streamparts.tracking.looks import Looks  # noqa: E402
from streamparts.tracking.segment import PartSegmenter  # noqa: E402
from tests.conftest import ROOT  # noqa: E402
from tests.exported import exported_bundle  # noqa: E402
from tests.host_stream import HostStream  # noqa: E402
from tests.media import picture  # noqa: E402

GPU = 2
"""DLPack's number of CUDA's memory."""


class OnGpu:
    """A DLPack object that says that it is in a GPU's memory, and is a tensor in the host's."""

    def __init__(self, image: np.ndarray) -> None:
        self.tensor = torch.from_numpy(image.copy())

    def __dlpack_device__(self) -> tuple[int, int]:
        return GPU, 0

    def __dlpack__(self, **_: object) -> object:
        raise AssertionError("not a GPU's memory after all")


@pytest.fixture
def gpu_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_images, "on_device", lambda image: TorchImage(image.tensor))


def picture_of(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("given", "wanted"), [((96, 128), (48, 64)), ((97, 131), (41, 64)), ((30, 40), (60, 80)), ((64, 64), (64, 64))]
)
def test_an_image_is_resized_on_its_device_as_on_the_host(given: tuple[int, int], wanted: tuple[int, int]) -> None:
    image = picture_of(*given)
    got = TorchImage(torch.from_numpy(image)).scaled(wanted)
    assert got.shape == (*wanted, 3)
    assert np.abs(got.astype(int) - _resize_array(image, wanted).astype(int)).max() <= 1


@pytest.mark.parametrize(("given", "wanted", "shrinks"), [(7, 3, True), (100, 33, True), (3, 7, False), (5, 5, False)])
def test_weights_of_a_pixel_sum_to_one(given: int, wanted: int, shrinks: bool) -> None:
    np.testing.assert_allclose(axis_weights(given, wanted, shrinks, torch.device("cpu")).sum(1), 1, atol=1e-6)


def test_the_networks_input_is_padded_on_the_device_as_on_the_host() -> None:
    image = picture_of(90, 128)
    letterbox = Letterbox.fit((90, 128), (64, 64), (-20.0, 10.0, 100.0, 100.0))
    crop = [round(value) for value in letterbox.crop or ()]
    inner = image[crop[1] : crop[1] + crop[3], crop[0] : crop[0] + crop[2]]
    wanted = letterbox.pad(_resize_array(inner, letterbox.inner_hw))
    got = TorchImage(torch.from_numpy(image)).fitted(letterbox)
    assert isinstance(got, DeviceImage)
    assert np.abs(got.tensor.numpy().astype(int) - wanted.astype(int)).max() <= 1


@pytest.mark.parametrize(
    "wrong", [torch.zeros(8, 8), torch.zeros(8, 8, 4, dtype=torch.uint8), torch.zeros(8, 8, 3)], ids=str
)
def test_what_is_no_picture_is_refused(wrong: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8"):
        TorchImage(wrong)


def test_a_tensor_in_the_hosts_memory_is_tracked_as_an_array(bundle: Bundle) -> None:
    arrays, tensors = Tracker(bundle, backend="onnxruntime"), Tracker(bundle, backend="onnxruntime")
    for number in range(3):
        image = picture(number)
        wanted = arrays.update(image, number / 30)
        got = tensors.update(torch.from_numpy(image), number / 30)
        np.testing.assert_array_equal(got.labels, wanted.labels)
        assert isinstance(got.frame.image, np.ndarray)


@pytest.mark.usefixtures("gpu_memory")
def test_a_frame_on_a_gpu_is_resized_there_where_the_network_runs_elsewhere(bundle: Bundle) -> None:
    arrays, tensors = Tracker(bundle, backend="onnxruntime"), Tracker(bundle, backend="onnxruntime")
    for number in range(3):
        image = picture(number)
        wanted, got = arrays.update(image, number / 30), tensors.update(OnGpu(image), number / 30)
        assert (got.labels == wanted.labels).mean() > 0.98
        assert isinstance(got.frame.image, DeviceImage)
        assert (got.frame.height, got.frame.width) == image.shape[:2]


def on_host_never(backend: TorchCudaBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the backend refuse images from the host's memory."""

    def never(*_: object) -> NetworkOutputs:
        raise AssertionError("the images were copied to the host")

    for name in ("run", "submit", "rows"):
        monkeypatch.setattr(backend, name, never)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return exported_bundle("student", tmp_path_factory.mktemp("student"))


@pytest.mark.usefixtures("gpu_memory")
def test_a_frame_on_a_gpu_stays_there_where_the_network_is(student: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = TorchCudaBackend(student, new_stream=HostStream)
    on_host_never(backend, monkeypatch)
    tracker, plain = Tracker(student, backend=backend), Tracker(student, backend=OnnxRuntimeBackend(student))
    for number in range(3):
        image = picture(number, 64, 64)
        got, wanted = tracker.update(OnGpu(image), number / 30), plain.update(image, number / 30)
        assert (got.labels == wanted.labels).mean() > 0.99
        np.testing.assert_allclose(got.scores, wanted.scores, atol=1e-2)


@pytest.mark.usefixtures("gpu_memory")
def test_a_followed_subject_stays_there_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """`person` looks at regions of the frame, several at once while it searches; the frames are those of a clip."""
    bundle = load_model("person")
    backend = TorchCudaBackend(bundle, new_stream=HostStream)
    on_host_never(backend, monkeypatch)
    tracker, plain = Tracker(bundle, backend=backend), Tracker(bundle, backend=OnnxRuntimeBackend(bundle))
    images = sample_frames(ROOT / "examples" / "people.mp4", (240, 240), 3).images
    for number, image in enumerate(images):
        got, wanted = tracker.update(OnGpu(image), number / 30), plain.update(image, number / 30)
        assert (got.labels == wanted.labels).mean() > 0.98
        assert got.subject_score == pytest.approx(wanted.subject_score, abs=0.05)


def test_of_several_followed_subjects_the_images_are_needed_here(student: Bundle) -> None:
    segmenter = PartSegmenter(student, TorchCudaBackend(student, new_stream=HostStream))
    image = picture_of(64, 64)
    frame = Frame(0, 0, Fraction(1, 30), TorchImage(torch.from_numpy(image)), 0, 64, 64, 0.0)
    there = Looks(segmenter, needs_images=False).at(frame, [(0, 0, 64, 64), (8, 8, 32, 32)])
    here = Looks(segmenter).at(frame, [(0, 0, 64, 64), (8, 8, 32, 32)])
    for one, other in zip(there, here, strict=True):
        assert one.image.size == 0 and other.image.shape == (64, 64, 3)
        np.testing.assert_array_equal(one.parts.labels, other.parts.labels)


class OnGpuSource:
    """A source of frames on a GPU."""

    name, description, live, rate, decode_errors, repaired_times = "made", "made", False, Fraction(30), 0, 0
    height, width, time_base, num_frames = 48, 80, Fraction(1, 30), 9

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.num_frames):
            image = TorchImage(torch.from_numpy(picture(index, self.height, self.width)))
            yield Frame(index, index, self.time_base, image, 0, self.height, self.width, 0.0)

    def close(self) -> None:
        """Nothing to close."""


def test_a_video_on_a_gpu_stays_there_with_two_frames_under_way(
    student: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = TorchCudaBackend(student, new_stream=HostStream)
    wanted = list(track(OnGpuSource(), student, backend=OnnxRuntimeBackend(student)))
    on_host_never(backend, monkeypatch)
    under_way, most = 0, 0
    submit, collect = backend.submit_on_device, backend.collect

    def counting_submit(images: Sequence[DeviceImage]) -> None:
        nonlocal under_way, most
        submit(images)
        under_way += 1
        most = max(most, under_way)

    def counting_collect() -> NetworkOutputs:
        nonlocal under_way
        under_way -= 1
        return collect()

    monkeypatch.setattr(backend, "submit_on_device", counting_submit)
    monkeypatch.setattr(backend, "collect", counting_collect)
    got = list(track(OnGpuSource(), student, backend=backend))
    assert most == 2 and under_way == 0
    for one, other in zip(got, wanted, strict=True):
        assert one.index == other.index
        assert (one.labels == other.labels).mean() > 0.99


def test_several_callers_share_a_batch_on_the_device(student: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = TorchCudaBackend(student, new_stream=HostStream)
    images = [TorchImage(torch.from_numpy(picture(number, 64, 64))) for number in range(9)]
    wanted = backend.run(np.stack([image.tensor.numpy() for image in images]))
    on_host_never(backend, monkeypatch)
    shared, sizes = share(backend), []
    submit = backend.submit_on_device
    monkeypatch.setattr(backend, "submit_on_device", lambda some: (sizes.append(len(some)), submit(some)))
    assert isinstance(shared, OnDevice) and not isinstance(shared, Overlapping)
    with closing(shared), ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda start: shared.run_on_device(images[start : start + 2]), range(0, 8)))
        for start, outputs in enumerate(got):
            np.testing.assert_array_equal(outputs.labels, wanted.labels[start : start + 2])
    assert sum(sizes) == 16 and max(sizes) <= backend.max_batch
    with closing(share(OnnxRuntimeBackend(student))) as on_host:
        assert not isinstance(on_host, OnDevice)


def test_images_here_and_there_make_batches_of_their_own(student: Bundle) -> None:
    """The first call holds the worker up until the others wait."""
    backend = TorchCudaBackend(student, new_stream=HostStream)
    images = np.stack([picture(number, 64, 64) for number in range(4)])
    wanted = backend.run(images)
    with closing(share(backend)) as shared, ThreadPoolExecutor(8) as pool:
        assert isinstance(shared, SharedDeviceBackend)

        def ask(number: int) -> NetworkOutputs:
            image = images[number // 2 % 4]
            if number % 2:
                return shared.run(image[None])
            return shared.run_on_device([TorchImage(torch.from_numpy(image))])

        for number, outputs in enumerate(pool.map(ask, range(32))):
            np.testing.assert_array_equal(outputs.labels[0], wanted.labels[number // 2 % 4])


def test_more_images_on_the_device_than_a_batch_holds_are_split(student: Bundle) -> None:
    backend = TorchCudaBackend(student, new_stream=HostStream)
    images = [TorchImage(torch.from_numpy(picture(number % 3, 64, 64))) for number in range(260)]
    labels = backend.run_on_device(images).labels
    assert labels.shape == (260, 64, 64)
    np.testing.assert_array_equal(labels[258], labels[0])


def test_images_on_the_device_are_kept_until_they_were_copied(student: Bundle) -> None:
    backend = TorchCudaBackend(student, new_stream=HostStream)
    images = [TorchImage(torch.from_numpy(picture_of(64, 64))) for _ in range(3)]
    kept = [weakref.ref(image.tensor) for image in images]
    backend.submit_on_device(images)
    del images
    assert all(reference() is not None for reference in kept)
    backend.collect()
    assert not any(reference() is not None for reference in kept)


@pytest.mark.parametrize("count", [0, 257])
def test_no_or_too_many_images_on_the_device_are_refused(student: Bundle, count: int) -> None:
    backend = TorchCudaBackend(student, new_stream=HostStream)
    image = TorchImage(torch.zeros(64, 64, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match=f"got {count}"):
        backend.submit_on_device([image] * count)
    with pytest.raises(ModelError, match=r"\(64, 64\)"):
        backend.submit_on_device([TorchImage(torch.zeros(32, 64, 3, dtype=torch.uint8))])


@pytest.mark.usefixtures("gpu_memory")
def test_the_memory_of_another_kind_of_device_is_refused(bundle: Bundle) -> None:
    class OnAnother(OnGpu):
        def __dlpack_device__(self) -> tuple[int, int]:
            return 8, 0

    with pytest.raises(ValueError, match="DLPack's device 8"):
        Tracker(bundle, backend="onnxruntime").update(OnAnother(picture(0)), 0.0)
