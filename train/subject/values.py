"""The subject of a clip, as values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray, FloatArray, require_shape

SubjectSource = Literal["auto", "motion", "saliency"] | Path
"""`auto`: motion, and saliency if it is installed. A path: an .onnx file, or a folder of another tool's masks."""

MASK_SIDE = 128
"""Side of a mask in pixels."""
MARGIN = 0.25
"""Margin on each side of a subject's box, as a share of its longer side; a region is a square of 1 + 2 * MARGIN times
that side."""

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class SubjectClip:
    """One subject in one clip, or in the part of a clip between two cuts."""

    clip: Path
    """The video, or the folder of images."""
    name: str
    """The clip's path within its folder, followed by "#2" for the second shot and "@2" for the second subject."""
    rows: IntArray
    """(F,) numbers of the used frames in the file."""
    regions: FloatArray
    """(F, 4) left, top, width and height of a square around the subject, in pixels of the displayed frame; it may
    extend beyond it. If the subject is not found, the square is interpolated."""
    masks: ByteArray
    """(F, M, M) probability of the subject in each pixel of the region; 255 for 1."""
    known: BoolArray
    """(F, M, M) True where the mask is trusted, for or against."""
    boxes: FloatArray
    """(F, 4) left, top, width and height of the subject, smoothed over time."""
    found: BoolArray
    """(F,) True if the subject is in the frame."""
    notes: tuple[str, ...]
    """Notes on anything unusual, a few words each."""
    source: str
    """Method that found it, in words."""

    def __post_init__(self) -> None:
        count = len(self.rows)
        require_shape("regions", self.regions, (count, 4))
        require_shape("masks", self.masks, (count, MASK_SIDE, MASK_SIDE))
        require_shape("known", self.known, (count, MASK_SIDE, MASK_SIDE))
        require_shape("boxes", self.boxes, (count, 4))
        require_shape("found", self.found, (count,))


def square_around(boxes: FloatArray, margin: float = MARGIN) -> FloatArray:
    """Return the squares (..., 4) of the runtime's crops around boxes (..., 4) of left, top, width, height."""
    centres = boxes[..., :2] + boxes[..., 2:] / 2
    side = (1 + 2 * margin) * boxes[..., 2:].max(-1, keepdims=True)
    return np.concatenate([centres - side / 2, side, side], -1).astype(np.float32)
