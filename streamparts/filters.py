"""Smoothing of part poses over time: a robust Kalman filter, then a One-Euro filter, both driven by seconds.

The state of a part is its translation, the logarithms of its two scales and its angle, each with a velocity that is
constant but for white noise in the acceleration. A measurement far from the prediction counts less the farther it is
(nothing is ever shut out), and three far ones that agree with each other are believed. While a part is hidden, it
goes on with a velocity that dies away. What remains of the noise is taken by the One-Euro filter (Casiez, Roussel and
Vogel 2012), whose cut-off frequency rises with the speed, so that rest is calm and motion hardly late.

Lengths are in units of 1/256 of the frame's shorter side, so that the same constants serve every size of video.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamparts.data import FloatArray

Array = NDArray[np.float64]

REFERENCE_PX = 256
"""The shorter side of a frame in the filter's units."""
import os
REST_AGILITY=float(os.environ.get('RA','1'))
_X, _Y, _SCALES, _ANGLE = 0, 1, slice(2, 4), 4
_GROUP = np.array([0, 0, 1, 1, 2])
"""The columns of the state: x, y; log sx, log sy; angle. Columns of a group share a covariance."""


@dataclass(frozen=True, slots=True)
class Smoothing:
    """Constants of the filter; each triple is of translation, log scale and angle (radians)."""

    noise: tuple[float, float, float] = (1.5, 0.08, 0.10)
    """Standard deviation of a measurement."""
    agility: tuple[float, float, float] = (2.0e4, 6.0, 120.0)
    """Spectral density of the white noise in the acceleration, squared units per second cubed."""
    outlier_sigmas: float = 2.5
    """From this many standard deviations on, the variance of a measurement grows with the fourth power of the
    distance."""
    outliers_to_believe: int = 3
    """So many far measurements in a row that agree with each other move the track there."""
    hidden_decay_seconds: float = 0.25
    """Time constant with which the velocity of a hidden part dies away."""
    cutoff_hz: tuple[float, float, float] = (2.0, 1.0, 1.0)
    """Of the One-Euro filter at rest."""
    cutoff_gain: tuple[float, float, float] = (0.15, 5.0, 4.0)
    """Hertz it rises by per unit of speed."""
    slow: tuple[float, float, float] = (20.0, 0.3, 0.5)
    """Speeds well below these are taken for rest, where the One-Euro filter does not go along with the velocity."""
    predict_seconds: float = 0.0
    """How far ahead the result lies, to cancel a latency that is known."""

    def __post_init__(self) -> None:
        positive = (*self.noise, *self.agility, *self.cutoff_hz, self.hidden_decay_seconds, self.outlier_sigmas)
        if min(positive) <= 0 or min(self.cutoff_gain) < 0 or self.outliers_to_believe < 2:
            raise ValueError(f"smoothing needs positive constants and at least two outliers to believe, got {self}")
        if not 0 <= self.predict_seconds <= 1:
            raise ValueError(f"predict_seconds must be between 0 and 1, got {self.predict_seconds}")


