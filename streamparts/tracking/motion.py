"""Motion of a subject's box: an alpha-beta filter of its centre, and its size without velocity."""

from __future__ import annotations

import numpy as np

from streamparts.tracking.boxes import Box, center_of, size_of

PLACE_GAIN = 0.7
"""Gain of the centre: the share of the innovation."""
VELOCITY_GAIN = 0.3
"""Gain of the velocity."""
GROWTH_GAIN, SHRINK_GAIN = 0.5, 0.15
"""Gains of the log size, higher when it grows: pixels outside the crop are lost, a crop that is too large loses
nothing."""
MOST_SECONDS = 0.3
"""A velocity is extrapolated for at most this long."""


class BoxMotion:
    """The box of one subject over time."""

    def __init__(self, box: Box, seconds: float) -> None:
        """First seen as `box` at `seconds` of the video."""
        self._center, self._log_size = center_of(box), np.log(np.maximum(size_of(box), 1.0))
        self._velocity = np.zeros(2)
        self._seconds = seconds

    @property
    def box(self) -> Box:
        """Box at the last update."""
        return self._around(self._center)

    def expected(self, seconds: float) -> Box:
        """Predicted box at a later time."""
        return self._around(self._center + self._velocity * min(max(seconds - self._seconds, 0.0), MOST_SECONDS))

    def update(self, box: Box, seconds: float, trust: float = 1.0) -> None:
        """Update with the measured `box`; with `trust` 0, for two overlapping subjects, the centre's gain is small and
        the size is kept."""
        step = max(seconds - self._seconds, 1e-3)
        expected = center_of(self.expected(seconds))
        surprise = center_of(box) - expected
        # alpha-beta filter: x += alpha r, v += beta r / dt, with r = measured - predicted
        self._center = expected + (0.1 + (PLACE_GAIN - 0.1) * trust) * surprise
        self._velocity += VELOCITY_GAIN * trust**2 * surprise / step
        # (2,) width and height in the logarithm, so that doubling and halving count alike
        larger = np.log(np.maximum(size_of(box), 1.0)) - self._log_size
        self._log_size += trust * np.where(larger > 0, GROWTH_GAIN, SHRINK_GAIN) * larger
        self._seconds = seconds

    def _around(self, center: Box) -> Box:
        # (2,)
        half = np.exp(self._log_size) / 2
        return np.concatenate([center - half, center + half])
