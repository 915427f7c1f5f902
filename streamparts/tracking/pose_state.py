"""The pose of a part as the filtered state: x, y, the logarithms of both scales, and the angle."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import FloatArray

Array = NDArray[np.float64]
SCALES, ANGLE = slice(2, 4), 4
GROUP = np.array([0, 0, 1, 1, 2])
"""Groups of the state's columns: x, y; log sx, log sy; angle. Columns of a group have the same variances."""
NUM_AXES = np.array([2, 2, 2, 2, 1])
MEANS = (GROUP[:, None] == GROUP) / NUM_AXES


def by_axis(triple: tuple[float, float, float]) -> Array:
    """Expands values for translation, log scale and angle to the (5,) columns."""
    each: Array = np.array(triple, np.float64)[GROUP]
    return each


def mean_squares(state: Array) -> Array:
    """(K, 5), averaged over the axes of each group, so that one limit fits groups of one and of two axes."""
    means: Array = np.square(state) @ MEANS
    return means


def to_state(affines: FloatArray, unit: float) -> Array:
    """(K, 2, 3) -> (K, 5): x, y, log sx, log sy, angle; lengths times `unit`."""
    values = affines.astype(np.float64)
    # (K, 2) lengths of A's columns: A = R(theta) diag(sx, sy)
    scales = np.maximum(np.hypot(values[:, 0, :2], values[:, 1, :2]), 1e-6)
    # (K,) direction of the first axis
    angle = np.arctan2(values[:, 1, 0], values[:, 0, 0])
    return np.concatenate([values[:, :, 2] * unit, np.log(scales * unit), angle[:, None]], axis=1)


def to_affines(state: Array, unit: float) -> FloatArray:
    scales, angle = np.exp(state[:, SCALES]) / unit, state[:, ANGLE]
    cos, sin = np.cos(angle), np.sin(angle)
    out = np.empty((len(state), 2, 3), np.float32)
    # A's columns: sx (cos, sin) and sy (-sin, cos)
    out[:, 0, 0], out[:, 1, 0] = cos * scales[:, 0], sin * scales[:, 0]
    out[:, 0, 1], out[:, 1, 1] = -sin * scales[:, 1], cos * scales[:, 1]
    out[:, :, 2] = state[:, :2] / unit
    return out


def wrapped_angle(radians: Array) -> Array:
    """Wrap an angle to [-pi, pi)."""
    return (radians + math.pi) % (2 * math.pi) - math.pi
