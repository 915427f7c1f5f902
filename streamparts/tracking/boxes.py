"""Boxes around subjects, and the crops that the network sees of them. Left, top, right, bottom in displayed pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamparts.geometry import Region

Box = NDArray[np.float64]
"""(4,) left, top, right, bottom."""

SMALLEST_SIDE = 16.0
"""Displayed pixels: a smaller crop shows nothing that this one does not."""


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
    """Area of what two boxes have in common."""
    return area_of(np.concatenate([np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])]))


def overlap(one: Box, other: Box) -> float:
    """What they have in common, as a share of the smaller one."""
    return shared_area(one, other) / max(min(area_of(one), area_of(other)), 1e-9)


def union(one: Box, other: Box) -> Box:
    """The smallest box around both."""
    return np.concatenate([np.minimum(one[:2], other[:2]), np.maximum(one[2:], other[2:])])


def region_around(box: Box, margin: float, model_hw: tuple[int, int], wider: float = 1.0) -> Region:
    """The crop of a subject: of the model input's proportions, centred on its box, and on every side `margin` times the
    longer side of the box beyond it; `wider` is by how much to enlarge that."""
    width, height = size_of(box)
    proportions = model_hw[1] / model_hw[0]
    across = max(SMALLEST_SIDE, (1 + 2 * margin) * max(width, height * proportions)) * wider
    x, y = center_of(box)
    return float(x - across / 2), float(y - across / proportions / 2), float(across), float(across / proportions)


def whole_region(frame_hw: tuple[int, int], model_hw: tuple[int, int]) -> Region:
    """The smallest region of the model input's proportions that shows the whole frame."""
    height, width = frame_hw
    scale = max(width / model_hw[1], height / model_hw[0])
    across, down = model_hw[1] * scale, model_hw[0] * scale
    return (width - across) / 2, (height - down) / 2, across, down


def within(region: Region, frame_hw: tuple[int, int], model_hw: tuple[int, int]) -> Region:
    """A region whose centre lies in the frame, and no larger than what shows all of it."""
    whole = whole_region(frame_hw, model_hw)
    if region[2] >= whole[2]:
        return whole
    left, top, width, height = region
    x = min(max(left + width / 2, 1.0), frame_hw[1] - 1.0)
    y = min(max(top + height / 2, 1.0), frame_hw[0] - 1.0)
    return x - width / 2, y - height / 2, width, height
