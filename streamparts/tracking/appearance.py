"""Appearance of a subject, to distinguish it from others of its kind: its colours and size."""

from __future__ import annotations

import math

import numpy as np

from streamparts.arrays import ByteArray, FloatArray
from streamparts.tracking.extent import Mask

LEVELS = 8
"""Histogram levels per colour channel."""
PACE = 0.1
"""Update rate of the colours."""
SIZE_WEIGHT = 0.3
"""Weight of the difference of log areas, relative to the distance of the colours."""


def colours_of(image: ByteArray, mask: Mask) -> FloatArray:
    """(512,) square roots of the colour histogram under the mask: a unit vector."""
    levels = image[mask].astype(np.int32) * LEVELS // 256
    # 512 bins, r g b as digits of base 8
    counts = np.bincount(levels @ [LEVELS * LEVELS, LEVELS, 1], minlength=LEVELS**3)
    colours: FloatArray = np.sqrt(counts / max(1, counts.sum())).astype(np.float32)
    return colours


class Appearance:
    """The memory of one subject."""

    def __init__(self) -> None:
        self._colours: FloatArray | None = None
        self._log_area = 0.0

    @property
    def is_known(self) -> bool:
        """False before anything was learned, and forever if only one subject is followed."""
        return self._colours is not None

    @property
    def area(self) -> float:
        """Usual area in square displayed pixels; 0 before it was seen."""
        return 0.0 if self._colours is None else math.exp(self._log_area)

    def learn(self, colours: FloatArray, area: float) -> None:
        if self._colours is None:
            self._colours, self._log_area = colours, math.log(max(area, 1.0))
            return
        mixed = (1 - PACE) * self._colours + PACE * colours
        # a mean of unit vectors is shorter than 1
        self._colours = (mixed / max(float(np.linalg.norm(mixed)), 1e-9)).astype(np.float32)
        self._log_area += PACE * (math.log(max(area, 1.0)) - self._log_area)

    def distance(self, colours: FloatArray, area: float) -> float:
        """Dissimilarity: 0 for equal, about 1 for entirely different colours. 0 if nothing is known."""
        if self._colours is None:
            return 0.0
        # Hellinger distance: the product of unit vectors of square roots is the Bhattacharyya coefficient
        unlike = math.sqrt(max(0.0, 1 - float(self._colours @ colours)))
        return unlike + SIZE_WEIGHT * abs(math.log(max(area, 1.0)) - self._log_area)
