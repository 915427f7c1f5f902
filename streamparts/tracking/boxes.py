"""Bounding boxes of subjects, and the crops that the network sees. Left, top, right, bottom in displayed pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamparts.geometry import Region

Box = NDArray[np.float64]
"""(4,) left, top, right, bottom."""

SMALLEST_SIDE = 16.0
"""Minimum size in displayed pixels: a smaller crop adds no detail."""


def box_of(region: Region) -> Box:
    left, top, width, height = region
    return np.array([left, top, left + width, top + height], np.float64)


def center_of(box: Box) -> NDArray[np.float64]:
    """(2,)"""
    return (box[:2] + box[2:]) / 2


def size_of(box: Box) -> NDArray[np.float64]:
    """(2,) width, height."""
    return box[2:] - box[:2]


def area_of(box: Box) -> float:
    return float(np.maximum(size_of(box), 0).prod())


def shared_area(one: Box, other: Box) -> float:
    """Area of the intersection of two boxes."""
    return area_of(np.concatenate([np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])]))


def overlap(one: Box, other: Box) -> float:
    """Intersection as a share of the smaller box."""
    return shared_area(one, other) / max(min(area_of(one), area_of(other)), 1e-9)


def union(one: Box, other: Box) -> Box:
    """The smallest box around both."""
    return np.concatenate([np.minimum(one[:2], other[:2]), np.maximum(one[2:], other[2:])])


def region_around(box: Box, margin: float, model_hw: tuple[int, int], wider: float = 1.0) -> Region:
    """Crop of a subject: with the model input's aspect ratio, centred on its box, and larger by `margin` times the
    box's longer side on every side; `wider` scales that."""
    width, height = size_of(box)
    proportions = model_hw[1] / model_hw[0]
    across = max(SMALLEST_SIDE, (1 + 2 * margin) * max(width, height * proportions)) * wider
    x, y = center_of(box)
    return float(x - across / 2), float(y - across / proportions / 2), float(across), float(across / proportions)


def whole_region(frame_hw: tuple[int, int], model_hw: tuple[int, int]) -> Region:
    """The smallest region with the model input's aspect ratio that contains the whole frame."""
    height, width = frame_hw
    scale = max(width / model_hw[1], height / model_hw[0])
    across, down = model_hw[1] * scale, model_hw[0] * scale
    return (width - across) / 2, (height - down) / 2, across, down


def within(region: Region, frame_hw: tuple[int, int], model_hw: tuple[int, int]) -> Region:
    """Clamp a region: its centre inside the frame, and at most the size that shows the whole frame."""
    whole = whole_region(frame_hw, model_hw)
    if region[2] >= whole[2]:
        return whole
    left, top, width, height = region
    x = min(max(left + width / 2, 1.0), frame_hw[1] - 1.0)
    y = min(max(top + height / 2, 1.0), frame_hw[0] - 1.0)
    return x - width / 2, y - height / 2, width, height
