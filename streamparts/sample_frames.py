"""Frames to try a model on, as the runtime prepares them, from videos and pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext, suppress
from itertools import islice
from pathlib import Path

import numpy as np

from streamparts.data import ByteArray, Frame
from streamparts.errors import VideoError
from streamparts.geometry import Letterbox
from streamparts.rescale import Rescaler
from streamparts.sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES, open_source


def sample_frames(path: Path, input_hw: tuple[int, int], num_frames: int) -> ByteArray:
    """(F, H, W, 3) at most `num_frames` frames, evenly spread over a video or over the videos and pictures below a
    folder, unreadable ones left out. Raises VideoError when there is none."""
    return np.stack(list(_prepared(frames_spread_over(path, num_frames), input_hw)))


def frames_spread_over(path: Path, num_frames: int) -> Iterator[Frame]:
    """The same as they were decoded, one at a time, each file's in their order."""
    files = _media_in(path, num_frames) if path.is_dir() else [path]
    share, left = -(-num_frames // len(files)), num_frames
    for file in files:
        with suppress(VideoError) if path.is_dir() else nullcontext():
            for frame in islice(_frames_of(file, share), left):
                left -= 1
                yield frame
    if left == num_frames:
        raise VideoError(f"{path}: no frame in it can be read")


def _media_in(folder: Path, num_frames: int) -> list[Path]:
    suffixes = VIDEO_SUFFIXES | IMAGE_SUFFIXES
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in suffixes and file.is_file())
    if not files:
        raise VideoError(f"{folder}: no video and no picture in this folder")
    return files[:: max(1, len(files) // num_frames)]


def _frames_of(path: Path, count: int) -> Iterator[Frame]:
    with open_source(path) as source:
        every = max(1, (source.num_frames or count) // count)
        yield from islice((frame for frame in source if frame.index % every == 0), count)


def _prepared(frames: Iterable[Frame], input_hw: tuple[int, int]) -> Iterator[ByteArray]:
    rescaler = Rescaler()
    for frame in frames:
        letterbox = Letterbox.fit((frame.height, frame.width), input_hw)
        yield letterbox.pad(rescaler.rgb(frame, letterbox.inner_hw))
