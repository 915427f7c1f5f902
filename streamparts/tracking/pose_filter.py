"""Smooths part poses over time: a robust Kalman filter, then a One-Euro filter, both driven by seconds.

The state of a part is its translation, the logarithms of its two scales and its angle, each with a velocity that is
constant except for white noise in the acceleration: little at rest, more while measurements keep deviating to the same
side of the prediction. The measurement noise is estimated from the measurements: from the lowest quarter of their
squared second differences. The farther a measurement is from the prediction, the less it counts (but it is never
excluded). Three outliers that agree, or two that move steadily away, restart the track. While a part is hidden, it
continues with a decaying velocity or, with a skeleton, is placed by its neighbours, which also correct uncertain
measurements (see occlusion.py). A speed counts as motion as far as it exceeds its own uncertainty. The One-Euro filter
(Casiez, Roussel and Vogel 2012) removes the remaining noise; its cut-off frequency rises with the speed, and it moves
with the estimated velocity, so parts are steady at rest with little lag in motion.

Lengths are in units of 1/256 of the frame's shorter side, so that the same constants fit every video size.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import FloatArray
from streamparts.tracking.occlusion import Chains
from streamparts.tracking.pose_state import (
    ANGLE,
    GROUP,
    NUM_AXES,
    Array,
    by_axis,
    mean_squares,
    to_affines,
    to_state,
    wrapped_angle,
)
from streamparts.tracking.skeleton import Skeleton
from streamparts.tracking.smoothing import Smoothing

REFERENCE_PX = 256
"""The shorter side of a frame in the filter's units."""

_MEAN_KEPT = 0.7
"""Decay per measurement of the mean innovation, which thus covers the last few."""
_CHANCE = 0.5
"""Mean square, in variances, up to which that mean is chance: for independent innovations it is 0.18."""
_HALF_SEEN = 0.5
"""Degree to which a visible part with confidence 0 counts as hidden, and as moving: such measurements cannot show that
it is at rest."""
_SURE = 0.5
"""Parts below this confidence are corrected towards their joints."""
_SAME_WAY = 0.7
"""Cosine from which two outliers lie in the same direction from their predictions."""
_AHEAD = 1.3
"""Factor by which the second of two such outliers is farther if a motion has started; an error does not grow."""
_LEAST_CONFIDENCE = 0.01
"""Lower bound of the confidence."""
_PLACED_HZ = 3.0
"""Minimum cut-off frequency of the One-Euro filter for parts placed by the skeleton, which are already smooth."""
_QUANTILE = 0.25
"""Quantile of the squared second differences that estimates the noise; larger ones contain motion."""
_QUANTILE_SHARE = np.array([0.288, 0.288, 0.102])[GROUP] * 6
"""That quantile relative to the variance of a measurement: of chi-square divided by its 2, 2 and 1 degrees of freedom,
where a second difference has 6 times the variance."""


_STATES = (
    "filled", "_placed", "_noise", "_run", "_num_differences", "_known", "_value", "_velocity", "_mean_innovation",
    "_squared_speeds", "_filtered", "_num_outliers", "_outlier_at", "_outlier_by",
)  # fmt: skip
"""Attributes of PoseFilter with one row per part."""


