"""The choice of the overlay's encoder."""

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av import VideoFrame

from streamparts.cli import main
from streamparts.errors import VideoError
from streamparts.runtime.stream import run
from streamparts.sinks.overlay.encoders import HARDWARE, SOFTWARE, choose_encoder
from streamparts.sinks.overlay.mp4 import Mp4Writer
from tests.media import decode


def test_auto_is_x264_in_what_browsers_play() -> None:
    encoder = choose_encoder("auto")
    assert (encoder.name, encoder.pix_fmt) == (SOFTWARE, "yuv420p")


@pytest.mark.parametrize("name", HARDWARE)
def test_hardware_works_or_is_refused_in_one_line_with_a_reason(name: str) -> None:
    try:
        assert choose_encoder(name).name == name
    except VideoError as error:
        text = str(error)
        assert name in text
        assert "\n" not in text
        if name in av.codecs_available:
            assert "does not work here (" in text
            assert "()" not in text
            assert "leave --encoder out" in text
        else:
            assert f"no encoder called {name!r}" in text


@pytest.mark.skipif("h264_nvenc" not in av.codecs_available, reason="this FFmpeg was built without NVENC")
@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there is an NVIDIA GPU")
def test_without_a_gpu_the_reason_is_ffmpegs_own() -> None:
    with pytest.raises(VideoError, match=r"libcuda|CUDA|nvcuda"):
        choose_encoder("h264_nvenc")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("h265", "no encoder called 'h265'; it has auto, libx264"),
        ("libsvtav1", "writes av1; overlays are H.264"),
        ("png", "writes png; overlays are H.264"),
    ],
)
def test_what_makes_no_h264_is_refused(name: str, message: str) -> None:
    with pytest.raises(VideoError, match=message):
        choose_encoder(name)


def test_the_name_of_the_format_takes_an_encoder_with_its_own_options() -> None:
    encoder = choose_encoder("h264")
    assert encoder == choose_encoder(encoder.name)
    assert encoder.name != "h264"


@pytest.mark.skipif("libsvtav1" not in av.codecs_available, reason="this FFmpeg was built without SVT-AV1")
@pytest.mark.parametrize("name", ["av1", "av1-slow"])
def test_av1_keeps_every_picture_and_time(
    tmp_path: Path, video: Path, model_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    for each in ("auto", name):
        run(video, model_path, overlay=tmp_path / f"{each}.mp4", encoder=each)
    assert capfd.readouterr().err == "", "the library itself prints its settings"
    pictures = {each: list(decode(tmp_path / f"{each}.mp4")) for each in ("auto", name)}
    assert [time for _, time in pictures[name]] == [time for _, time in pictures["auto"]]
    assert len(pictures[name]) == 40
    for (one, _), (other, _) in zip(pictures[name], pictures["auto"], strict=True):
        assert np.abs(one.astype(int) - other).mean() < 4
    with av.open(str(tmp_path / f"{name}.mp4")) as container:
        assert container.streams.video[0].codec_context.name in ("libdav1d", "av1")


@pytest.mark.skipif("libsvtav1" not in av.codecs_available, reason="this FFmpeg was built without SVT-AV1")
@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="there is no such priority")
def test_the_threads_of_av1_have_the_ordinary_priority_though_root_runs_it(tmp_path: Path) -> None:
    def policies() -> dict[str, int]:
        return {thread.name: os.sched_getscheduler(int(thread.name)) for thread in Path("/proc/self/task").iterdir()}

    image, before = VideoFrame(128, 96, "yuv420p"), policies()
    encoder = choose_encoder("av1")
    assert policies() == before, "the thread that tried the encoder has the priority that it had"
    writer = Mp4Writer(tmp_path / "o.mp4", image, Fraction(1, 30), Fraction(30), 0, encoder)
    for pts in range(3):
        writer.write(VideoFrame(128, 96, "yuv420p"), pts)
    now = policies()
    writer.close()
    assert len(now) > 10 + len(before)
    assert {thread: policy for thread, policy in now.items() if thread in before} == before
    assert {policy for thread, policy in now.items() if thread not in before} == {os.SCHED_OTHER}


def test_an_ffmpeg_without_av1_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libsvtav1"})
    with pytest.raises(VideoError, match=r"FFmpeg.* libsvtav1.*AV1.*--encoder"):
        choose_encoder("av1")


def test_an_encoder_that_is_not_there_ends_the_run_before_it_begins(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, video: Path, model_path: Path
) -> None:
    words = ["run", video, "--model", model_path, "--overlay", tmp_path / "o.mp4", "--encoder", "h264_nonsense"]
    assert main([*map(str, words)]) == 1
    assert "no encoder called 'h264_nonsense'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_trying_an_encoder_leaves_ffmpegs_log_as_it_was() -> None:
    before = av.logging.get_level()
    with pytest.raises(VideoError):
        choose_encoder("h264_nonsense")
    choose_encoder("libx264")
    assert av.logging.get_level() == before
