"""Weizmann horses: FOLDER/rgb/*.jpg, with FOLDER/mask/*.jpg of the same names at another scale of equal proportions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..frames.spread import spread
from .pictures import half_of, list_images, read_mask, read_rgb
from .values import TRUE, EvaluationSet, LabelledFrame, set_name

JPEG_THRESHOLD = 127
"""The masks are JPEG files, so their two levels are blurred."""


def open_horses(folder: Path, max_frames: int, half: str = "") -> EvaluationSet:
    """Open stills subsampled evenly to `max_frames`, of all or of one of pictures.HALVES: in order of names, the first,
    third ... image is for fitting, the second, fourth ... for testing."""
    images = half_of(list_images(folder / "rgb"), half)
    chosen = spread(len(images), max_frames)

    def read() -> Iterator[LabelledFrame]:
        for row in chosen:
            image = read_rgb(images[row])
            mask = read_mask(folder / "mask" / images[row].name, image.shape[:2], JPEG_THRESHOLD)
            yield LabelledFrame(image, row, mask=mask)

    name = set_name("horses", folder)
    return EvaluationSet(f"{name},{half}" if half else name, TRUE, len(chosen), read, sources=tuple(images))
