"""What is known of the subject of a clip, and the words for where that came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray, FloatArray, require_shape

SubjectSource = Literal["auto", "motion", "saliency"] | Path
"""`auto`: motion, and saliency where it is installed; a path: an .onnx file, or a folder of another tool's masks."""

MASK_SIDE = 128
"""Pixels of a mask's sides."""
MARGIN = 0.25
"""Of the longer side of a subject's box, added on each side of it: a region is square, 1 + 2 * MARGIN times that."""

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class SubjectClip:
    """One subject in one clip, or in a part of it between two cuts."""

    clip: Path
    """The video, or the folder of pictures."""
    name: str
    """The clip's path within its folder; "#2" follows where it is the second shot, "@2" where the second subject."""
    rows: IntArray
    """(F,) which frames of the file are used."""
    regions: FloatArray
    """(F, 4) left, top, width and height of a square around the subject, in pixels of the displayed frame; it may
    reach outside. Where the subject is not found it stays where it was."""
    masks: ByteArray
    """(F, M, M) how probably a pixel of the region is the subject: 255 is surely."""
    known: BoolArray
    """(F, M, M) where the mask can be trusted, for or against."""
    boxes: FloatArray
    """(F, 4) left, top, width and height of the subject, smoothed over time."""
    found: BoolArray
    """(F,) whether the subject is in the frame."""
    notes: tuple[str, ...]
    """What is unusual about it, a few words each."""
    source: str
    """Where it came from, in words."""

    def __post_init__(self) -> None:
        count = len(self.rows)
        require_shape("regions", self.regions, (count, 4))
        require_shape("masks", self.masks, (count, MASK_SIDE, MASK_SIDE))
        require_shape("known", self.known, (count, MASK_SIDE, MASK_SIDE))
        require_shape("boxes", self.boxes, (count, 4))
        require_shape("found", self.found, (count,))


def square_around(boxes: FloatArray, margin: float = MARGIN) -> FloatArray:
    """(..., 4) left, top, width, height -> (..., 4) the squares that are the stream's crops of them."""
    centres = boxes[..., :2] + boxes[..., 2:] / 2
    side = (1 + 2 * margin) * boxes[..., 2:].max(-1, keepdims=True)
    return np.concatenate([centres - side / 2, side, side], -1).astype(np.float32)
