"""Plain filters of centres for comparison: a robust Kalman filter and a One-Euro filter, (F, K, 2) -> (F, K, 2).

benchmarks/smoothing.py calibrates its tracks with them, and prints their results beside those of the project's filter.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

AGILITY = 2.2e5
"""Spectral density of the white acceleration, square pixels per second cubed."""
NOISE = 1.5
SIGMAS = 2.5
DECAY_SECONDS = 0.25


def robust_kalman(centers: Array, confidence: Array, step: float) -> Array:
    """Constant velocity, which decays while `confidence` (F, K) is below 1; it divides the noise, 0 excludes a
    measurement. Beyond 2.5 sigmas, the variance grows with the fourth power of the distance; three such measurements in
    a row that agree restart the track."""
    num_parts = centers.shape[1]
    begin = np.array([[NOISE**2], [0.0], [1e4]])
    value, velocity, covariance = centers[0].copy(), np.zeros((num_parts, 2)), np.tile(begin, num_parts)
    far, far_at = np.zeros(num_parts, np.int64), np.zeros((num_parts, 2))
    out = [value.copy()]
    for measured, sure in zip(centers[1:], confidence[1:], strict=True):
        value += velocity * step
        position, cross, speed = covariance
        position = position + step * (2 * cross + step * speed) + AGILITY * step**3 / 3
        cross, speed = cross + step * speed + AGILITY * step**2 / 2, speed + AGILITY * step
        surprise = measured - value
        noise = NOISE**2 / np.maximum(sure, 1e-6) ** 2
        distance = np.hypot(*surprise.T) / np.sqrt(position + noise) / SIGMAS
        weight = (sure > 0) / (position + noise * np.maximum(1, distance) ** 4)
        value += (position * weight)[:, None] * surprise
        velocity += (cross * weight)[:, None] * surprise
        covariance = np.stack([
            position - position**2 * weight, cross - position * cross * weight, speed - cross**2 * weight
        ])  # fmt: skip
        velocity[sure < 1] *= math.exp(-step / DECAY_SECONDS)
        away = (sure == 1) & (distance > 1)
        near = np.hypot(*(measured - far_at).T) < 4 * NOISE + np.hypot(*velocity.T) * step
        far = np.where(away, np.where(near & (far > 0), far + 1, 1), np.where(sure == 1, 0, far))
        far_at[away] = measured[away]
        again = far >= 3
        value[again], velocity[again], far[again] = measured[again], 0, 0
        covariance[:, again] = begin
        out.append(value.copy())
    return np.stack(out)


def one_euro(centers: Array, step: float, cutoff_hz: float, gain: float) -> Array:
    """Casiez, Roussel and Vogel 2012, one speed for both axes; the derivative is taken from the last filtered value and
    smoothed at 1 Hz."""
    value, speed = centers[0].copy(), np.zeros(centers.shape[1:])
    out = [value.copy()]
    for measured in centers[1:]:
        speed += _share(1.0, step) * ((measured - value) / step - speed)
        value += _share(cutoff_hz + gain * np.hypot(*speed.T)[:, None], step) * (measured - value)
        out.append(value.copy())
    return np.stack(out)


def _share(cutoff_hz: float | Array, step: float) -> Array:
    turn = 2 * math.pi * step * np.asarray(cutoff_hz)
    share: Array = turn / (1 + turn)
    return share
