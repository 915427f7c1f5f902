"""Awkward real videos: all frames at their own times, or one clear line."""

import csv
import re
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from streamparts.errors import VideoError
from streamparts.sources import FileSource
from streamparts.sources.rescale import Rescaler
from tests.conftest import REAL_VIDEOS

FILES = sorted(str(p.relative_to(REAL_VIDEOS)) for p in REAL_VIDEOS.rglob("*") if p.is_file())
UNREADABLE = {"dash_video_init.mp4", "flac.mp4", "derived/bikes_truncated60.mp4"}
REPAIRED = {"avc.avi": 1}
"""Frames whose time in the file decreases."""
PARAMETERS = FILES or ["none"]


@pytest.fixture(scope="session")
def stated_counts(real_videos: Path) -> dict[str, str]:
    with (real_videos.parent / "MANIFEST.csv").open(newline="", encoding="utf-8") as file:
        return {row["file"].removeprefix("decoder/"): row["frames"] for row in csv.DictReader(file)}


def packet_times(path: Path, stream_index: int) -> list[Fraction]:
    """Times in the packets, independent of any decoder, in display order."""
    with av.open(str(path)) as container:
        packets = container.demux(container.streams[stream_index])
        return sorted(
            packet.pts * packet.time_base
            for packet in packets
            if packet.size and not packet.is_discard and packet.pts is not None
        )


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_real_file_gives_all_its_frames_at_their_times(
    real_videos: Path, stated_counts: dict[str, str], name: str
) -> None:
    if name in UNREADABLE:
        with pytest.raises(VideoError) as caught:
            FileSource(real_videos / name)
        assert "\n" not in str(caught.value)
        return
    rescaler = Rescaler()
    with FileSource(real_videos / name) as source:
        index = source.stream_index
        times = []
        for frame in source:
            times.append(frame.pts * frame.time_base)
            assert frame.index == len(times) - 1
            if frame.index < 3:
                assert rescaler.rgb(frame).shape == (source.height, source.width, 3)
        assert source.repaired_times == REPAIRED.get(name, 0)
    assert len(times) == int(stated_counts[name])
    if name not in REPAIRED:
        assert times == packet_times(real_videos / name, index)


def ffmpeg() -> str:
    """The program, of this machine or of the package imageio-ffmpeg; without either the test skips."""
    found = shutil.which("ffmpeg")
    if found is None:
        reason = "neither ffmpeg nor the package imageio-ffmpeg is here"
        found = pytest.importorskip("imageio_ffmpeg", reason=reason).get_ffmpeg_exe()
    return str(found)


def told_by_ffmpeg(path: Path, stream_index: int) -> list[float]:
    """Seconds of the frames that another build of FFmpeg decodes."""
    words = [ffmpeg(), "-hide_banner", "-nostats", "-copyts", "-noautorotate", "-i", str(path)]
    words += ["-map", f"0:{stream_index}", "-vf", "showinfo", "-fps_mode", "passthrough", "-f", "null", "-"]
    said = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False).stderr
    return [float(seconds) for seconds in re.findall(r"\] n: *\d+ pts: *-?\d+ pts_time:(\S+)", said)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PARAMETERS if name not in UNREADABLE | set(REPAIRED)])
def test_ffmpeg_sees_the_same_frames_at_the_same_times(real_videos: Path, name: str) -> None:
    with FileSource(real_videos / name) as source:
        ours = [frame.pts_seconds for frame in source]
        theirs = told_by_ffmpeg(real_videos / name, source.stream_index)
    assert len(ours) == len(theirs)
    assert np.allclose(ours, theirs, atol=2e-5), "it prints six digits"


def test_what_is_special_about_a_file_is_said(real_videos: Path) -> None:
    with FileSource(real_videos / "derived/bikes_interlaced_tff_h264.mp4") as source:
        assert "interlaced" in source.description
    with FileSource(real_videos / "nasa_13013.mp4") as source:
        assert "video stream 1 of 2" in source.description
    with FileSource(real_videos / "video_90.mov") as source:
        assert "rotated by 270 degrees" in source.description
