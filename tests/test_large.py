"""Small files that declare huge sizes are refused before memory is allocated."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from streamparts.cli.types import one_line
from streamparts.errors import VideoError
from streamparts.sources import open_source
from tests.media import numbered_video, picture_file

GIF_PICTURE = (
    b"\x21\xf9\x04\x00\x05\x00\x00\x00" + b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
)


def gif(path: Path, side: int) -> Path:
    """Twelve square images with sides of `side`, in a few hundred bytes."""
    head = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes(6)
    path.write_bytes(head + 12 * GIF_PICTURE + b"\x3b")
    return path


def test_a_small_file_with_huge_pictures_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"16000x16000 .*--max-pixels"):
        open_source(gif(tmp_path / "bomb.gif", 16000))
    with open_source(gif(tmp_path / "small.gif", 100)) as source:
        assert len(list(source)) == 12


def test_the_limit_can_be_set_for_videos_and_pictures(tmp_path: Path) -> None:
    video, one = numbered_video(tmp_path / "film.mp4", 3), picture_file(tmp_path / "one.png", 0)
    for path in (video, one):
        with open_source(path, max_pixels=96 * 128) as source:
            assert next(iter(source)).width == 128
        with pytest.raises(VideoError, match="max-pixels"):
            open_source(path, max_pixels=96 * 128 - 1)


def test_too_little_memory_is_one_line() -> None:
    assert one_line(MemoryError()).startswith("not enough memory")
