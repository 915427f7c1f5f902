"""The clips' cache: its location, its space, which is allocated before it is mapped, and the removal of files of dead
processes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from streamparts.errors import VideoError
from streamparts.files import sweep
from tests.media import numbered_video
from train.bodies.shards import ARRAYS, Shard, write_shard
from train.frames.cache import FOLDER, cache_place, reserve
from train.frames.clips import ClipFolder, decode_clip
from train.subject.crops import crop_frames
from train.subject.footage import open_footage
from train.subject.kept import keep


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
    with pytest.raises(VideoError, match=r"a\.mp4: .* 2.0 MB .*cache") as caught:
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


@pytest.mark.parametrize("make", ["clip", "crops", "masks", "pictures"])
def test_what_a_killed_process_left_hinders_nobody_though_he_has_the_same_number(tmp_path: Path, make: str) -> None:
    """In a container, every process is number 1. What a living one writes is left alone."""
    cache, film = tmp_path / "cache", numbered_video(tmp_path / "a.mp4", 5)
    cache.mkdir()
    target = cache / "a.npy"

    def write() -> None:
        match make:
            case "clip":
                decode_clip(film, 32, target, 100)
            case "crops":
                crop_frames(film, np.arange(2), np.array([[0, 0, 9, 9]] * 2, np.float32), 8, cache)
            case "masks":
                keep(target, [], ["said"])
            case "pictures":
                arrays = {name: np.zeros((1, 2), np.float32) for name in ARRAYS}
                write_shard(Shard(parts=("a",), **arrays), target)

    killed = """
import os, pathlib, sys
from streamparts.files import whole
with whole(pathlib.Path(sys.argv[1])) as partial:
    partial.mkdir()
    print("writing", flush=True)
    if sys.argv[2] == "die":
        os._exit(9)
    sys.stdin.read()
"""
    words = [sys.executable, "-c", killed, str(target)]
    subprocess.run([*words, "die"], capture_output=True)
    (left,) = cache.iterdir()
    with subprocess.Popen([*words, "wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as living:
        assert living.stdout is not None
        living.stdout.readline()
        theirs = set(cache.iterdir()) - {left}
        sweep(cache)
        assert set(cache.iterdir()) == theirs
        write()
        assert theirs <= set(cache.iterdir())
        living.communicate()
    write()


def test_training_says_what_it_leaves_out(tmp_path: Path) -> None:
    numbered_video(tmp_path / "a.mp4", 40)
    for name in ("b.png", "c.exr", "a.overlay.mp4", "a.tracks.jsonl"):
        (tmp_path / name).touch()
    said = list[str]()
    assert ClipFolder.open(tmp_path, 32).failures == (
        "overlays written by streamparts: 1 (a.overlay.mp4)",
        "images beside videos: 1 (b.png)",
        "files of kinds that are not read from folders: 1 (c.exr)",
    )
    open_footage(tmp_path, tmp_path / "cache", said.append)
    assert [line.partition(":")[0] for line in said] == ["skipped"] * 3