class PoseFilter:
    """The memory of one video: K parts, each with its state. It depends only on the given times, not on the clock."""

    def __init__(self, num_parts: int, smoothing: Smoothing | None = None, skeleton: Skeleton | None = None) -> None:
        """A `skeleton` of these parts places hidden ones."""
        self._chains = Chains(skeleton) if skeleton else None
        self.filled = np.zeros(num_parts, np.bool_)
        """(K,) hidden parts that the skeleton placed in the last update."""
        self._placed = self.filled  # and of those moved by it because of their low confidence
        options = self._options = smoothing or Smoothing()
        self._agility, self._slow = by_axis(options.agility), np.square(by_axis(options.slow))
        self._cutoff, self._cutoff_gain = by_axis(options.cutoff_hz), by_axis(options.cutoff_gain)
        start = np.square(by_axis(options.noise))
        low, high = np.square(options.noise_range)
        self._noise_bounds = start * low, start * high
        self._noise = np.tile(start, (num_parts, 1))
        self._last = self._before = np.zeros((num_parts, 5)), np.ones(num_parts)
        self._run, self._num_differences = np.zeros(num_parts), np.zeros(num_parts)
        self._seconds: float | None = None
        self._known = np.zeros(num_parts, np.bool_)
        self._value = np.zeros((num_parts, 5))
        self._velocity = np.zeros((num_parts, 5))
        self._covariance = np.zeros((3, num_parts, 5))  # position, cross, velocity
        self._mean_innovation = np.zeros((num_parts, 5))  # in standard deviations
        self._squared_speeds = np.zeros((num_parts, 5))  # mean over the axes, without the part due to uncertainty
        self._filtered = np.zeros((num_parts, 5))
        self._num_outliers = np.zeros(num_parts, np.int64)
        self._outlier_at, self._outlier_by = np.zeros((num_parts, 2)), np.zeros((num_parts, 2))

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

        `confidence` (K,) in [0, 1] divides the noise of a measurement; a part that is not `seen` (K,) is predicted;
        before it was first visible, its measurement passes unchanged. Raises ValueError unless `seconds` increases.
        """
        if self._seconds is not None and seconds <= self._seconds:
            raise ValueError(f"times must increase, got {seconds} after {self._seconds}")
        step = 0.0 if self._seconds is None else seconds - self._seconds
        self._seconds = seconds
        unit = REFERENCE_PX / side_px
        measured = to_state(affines, unit)
        sure = np.minimum(np.maximum(confidence, _LEAST_CONFIDENCE, dtype=np.float64), 1)
        # (K,) each: confidence c divides the noise, so the variance grows by 1 / c^2
        doubt, half_seen = 1 / np.square(sure), _HALF_SEEN * (1 - sure)
        self._estimate_noise(measured, doubt, seen)
        before = self._value, self._velocity.copy()
        self._predict(step, half_seen * seen)
        self._correct(measured, doubt, seen & self._known, step)
        # The velocity of a hidden part decays; that of an uncertain one decays in part.
        hidden = np.where(seen, half_seen, 1.0)
        self._velocity *= np.exp(hidden * (-step / self._options.hidden_decay_seconds))[:, None]
        if self._chains:
            now = self._value, self._velocity
            trusted = sure >= _SURE
            self._placed = self._chains.place(before, now, self._covariance, trusted, seen, self._known, step)
            self.filled = self._placed & ~seen
        if (new := seen & ~self._known).any():
            self._start(measured, new)
        self._follow(step)
        ahead = self._filtered + self._velocity * self._options.predict_seconds
        if not self._known.all():
            ahead[~self._known] = measured[~self._known]
        return to_affines(ahead, unit)

    def expected(self, seconds: float, side_px: float) -> tuple[Array, Array]:
        """Predicted positions at `seconds`: centers (K, 2) in pixels, nan for parts never visible, and the standard
        deviation (K,) of a measurement around them."""
        step = 0.0 if self._seconds is None else seconds - self._seconds
        # Column 0 stands for both axes of the translation. P(t + dt) = F P F^T, without the noise of the acceleration.
        position, cross, velocity = self._covariance[:, :, 0]
        variance = position + step * (2 * cross + step * velocity) + self._noise[:, 0]
        centers = np.where(self._known[:, None], self._value[:, :2] + step * self._velocity[:, :2], np.nan)
        return centers * (side_px / REFERENCE_PX), np.sqrt(variance) * (side_px / REFERENCE_PX)

    def exchange(self, order: NDArray[np.intp]) -> None:
        """Give each part the state of part `order` (K,), because the tracks were taken for each other's."""
        for name in _STATES:
            setattr(self, name, getattr(self, name)[order])
        self._covariance = self._covariance[:, order]
        self._last, self._before = ((values[order], doubt[order]) for values, doubt in (self._last, self._before))
        if self._chains:
            self._chains.exchange(order)

    def _estimate_noise(self, measured: Array, doubt: Array, seen: NDArray[np.bool_]) -> None:
        """Estimate the measurement noise: a quantile of the second differences, tracked step by step. `doubt` (K,) is
        the factor by which confidence widens their variance."""
        (last, doubt_then), (before, doubt_before) = self._last, self._before
        # (K, 5): constant velocity cancels, noise of variance v gives 1^2 + 2^2 + 1^2 = 6 v
        second = measured - 2 * last + before
        second[:, ANGLE] = wrapped_angle(second[:, ANGLE])
        self._run = (self._run + 1) * seen
        usable = self._run > 2
        self._num_differences += usable
        # Stochastic quantile q: the log variance rises by q and falls by 1 - q, so that in equilibrium a share q of the
        # second differences is below it. Steps shrink from 1/5 to 1/50.
        pace = usable / np.minimum(self._num_differences + 4, 50)
        widened = (doubt + 4 * doubt_then + doubt_before) / 6
        below = mean_squares(second) < self._noise * (_QUANTILE_SHARE * widened[:, None])
        self._noise *= np.exp(pace[:, None] * (_QUANTILE - below))
        self._noise = np.minimum(np.maximum(self._noise, self._noise_bounds[0]), self._noise_bounds[1])
        self._last, self._before = (measured, doubt), self._last

    def _predict(self, step: float, half_seen: Array) -> None:
        """Predict all parts. `half_seen` (K,) in [0, 1] is the minimum degree to which parts count as moving."""
        self._value = self._value + self._velocity * step
        rest = self._options.rest_agility
        position, cross, velocity = self._covariance
        persistent = self._options.leaning_gain * np.maximum(mean_squares(self._mean_innovation) - _CHANCE, 0)
        agility = self._agility * (
            rest + (1 - rest) * np.maximum(self._moving(self._squared_speeds), half_seen[:, None]) + persistent
        )
        # P = F P F^T + Q with F = [[1, dt], [0, 1]] and Q = q [[dt^3/3, dt^2/2], [dt^2/2, dt]] (white acceleration)
        position += step * (2 * cross + step * velocity) + agility * (step**3 / 3)
        cross += step * velocity + agility * (step**2 / 2)
        velocity += agility * step

    def _moving(self, squares: Array) -> Array:
        """(K, 5) in [0, 1) from squared speeds, mean over the axes: 0 at rest."""
        moving: Array = squares / (squares + self._slow)
        return moving

    def _correct(self, measured: Array, doubt: Array, known: NDArray[np.bool_], step: float) -> None:
        """Apply the Kalman update to the `known` parts; `doubt` (K,) widens the variance of their measurements."""
        surprise = measured - self._value
        surprise[:, ANGLE] = wrapped_angle(surprise[:, ANGLE])
        noise = self._noise * doubt[:, None]
        position, cross, velocity = self._covariance
        expected = position + noise
        # (K, 5) squared distance in units of the outlier limit; beyond 1, its square multiplies the noise variance
        far = mean_squares(surprise) / (expected * self._options.outlier_sigmas**2)
        stretch = np.maximum(1.0, far)
        self._average_residuals(surprise / np.sqrt(expected * stretch), known)
        # Gains k = [P_xx, P_xv] / (P_xx + R); the covariance shrinks by k times its first row.
        weight = known[:, None] / (position + noise * np.square(stretch))
        for_position, for_velocity = position * weight, cross * weight
        self._value += for_position * surprise
        self._velocity += for_velocity * surprise
        # from the last row to the first, because each uses the old values of those above it
        velocity -= for_velocity * cross
        cross -= for_position * cross
        position -= for_position * position
        self._restart(measured, surprise[:, :2], known, known & (far[:, 0] > 1), step)

    def _average_residuals(self, surprise: Array, known: NDArray[np.bool_]) -> None:
        """Average the innovations of `known` parts, in standard deviations, with outliers clipped."""
        self._mean_innovation = (_MEAN_KEPT * self._mean_innovation + (1 - _MEAN_KEPT) * surprise) * known[:, None]

    def _restart(
        self, measured: Array, surprise: Array, known: NDArray[np.bool_], far: NDArray[np.bool_], step: float
    ) -> None:
        """Restart the track at outliers that agree with each other, with the velocity between them: those that stay at
        one place, and those that move steadily away, as in a motion that starts too fast."""
        if far.any():
            # (K, 2) step from the previous outlier, and how far noise (5 sigmas) and the old velocity may move it
            moved = measured[:, :2] - self._outlier_at
            reach = 5 * np.sqrt(self._noise[:, 0]) + np.hypot(*self._velocity[:, :2].T) * step
            length, before = np.hypot(*surprise.T), np.hypot(*self._outlier_by.T)
            same_way = (self._num_outliers > 0) & ((surprise * self._outlier_by).sum(1) > _SAME_WAY * length * before)
            again = (self._num_outliers > 0) & ((np.hypot(*moved.T) <= reach) | (same_way & (length > before / 2)))
            self._num_outliers[far] = np.where(again, self._num_outliers + 1, 1)[far]
            self._outlier_at[far], self._outlier_by[far] = measured[far, :2], surprise[far]
            speeds_up = same_way & (length > _AHEAD * before)
            accepted = far & (speeds_up | (self._num_outliers >= self._options.outliers_to_believe))
            self._start(measured, accepted)
            self._velocity[accepted, :2] = moved[accepted] / step
            # covariance of a position and a velocity computed from two measurements with variance R
            certain = self._noise[accepted, 0] * np.array([[1], [1 / step], [2 / step**2]])
            self._covariance[:, accepted, :2] = certain[..., None]
        self._num_outliers[known & ~far] = 0

    def _start(self, measured: Array, parts: NDArray[np.bool_]) -> None:
        """Initialise at the measurement, at rest, with a velocity variance that covers any motion of a part."""
        self._value[parts] = self._filtered[parts] = measured[parts]
        self._velocity[parts] = 0
        self._covariance[0, parts] = self._noise[parts]
        self._covariance[1, parts] = 0
        self._covariance[2, parts] = self._agility * 0.1
        self._num_outliers[parts] = 0
        self._known |= parts

    def _follow(self, step: float) -> None:
        """Apply the One-Euro filter, with its speed from the Kalman filter; in motion it moves with the velocity."""
        # E[v^2] = v^2 + variance, so the variance of the estimate is subtracted
        squares = mean_squares(self._velocity)
        self._squared_speeds = np.maximum(squares - self._covariance[2], 0)
        cutoff = self._cutoff
        if self._placed.any():
            cutoff = np.where(self._placed[:, None], np.maximum(cutoff, _PLACED_HZ), cutoff)
        turn = (2 * math.pi * step) * (cutoff + self._cutoff_gain * np.sqrt(self._squared_speeds * NUM_AXES))
        # In motion, the filtered value first moves with the velocity, so that the low-pass adds no lag.
        self._filtered += self._velocity * (step * self._moving(squares))
        behind = self._value - self._filtered
        behind[:, ANGLE] = wrapped_angle(behind[:, ANGLE])
        # first-order low-pass: alpha = 2 pi f dt / (1 + 2 pi f dt)
        self._filtered += behind * (turn / (1 + turn))
