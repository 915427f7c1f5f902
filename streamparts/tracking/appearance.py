"""What a subject looks like, to tell it from others of its kind: its colours, and how large it is."""

from __future__ import annotations

import math

import numpy as np

from streamparts.arrays import ByteArray, FloatArray
from streamparts.tracking.extent import Mask

LEVELS = 8
"""Of each colour."""
PACE = 0.1
"""Share by which the colours follow what is seen."""
SIZE_WEIGHT = 0.3
"""Of the difference of the areas' logarithms, beside the distance of the colours."""


def colours_of(image: ByteArray, mask: Mask) -> FloatArray:
    """(512,) square roots of the shares of the colours under the mask: a vector of length 1."""
    levels = image[mask].astype(np.int32) * LEVELS // 256
    counts = np.bincount(levels @ [LEVELS * LEVELS, LEVELS, 1], minlength=LEVELS**3)
    colours: FloatArray = np.sqrt(counts / max(1, counts.sum())).astype(np.float32)
    return colours


class Appearance:
    """The memory of one subject."""

    def __init__(self) -> None:
        self._colours: FloatArray | None = None
        self._log_area = 0.0

    @property
    def area(self) -> float:
        """Usual one in square displayed pixels; 0 where it was not seen yet."""
        return 0.0 if self._colours is None else math.exp(self._log_area)

    def learn(self, colours: FloatArray, area: float) -> None:
        if self._colours is None:
            self._colours, self._log_area = colours, math.log(max(area, 1.0))
            return
        mixed = (1 - PACE) * self._colours + PACE * colours
        self._colours = (mixed / max(float(np.linalg.norm(mixed)), 1e-9)).astype(np.float32)
        self._log_area += PACE * (math.log(max(area, 1.0)) - self._log_area)

    def distance(self, colours: FloatArray, area: float) -> float:
        """How unlike: 0 for the same, about 1 for other colours throughout. 0 where nothing is known."""
        if self._colours is None:
            return 0.0
        unlike = math.sqrt(max(0.0, 1 - float(self._colours @ colours)))
        return unlike + SIZE_WEIGHT * abs(math.log(max(area, 1.0)) - self._log_area)
