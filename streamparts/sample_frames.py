"""Frames to try a model on, as the runtime prepares them, from videos and pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
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
    files = _media_in(path, num_frames) if path.is_dir() else [path]
    share = -(-num_frames // len(files))
    images: list[ByteArray] = []
    for file in files:
        if path.is_dir():
            with suppress(VideoError):
                images += _frames_of(file, input_hw, share)
        else:
            images += _frames_of(file, input_hw, share)
    if not images:
        raise VideoError(f"{path}: no frame in it can be read")
    return np.stack(images[:num_frames])


def _media_in(folder: Path, num_frames: int) -> list[Path]:
    suffixes = VIDEO_SUFFIXES | IMAGE_SUFFIXES
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in suffixes and file.is_file())
    if not files:
        raise VideoError(f"{folder}: no video and no picture in this folder")
    return files[:: max(1, len(files) // num_frames)]


def _frames_of(path: Path, input_hw: tuple[int, int], count: int) -> list[ByteArray]:
    with open_source(path) as source:
        every = max(1, (source.num_frames or count) // count)
        chosen: list[ByteArray] = []
        for image in _prepared(iter(source), input_hw, every):
            chosen.append(image)
            if len(chosen) >= count:
                break
    return chosen


def _prepared(frames: Iterator[Frame], input_hw: tuple[int, int], every: int) -> Iterator[ByteArray]:
    rescaler = Rescaler()
    for frame in frames:
        if frame.index % every == 0:
            letterbox = Letterbox.fit((frame.height, frame.width), input_hw)
            yield letterbox.pad(rescaler.rgb(frame, letterbox.inner_hw))
