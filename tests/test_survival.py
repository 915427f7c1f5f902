"""Outputs after a killed run and with a full disk."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import msgspec
import pytest

import streamparts
from streamparts.bundle.load import Bundle
from streamparts.errors import VideoError
from streamparts.runtime.stream import run
from streamparts.tracksfile.records import FrameRecord
from tests.conftest import environment
from tests.media import ArraySource, decode, numbered_video, read_number
from tests.sound import sound_video
from tests.test_stream import Broken, BrokenBackend

NUM_KILLS = 20
NUM_FRAMES = 240
PATIENCE_SECONDS = 60

posix = pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")


def killed_at(line: int, video: Path, model: Path, folder: Path) -> None:
    """Run in a separate process, which is killed when the tracks have `line` lines."""
    tracks = folder / "t.jsonl"
    words = ["-m", "streamparts", "run", video, "--model", model, "--overlay", folder / "o.mp4", "--tracks", tracks]
    with subprocess.Popen(
        [sys.executable, *map(str, words), "--quiet"], env=environment(), stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if tracks.exists() and tracks.read_bytes().count(b"\n") >= line:
                break
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE_SECONDS)


@pytest.mark.slow
@posix
def test_killed_at_any_moment_a_run_leaves_whole_lines_and_a_playable_overlay_that_lack_a_second_at_most(
    tmp_path: Path, model_path: Path
) -> None:
    video = sound_video(tmp_path / "sound.mp4", NUM_FRAMES)
    moments = random.Random(6)
    reached = []
    for number in range(NUM_KILLS):
        folder = tmp_path / str(number)
        folder.mkdir()
        killed_at(2 + moments.randrange(NUM_FRAMES - 50), video, model_path, folder)
        text = (folder / "t.jsonl").read_bytes()
        assert text.endswith(b"\n"), "the last line is whole"
        indices = [record.frame for record in streamparts.read_tracks(folder / "t.jsonl").frames()]
        assert indices == list(range(len(indices)))
        shown = overlay_numbers(folder / "o.mp4")
        assert shown == list(range(len(shown)))
        assert len(shown) >= len(indices) - 30, "a second of video is 30 frames"
        if len(indices) > 10:
            assert shown, "all but the very first frames are in a playable file"
            assert abs(sound_seconds(folder / "o.mp4") - len(shown) / 30) < 1
        reached.append(len(indices))
    assert len({count // 12 for count in reached}) > 5, f"the moments are spread over the run, not {sorted(reached)}"


def overlay_numbers(path: Path) -> list[int]:
    """Numbers of the playable frames; none if the run was killed before the third was encoded."""
    if not path.exists() or path.stat().st_size < 100:
        return []
    return [read_number(image) for image, _ in decode(path)]


def sound_seconds(path: Path) -> float:
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(container.streams.audio[0]) if packet.pts is not None]
        return float((packets[-1].pts + packets[-1].duration) * packets[-1].time_base)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 300 kB, where this process may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(words, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, capture_output=True)


def noisy_video(path: Path) -> Path:
    """About 60 kB of overlay a second."""
    return numbered_video(path, 300, 192, 256)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
def test_a_full_disk_stops_the_overlay_which_stays_playable_and_the_tracks_are_complete(
    small_disk: Path, tmp_path: Path, bundle: Bundle
) -> None:
    video = noisy_video(tmp_path / "video.mp4")
    with pytest.raises(VideoError, match=r"o\.mp4.*No space"):
        run(video, bundle, overlay=small_disk / "o.mp4", tracks=tmp_path / "t.jsonl")
    assert len(list(streamparts.read_tracks(tmp_path / "t.jsonl").frames())) == 300
    shown = overlay_numbers(small_disk / "o.mp4")
    assert 10 < len(shown) < 300
    assert shown == list(range(len(shown)))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
def test_a_full_disk_stops_the_tracks_whose_lines_are_whole_and_the_overlay_is_complete(
    small_disk: Path, tmp_path: Path, bundle: Bundle
) -> None:
    video = numbered_video(tmp_path / "video.mp4", 900, 48, 64)
    with pytest.raises(VideoError, match=r"t\.jsonl.*No space"):
        run(video, bundle, overlay=tmp_path / "o.mp4", tracks=small_disk / "t.jsonl", masks=True)
    assert overlay_numbers(tmp_path / "o.mp4") == list(range(900))
    lines = (small_disk / "t.jsonl").read_bytes().splitlines(keepends=True)
    assert all(line.endswith(b"\n") for line in lines)
    assert msgspec.json.decode(lines[-1], type=FrameRecord).frame == len(lines) - 2
    assert 100 < len(lines) < 901


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
from streamparts.cli import main
sys.exit(main())
"""


@pytest.mark.slow
@posix
def test_an_output_that_cannot_grow_ends_alone_with_exit_code_one(tmp_path: Path, model_path: Path) -> None:
    """Needs no rights, unlike a full disk: no file of the process may be longer than 200 kB."""
    video = noisy_video(tmp_path / "video.mp4")
    words = ["run", video, "--model", model_path, "--overlay", tmp_path / "o.mp4", "--tracks", tmp_path / "t.jsonl"]
    result = subprocess.run(
        [sys.executable, "-c", LIMITED, *map(str, words)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE_SECONDS,
    )
    assert result.returncode == 1
    at_once, at_the_end = result.stderr.splitlines()
    assert "o.mp4 ends here, the other outputs continue" in at_once
    assert at_the_end.startswith("streamparts: error: ")
    assert "File too large" in at_the_end
    assert len(list(streamparts.read_tracks(tmp_path / "t.jsonl").frames())) == 300
    shown = overlay_numbers(tmp_path / "o.mp4")
    assert shown == list(range(len(shown)))
    assert len(shown) > 10


@pytest.mark.parametrize("fail_at", [1, 37])
def test_an_error_of_the_source_leaves_complete_outputs(tmp_path: Path, bundle: Bundle, fail_at: int) -> None:
    source = ArraySource(100, fail_at=fail_at, error=VideoError("the camera is gone"))
    with pytest.raises(VideoError, match=r"camera.*gone"):
        run(source, bundle, overlay=tmp_path / "o.mp4", tracks=tmp_path / "t.jsonl")
    assert overlay_numbers(tmp_path / "o.mp4") == list(range(fail_at))
    assert len(list(streamparts.read_tracks(tmp_path / "t.jsonl").frames())) == fail_at


def test_an_error_of_the_network_leaves_complete_outputs(tmp_path: Path, bundle: Bundle) -> None:
    with pytest.raises(Broken, match="backend"):
        run(
            ArraySource(100),
            bundle,
            backend=BrokenBackend(bundle, 23),
            overlay=tmp_path / "o.mp4",
            tracks=tmp_path / "t.jsonl",
        )
    assert overlay_numbers(tmp_path / "o.mp4") == list(range(23))
    assert len(list(streamparts.read_tracks(tmp_path / "t.jsonl").frames())) == 23
