"""Files whose frames stay on a GPU. In place of its decoder, PyAV decodes, and torchcodec on the host if it is
installed; what is left to a GPU is that its libraries decode."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from streamparts import track  # noqa: E402
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend  # noqa: E402
from streamparts.backends.torch_cuda import TorchCudaBackend  # noqa: E402
from streamparts.data import DeviceImage  # noqa: E402
from streamparts.devices.torch_images import TorchImage  # noqa: E402
from streamparts.errors import VideoError  # noqa: E402
from streamparts.machine import missing_gpu  # noqa: E402
from streamparts.sources import FileSource, gpu_decoders, gpu_files, open_source, trimmed  # noqa: E402
from streamparts.sources.gpu_decoders import NvidiaDecoder, TorchcodecDecoder, missing_decoder, open_decoder  # noqa: E402
from streamparts.sources.gpu_files import GpuFileSource  # noqa: E402
from streamparts.sources.rescale import Rescaler  # noqa: E402
from tests.conftest import ROOT  # noqa: E402
from tests.exported import exported_bundle  # noqa: E402
from tests.host_stream import HostStream  # noqa: E402
from tests.media import numbered_video, picture, read_number, write_video  # noqa: E402
from tests.test_torch_cuda import NEEDS_GPU  # noqa: E402

NO_GPU = pytest.mark.skipif(missing_gpu() is None, reason="a GPU is here")


class HostDecoder:
    """PyAV in the place of the GPU's decoder: images as stored, or upright, in torch's memory on the host."""

    name = "host"

    def __init__(self, path: Path, is_upright: bool = True, fails_at: int | None = None) -> None:
        self.is_upright, self._fails_at = is_upright, fails_at
        with FileSource(path) as source:
            self._images = [
                Rescaler().rgb(frame) if is_upright else frame.image.to_ndarray(format="rgb24") for frame in source
            ]

    def __len__(self) -> int:
        return len(self._images)

    def frame(self, index: int) -> tuple[TorchImage, float | None]:
        if index == self._fails_at:
            raise RuntimeError("CUDA error:\nout of memory")
        return TorchImage(torch.from_numpy(self._images[index].copy())), None


@pytest.fixture
def on_host(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def set_up(**options: object) -> None:
        monkeypatch.setattr(gpu_files, "open_decoder", lambda path, stream: HostDecoder(path, **options))

    return set_up


def assert_same_frames(source: GpuFileSource, path: Path) -> None:
    """The frames of `source` are on the device, and those that software gives."""
    with FileSource(path) as reference:
        frames, wanted = list(source), list(reference)
    assert len(frames) == len(wanted) > 0
    for one, other in zip(frames, wanted, strict=True):
        assert isinstance(one.image, DeviceImage)
        assert (one.index, one.pts, one.time_base, one.segment) == (
            other.index, other.pts, other.time_base, other.segment,
        )  # fmt: skip
        assert (one.height, one.width) == (other.height, other.width) == one.image.shape[:2]
        mine, reference_image = (Rescaler().rgb(frame).astype(int) for frame in (one, other))
        assert np.abs(mine - reference_image).mean() < 3


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("plain.mp4", {}),
        ("vfr.mkv", {"pts": [1000, 1040, 1100, 1500, 1501, 2777], "time_base": Fraction(1, 1000)}),
        ("b_frames.mp4", {"options": {"bf": "3", "g": "12"}}),
        ("sideways.mp4", {"rotation": 90}),
        ("upside_down.mov", {"rotation": 180}),
    ],
)
@pytest.mark.parametrize("is_upright", [True, False])
def test_frames_times_and_sizes_are_those_of_software(
    tmp_path: Path, on_host: Callable[..., None], name: str, options: dict[str, object], is_upright: bool
) -> None:
    path = numbered_video(tmp_path / name, 6, **options)
    on_host(is_upright=is_upright)
    with open_source(path, hwaccel="gpu") as source:
        assert "decoded by the GPU (host), where its frames stay" in source.description
        assert_same_frames(source, path)
        with pytest.raises(ValueError, match="was already read"):
            list(source)


@pytest.mark.parametrize(
    "name", ["video_90.mov", "h265_video.mp4", "derived/bikes_h264_bframes.ts", "big_buck_bunny_432_433.webm"]
)
def test_real_videos_are_read_as_in_software(real_videos: Path, on_host: Callable[..., None], name: str) -> None:
    on_host()
    with open_source(real_videos / name, hwaccel="gpu") as source:
        assert_same_frames(source, real_videos / name)


def test_it_starts_where_software_does(video: Path, on_host: Callable[..., None]) -> None:
    on_host()
    for start in (0.0, 0.35, 1.2):
        with trimmed(open_source(video, hwaccel="gpu"), start, every=3) as source:
            got = [(frame.index, frame.pts) for frame in source]
        with trimmed(open_source(video), start, every=3) as source:
            assert got == [(frame.index, frame.pts) for frame in source]
    with pytest.raises(VideoError, match="99 s"):
        trimmed(open_source(video, hwaccel="gpu"), 99.0)


@pytest.mark.parametrize("fails_at", [1, 17, 39])
def test_software_continues_where_the_gpu_fails(
    video: Path, on_host: Callable[..., None], caplog: pytest.LogCaptureFixture, fails_at: int
) -> None:
    on_host(fails_at=fails_at)
    with caplog.at_level(logging.WARNING), open_source(video, hwaccel="gpu") as source:
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(40))
    assert [read_number(Rescaler().rgb(frame)) for frame in frames] == list(range(40))
    assert [isinstance(frame.image, DeviceImage) for frame in frames] == [index < fails_at for index in range(40)]
    assert f"frame {fails_at}: CUDA error: out of memory; decoding in software from here" in caplog.text


def test_software_continues_where_the_size_changes(
    tmp_path: Path, on_host: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = numbered_video(tmp_path / "a.mp4", 5)
    on_host()
    whole = HostDecoder.frame

    def smaller(decoder: HostDecoder, index: int) -> tuple[TorchImage, None]:
        image, _ = whole(decoder, index)
        return (TorchImage(image.tensor[:64]) if index == 3 else image), None

    monkeypatch.setattr(HostDecoder, "frame", smaller)
    with open_source(path, hwaccel="gpu") as source:
        assert [isinstance(frame.image, DeviceImage) for frame in source] == [True] * 3 + [False] * 2


def test_software_continues_where_the_gpu_gives_another_frame(
    video: Path, on_host: Callable[..., None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    on_host()
    whole = HostDecoder.frame
    monkeypatch.setattr(
        HostDecoder, "frame", lambda decoder, index: (whole(decoder, index)[0], (index + (index > 8)) / 30)
    )
    with open_source(video, hwaccel="gpu") as source:
        frames = list(source)
    assert [isinstance(frame.image, DeviceImage) for frame in frames] == [index <= 8 for index in range(40)]
    assert "frame 9: host gives the frame of 0.333333 s for that of 0.3 s" in caplog.text


def made(tmp_path: Path, kind: str) -> Path:
    images = [picture(number) for number in range(4)]
    match kind:
        case "equal times":
            return write_video(tmp_path / "a.avi", images, codec="mjpeg", pix_fmt="yuvj420p", pts=[1, 1, 2, 3])
        case "no times":
            return write_video(tmp_path / "a.h264", images)
        case "colours":
            return write_video(tmp_path / "a.mp4", images, pix_fmt="yuv444p")
        case _:
            return write_video(tmp_path / "a.mp4", images)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("no times", "it has no timestamps"),
        ("colours", "its pixel format is yuv444p, not yuv420p or yuvj420p or nv12"),
        ("fewer frames", "host finds 3 frames, its packets 4"),
        ("first fails", "CUDA error: out of memory"),
    ],
)
def test_what_the_gpu_may_not_decode_like_software_is_left_to_software(
    tmp_path: Path, on_host: Callable[..., None], monkeypatch: pytest.MonkeyPatch, kind: str, reason: str
) -> None:
    path = made(tmp_path, kind)
    on_host(**({"fails_at": 0} if kind == "first fails" else {}))
    if kind == "fewer frames":
        monkeypatch.setattr(HostDecoder, "__len__", lambda decoder: 3)
    with open_source(path, hwaccel="gpu") as source:
        assert f"decoding in software: gpu: {reason}" in source.description
        frames = list(source)
    assert [read_number(Rescaler().rgb(frame)) for frame in frames] == list(range(4))
    assert not any(isinstance(frame.image, DeviceImage) for frame in frames)


def test_interlaced_video_is_left_to_software(real_videos: Path, on_host: Callable[..., None]) -> None:
    on_host()
    with open_source(real_videos / "derived/bikes_interlaced_tff_h264.mp4", hwaccel="gpu") as source:
        assert "decoding in software: gpu: it is interlaced" in source.description


@NO_GPU
def test_without_a_gpu_a_run_says_so_and_decodes_in_software(
    video: Path, model_path: Path, tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    tracks = tmp_path / "t.jsonl"
    done = command("run", video, "--model", model_path, "--tracks", tracks, "--hwaccel", "gpu")
    assert done.returncode == 0, done.stderr
    assert f"decoding in software: gpu: {missing_gpu()}" in done.stderr
    assert len(tracks.read_text().splitlines()) == 1 + 40


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_decoders, "missing_gpu", lambda: None)
    monkeypatch.setattr(gpu_decoders, "find_spec", lambda name: None)
    assert missing_decoder() == ("neither torchcodec nor PyNvVideoCodec is installed; pip install 'streamparts[nvdec]'")


def test_the_reasons_of_all_libraries_are_given(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_decoders, "missing_decoder", lambda: None)
    monkeypatch.setattr(gpu_decoders, "find_spec", lambda name: object())
    for name in ("torchcodec", "PyNvVideoCodec"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(VideoError, match=r"torchcodec: .*; PyNvVideoCodec: "):
        open_decoder(video, 0)
    with pytest.raises(VideoError, match=r"PyNvVideoCodec: .*\.mp4"):
        open_decoder(video.with_suffix(".ts"), 0)


def test_a_frame_of_pynvvideocodec_outlives_the_next_one(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is made up: it shows that we copy what the decoder overwrites, and what we ask it for."""
    asked: dict[str, object] = {}

    class SimpleDecoder:
        def __init__(self, path: str, **options: object) -> None:
            asked.update(options, path=path)
            self.surface = torch.zeros(96, 128, 3, dtype=torch.uint8)

        def __len__(self) -> int:
            return 40

        def __getitem__(self, index: int) -> torch.Tensor:
            return self.surface.fill_(index)

    library = SimpleNamespace(SimpleDecoder=SimpleDecoder, OutputColorType=SimpleNamespace(RGB="RGB"))
    monkeypatch.setitem(sys.modules, "PyNvVideoCodec", library)
    decoder = NvidiaDecoder(video, 0)
    (first, _), (second, _) = decoder.frame(1), decoder.frame(2)
    assert int(first.scaled((1, 1)).max()) == 1 and int(second.scaled((1, 1)).min()) == 2
    assert asked == {"path": str(video), "gpu_id": 0, "use_device_memory": True, "output_color_type": "RGB"}


