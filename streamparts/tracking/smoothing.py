"""The constants of the filter that smooths poses over time, see pose_filter.py."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Smoothing:
    """Constants of the filter; each triple is for translation, log scale and angle (radians)."""

    noise: tuple[float, float, float] = (0.8, 0.04, 0.05)
    """Initial standard deviation of a measurement."""
    noise_range: tuple[float, float] = (0.25, 4.0)
    """Bounds of the estimated standard deviation, as multiples of `noise`."""
    agility: tuple[float, float, float] = (1.2e5, 10.0, 1000.0)
    """Spectral density of the white noise in the acceleration, in squared units per second cubed."""
    rest_agility: float = 0.005
    """Share of that density at rest."""
    slow: tuple[float, float, float] = (30.0, 0.25, 2.5)
    """Speeds per second well below these count as rest."""
    leaning_gain: float = 2.0
    """Measurements that keep deviating to the same side of the prediction raise the spectral density by this factor
    times `agility` per variance of their mean."""
    outlier_sigmas: float = 3.5
    """From this many standard deviations, the variance of a measurement grows with the fourth power of the distance."""
    outliers_to_believe: int = 3
    """Number of consecutive outliers that must agree to restart the track there; two suffice if the second continues
    the motion of the first."""
    hidden_decay_seconds: float = 0.08
    """Time constant of a hidden part's decaying velocity; longer, the more confidently it was seen."""
    cutoff_hz: tuple[float, float, float] = (1.0, 1.0, 2.0)
    """Cut-off frequency of the One-Euro filter at rest."""
    cutoff_gain: tuple[float, float, float] = (1.0, 5.0, 10.0)
    """Rise of the cut-off frequency per unit of speed, in hertz."""
    side_seconds: float = 0.0
    """Time over which the pixels of mirrored parts vote on left and right, see sides.py; 0 assigns whole parts by their
    positions instead, see swaps.py."""
    predict_seconds: float = 0.0
    """Prediction horizon of the result, to compensate a known latency."""

    def __post_init__(self) -> None:
        positive = (
            *self.noise,
            *self.agility,
            *self.cutoff_hz,
            *self.slow,
            self.hidden_decay_seconds,
            self.outlier_sigmas,
        )
        gains = (*self.cutoff_gain, self.leaning_gain)
        if min(positive) <= 0 or min(gains) < 0 or self.outliers_to_believe < 2:
            raise ValueError(f"smoothing needs positive constants and at least two outliers for a restart, got {self}")
        if not 0 < self.noise_range[0] <= 1 <= self.noise_range[1]:
            raise ValueError(f"noise_range must include 1, got {self.noise_range}")
        if not 0 <= self.side_seconds <= 10:
            raise ValueError(f"side_seconds must be between 0 and 10, got {self.side_seconds}")
        if not 0 <= self.predict_seconds <= 1:
            raise ValueError(f"predict_seconds must be between 0 and 1, got {self.predict_seconds}")