class PoseFilter:
    """The memory of one video: K parts, each with its state. Depends on the times given, not on the clock."""

    def __init__(self, num_parts: int, smoothing: Smoothing | None = None) -> None:
        self._options = smoothing or Smoothing()
        self._noise = np.square(self._options.noise)
        self._agility = np.array(self._options.agility)
        self._seconds: float | None = None
        self._known = np.zeros(num_parts, np.bool_)
        self._value = np.zeros((num_parts, 5))
        self._velocity = np.zeros((num_parts, 5))
        self._covariance = np.zeros((num_parts, 3, 3))  # groups by (position, cross, velocity)
        self._calm = np.zeros((num_parts, 5))
        self._far = np.zeros(num_parts, np.int64)
        self._far_at = np.zeros((num_parts, 2))

    def update(
        self,
        seconds: float,
        affines: FloatArray,
        confidence: FloatArray,
        seen: NDArray[np.bool_],
        side_px: float,
    ) -> FloatArray:
        """(K, 2, 3) smoothed affines at `seconds` (+ predict_seconds), from measured ones in pixels of a frame whose
        shorter side is `side_px`.

        `confidence` (K,) in [0, 1] widens the noise of a measurement by its inverse; a part that is not `seen` (K,) is
        predicted, and before it was ever seen its measurement passes unchanged. Raises ValueError unless `seconds`
        increases.
        """
        if self._seconds is not None and seconds <= self._seconds:
            raise ValueError(f"times must increase, got {seconds} after {self._seconds}")
        step = 0.0 if self._seconds is None else seconds - self._seconds
        self._seconds = seconds
        unit = REFERENCE_PX / side_px
        measured = _to_state(affines, unit)
        self._predict(step)
        known = seen & self._known
        self._correct(measured, np.clip(confidence.astype(np.float64), 0.05, 1.0), known, step)
        self._velocity[~seen] *= math.exp(-step / self._options.hidden_decay_seconds)
        self._start(measured, seen & ~self._known)
        self._calm_down(step)
        ahead = self._calm + self._velocity * self._options.predict_seconds
        ahead[~self._known] = measured[~self._known]
        return _to_affines(ahead, unit)

    def _predict(self, step: float) -> None:
        self._value += self._velocity * step
        moving = self._moving()
        agility = self._agility * (REST_AGILITY + (1 - REST_AGILITY) * moving)
        position, cross, velocity = (self._covariance[..., i] for i in range(3))
        position += step * (2 * cross + step * velocity) + agility * step**3 / 3
        cross += step * velocity + agility * step**2 / 2
        velocity += agility * step

    def _speeds(self) -> Array:
        speed = np.abs(self._velocity)
        return np.stack(
            [np.hypot(speed[:, _X], speed[:, _Y]), np.hypot(*speed[:, _SCALES].T), speed[:, _ANGLE]], axis=1
        )

    def _moving(self) -> Array:
        squares = np.square(self._speeds())
        return squares / (squares + np.square(self._options.slow))

    def _correct(self, measured: Array, confidence: Array, known: NDArray[np.bool_], step: float) -> None:
        """The Kalman update of the parts in `known`."""
        surprise = measured - self._value
        surprise[:, _ANGLE] = _wrapped(surprise[:, _ANGLE])
        noise = self._noise / np.square(confidence)[:, None]
        position = self._covariance[..., 0]
        squares = np.square(surprise)
        # Mean square per axis, so that one limit serves groups of one and of two axes.
        squared = np.stack([squares[:, :2].sum(1) / 2, squares[:, _SCALES].sum(1) / 2, squares[:, _ANGLE]], axis=1)
        distance = np.sqrt(squared / (position + noise))
        far = distance / self._options.outlier_sigmas
        gain_base = position + noise * np.maximum(1.0, far) ** 4
        weight = known[:, None] / gain_base
        for_position, for_velocity = position * weight, self._covariance[..., 1] * weight
        self._value += for_position[:, _GROUP] * surprise
        self._velocity += for_velocity[:, _GROUP] * surprise
        cross = self._covariance[..., 1].copy()
        self._covariance[..., 2] -= for_velocity * cross
        self._covariance[..., 1] -= for_position * cross
        self._covariance[..., 0] -= for_position * position
        self._believe(measured, known, far[:, 0] > 1, step)

    def _believe(self, measured: Array, known: NDArray[np.bool_], far: NDArray[np.bool_], step: float) -> None:
        """Far measurements that agree with each other restart the track where they are."""
        moved = np.hypot(*(measured[:, :2] - self._far_at).T)
        speed = np.hypot(*self._velocity[:, :2].T)
        agree = moved <= 5 * math.sqrt(self._noise[0]) + speed * step
        far = far & known
        self._far = np.where(far, np.where(agree & (self._far > 0), self._far + 1, 1), np.where(known, 0, self._far))
        self._far_at = np.where(far[:, None], measured[:, :2], self._far_at)
        believed = self._far >= self._options.outliers_to_believe
        if believed.any():
            self._start(measured, believed)

    def _start(self, measured: Array, parts: NDArray[np.bool_]) -> None:
        """Begin at the measurement, at rest, with a velocity that may be anything a part does."""
        self._value[parts] = self._calm[parts] = measured[parts]
        self._velocity[parts] = 0
        self._covariance[parts] = np.stack([self._noise, np.zeros(3), self._agility * 0.1], axis=-1)
        self._far[parts] = 0
        self._known |= parts

    def _calm_down(self, step: float) -> None:
        """The One-Euro filter, its speed taken from the Kalman filter."""
        options, speed = self._options, np.abs(self._velocity)
        speeds = np.stack(
            [np.hypot(speed[:, _X], speed[:, _Y]), np.hypot(*speed[:, _SCALES].T), speed[:, _ANGLE]], axis=1
        )
        cutoff = np.array(options.cutoff_hz) + np.array(options.cutoff_gain) * speeds
        turn = 2 * math.pi * cutoff * step
        share = (turn / (1 + turn))[:, _GROUP]
        moving = np.square(speeds) / (np.square(speeds) + np.square(options.slow))
        self._calm += self._velocity * step * moving[:, _GROUP]
        behind = self._value - self._calm
        behind[:, _ANGLE] = _wrapped(behind[:, _ANGLE])
        self._calm += share * behind


def _to_state(affines: FloatArray, unit: float) -> Array:
    """(K, 2, 3) -> (K, 5): x, y, log sx, log sy, angle; lengths times `unit`."""
    values = affines.astype(np.float64)
    scales = np.maximum(np.hypot(values[:, 0, :2], values[:, 1, :2]), 1e-6)
    angle = np.arctan2(values[:, 1, 0], values[:, 0, 0])
    return np.concatenate([values[:, :, 2] * unit, np.log(scales * unit), angle[:, None]], axis=1)


def _to_affines(state: Array, unit: float) -> FloatArray:
    scales, angle = np.exp(state[:, _SCALES]) / unit, state[:, _ANGLE]
    cos, sin = np.cos(angle), np.sin(angle)
    out = np.empty((len(state), 2, 3), np.float32)
    out[:, 0, 0], out[:, 1, 0] = cos * scales[:, 0], sin * scales[:, 0]
    out[:, 0, 1], out[:, 1, 1] = -sin * scales[:, 1], cos * scales[:, 1]
    out[:, :, 2] = state[:, :2] / unit
    return out


def _wrapped(radians: Array) -> Array:
    """Into [-pi, pi)."""
    return (radians + math.pi) % (2 * math.pi) - math.pi