def test_a_file_on_a_gpu_is_tracked_without_a_picture_on_the_host(
    tmp_path_factory: pytest.TempPathFactory,
    video: Path,
    on_host: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    student = exported_bundle("student", tmp_path_factory.mktemp("student"))
    on_host()
    with open_source(video) as source:
        wanted = list(track(source, student, backend=OnnxRuntimeBackend(student)))
    for name in ("run", "submit", "rows"):
        monkeypatch.setattr(TorchCudaBackend, name, lambda *_: pytest.fail("the images were copied to the host"))
    monkeypatch.setattr(TorchImage, "scaled", lambda *_: pytest.fail("the images were copied to the host"))
    with open_source(video, hwaccel="gpu") as source:
        got = list(track(source, student, backend=TorchCudaBackend(student, new_stream=HostStream)))
    for one, other in zip(got, wanted, strict=True):
        assert (one.index, one.pts_seconds) == (other.index, other.pts_seconds)
        assert (one.labels == other.labels).mean() > 0.98


class TestTorchcodec:
    """With the real library, on the host."""

    @pytest.fixture(autouse=True)
    def library(self) -> None:
        try:
            import torchcodec  # noqa: F401
        except (ImportError, RuntimeError, OSError):
            pytest.skip("torchcodec is not installed, or finds no FFmpeg")

    @pytest.mark.parametrize("rotation", [0, 90, 180])
    def test_frames_times_and_sizes_are_those_of_software(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rotation: int
    ) -> None:
        path = numbered_video(tmp_path / "a.mp4", 20, rotation=rotation, options={"bf": "3", "g": "12"})
        monkeypatch.setattr(
            gpu_files, "open_decoder", lambda path, stream: TorchcodecDecoder(path, stream, device="cpu")
        )
        with open_source(path, hwaccel="gpu") as source:
            assert "decoded by the GPU (torchcodec)" in source.description
            assert_same_frames(source, path)

    @pytest.mark.parametrize("name", ["video_90.mov", "h265_video.mp4", "av1_video.mkv", "big_buck_bunny_432_433.webm"])
    def test_real_videos_are_read_as_in_software(
        self, real_videos: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setattr(
            gpu_files, "open_decoder", lambda path, stream: TorchcodecDecoder(path, stream, device="cpu")
        )
        with open_source(real_videos / name, hwaccel="gpu") as source:
            assert "decoded by the GPU (torchcodec)" in source.description
            assert_same_frames(source, real_videos / name)

    def test_a_frame_that_it_finds_in_the_wrong_place_is_noticed(
        self, real_videos: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It seeks to the beginning after its scan, and misses it in this stream, which begins with an open group."""
        path = real_videos / "derived/bikes_h264_bframes.ts"
        monkeypatch.setattr(
            gpu_files, "open_decoder", lambda path, stream: TorchcodecDecoder(path, stream, device="cpu")
        )
        with open_source(path, hwaccel="gpu") as source, open_source(path) as reference:
            for one, other in zip(source, reference, strict=True):
                assert one.pts == other.pts
                mine, wanted = (Rescaler().rgb(frame, (68, 160)).astype(int) for frame in (one, other))
                assert np.abs(mine - wanted).mean() < 3


class TestOnAGpu:
    pytestmark = NEEDS_GPU

    def test_a_file_is_decoded_as_in_software(self) -> None:
        if reason := missing_decoder():
            pytest.skip(reason)
        path = ROOT / "examples" / "people.mp4"
        with open_source(path, hwaccel="gpu") as source:
            assert "where its frames stay" in source.description
            assert_same_frames(source, path)
