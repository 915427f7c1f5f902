"""What a part's affine looks like: its ellipse as points, and the box around it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

CIRCLE = np.stack([np.cos(np.arange(32) * np.pi / 16), np.sin(np.arange(32) * np.pi / 16)])
"""(2, 32) points on the unit circle."""


def outline(affine: ArrayLike) -> NDArray[np.float64]:
    """(32, 2) displayed pixels on the ellipse of a (2, 3) affine."""
    values = np.asarray(affine, np.float64)
    points: NDArray[np.float64] = (values[:, :2] @ CIRCLE + values[:, 2:]).T
    return points


def box_around(affine: ArrayLike, height: int, width: int) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of the ellipse of a (2, 3) affine, within the picture."""
    values = np.asarray(affine, np.float64)
    half = np.sqrt(np.square(values[:, :2]).sum(axis=1))
    low, high = (np.clip(values[:, 2] + sign * half, 0, (width, height)).tolist() for sign in (-1, 1))
    return low[0], low[1], high[0], high[1]
