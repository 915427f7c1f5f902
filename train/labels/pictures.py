"""Reads the images of labels: image files, and selected frames of a video."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray
from streamparts.sources import IMAGE_SUFFIXES, open_source
from streamparts.sources.folders import files_below, files_in
from streamparts.sources.rescale import Rescaler

from ..frames import pictures
from .values import LabelsError

HALVES = {"fit": 0, "test": 1}
"""Halves of a collection without its own split: every second image in order of names, from the first or the second."""


def half_of(images: Sequence[Path], half: str) -> list[Path]:
    """Return the images of one of HALVES, or all for "". Raises LabelsError for another name."""
    if half and half not in HALVES:
        raise LabelsError(f"{half!r} is not a half of a set; write one of: {', '.join(HALVES)}")
    return list(images[HALVES[half] :: 2] if half else images)


def list_images(folder: Path, below: bool = False) -> list[Path]:
    """Sorted images of a folder, or of it and those `below` it, by the rule of streamparts.sources.folders. Raises
    LabelsError if there are none."""
    files = files_below(folder) if below else files_in(folder)
    images = sorted(path for path in files if path.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise LabelsError(f"{folder}: no such folder, or no image in it")
    return images


def read_rgb(path: Path) -> ByteArray:
    """(H, W, 3)"""
    return _of_labels(path, pictures.read_rgb)


def read_mask(path: Path, size_hw: tuple[int, int], threshold: int) -> NDArray[np.bool_]:
    """(H, W) pixels above `threshold` of 255, resized to `size_hw` by nearest neighbour."""
    grey = _of_labels(path, pictures.read_grey)
    if grey.shape != size_hw:
        grey = np.asarray(cv2.resize(grey, size_hw[::-1], interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
    return np.asarray(grey > threshold)


def _of_labels(path: Path, read: Callable[[Path], ByteArray]) -> ByteArray:
    try:
        return read(path)
    except pictures.PictureError as error:
        raise LabelsError(f"{path}: {error}") from error


def video_frames(video: Path, indices: Sequence[int]) -> Iterator[tuple[int, ByteArray]]:
    """(index, (H, W, 3) RGB as displayed) of the frames at `indices`, which must increase."""
    wanted, rescaler, last = set(indices), Rescaler(), indices[-1] if indices else -1
    index = -1
    with open_source(video) as source:
        for frame in source:
            index = frame.index
            if index in wanted:
                yield index, rescaler.rgb(frame)
            if index >= last:
                return
    raise LabelsError(f"{video}: ends after {index + 1} frames, but frame {last} is labelled; is it the right video?")
