"""The clips' cache: its location, its space, which is allocated before it is mapped, and the removal of files of dead
processes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from streamparts.errors import VideoError
from tests.media import numbered_video
from train.frames.cache import FOLDER, cache_place, reserve, sweep
from train.frames.clips import ClipFolder, decode_clip


def test_the_cache_is_beside_the_clips_or_where_it_is_wanted_or_in_the_run(tmp_path: Path) -> None:
    clips, run = tmp_path / "clips", tmp_path / "run"
    clips.mkdir()
    assert cache_place(clips, None, run) == clips / FOLDER
    assert cache_place(clips, tmp_path / "else", run) == tmp_path / "else"
    (clips / FOLDER).rmdir()
    (clips / FOLDER).touch()  # as good as a folder that cannot be written to, and for the superuser too
    assert cache_place(clips, None, run) == run / FOLDER
    with pytest.raises(VideoError, match="--cache DIR"):
        cache_place(clips, clips / FOLDER, run)


def test_clips_in_a_folder_that_cannot_be_written_to_are_decoded_elsewhere(tmp_path: Path) -> None:
    numbered_video(tmp_path / "a.mp4", 6)
    (tmp_path / FOLDER).touch()
    folder = ClipFolder.open(tmp_path, 32, tmp_path / "else")
    assert folder.num_frames == 6
    assert list((tmp_path / "else").glob("*.npy"))


def test_a_full_disk_is_said_in_one_line_with_what_is_wanted_before_anything_is_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    clip = numbered_video(tmp_path / "a.mp4", 40)
    cache = tmp_path / "cache"
    cache.mkdir()
    with pytest.raises(VideoError, match=r"a\.mp4: .* 2 MB .*cache") as caught:
        decode_clip(clip, 128, cache / "a.npy", 100)
    assert "--cache DIR" in str(caught.value)
    assert list(cache.iterdir()) == []


def test_room_is_really_taken(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"head")
    reserve(path, 3_000_000, "a")
    stat = path.stat()
    assert stat.st_size == 3_000_000
    assert path.read_bytes()[:4] == b"head"
    assert not hasattr(stat, "st_blocks") or 512 * stat.st_blocks >= 2_900_000


def test_a_clip_is_decoded_as_before(tmp_path: Path) -> None:
    import numpy as np

    decode_clip(numbered_video(tmp_path / "a.mp4", 5), 64, tmp_path / "a.npy", 100)
    frames = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert (frames.shape, frames.dtype) == ((5, 64, 64, 3), np.uint8)
    assert frames[4].std() > 10


def test_what_dead_processes_left_half_written_is_removed_and_that_of_living_ones_is_not(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead, alive, other = (tmp_path / name for name in (f"a.{ended.pid}.tmp", f"b.{os.getpid()}.tmp", "c.npy"))
    for path in (dead, alive, other):
        path.touch()
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == [alive, other]
