"""Where a subject's box goes: an alpha-beta filter of its centre, and of its size without a velocity."""

from __future__ import annotations

import numpy as np

from streamparts.tracking.boxes import Box, center_of, size_of

PLACE_GAIN = 0.7
"""Share of a surprise by which the centre moves."""
VELOCITY_GAIN = 0.3
"""The same of the velocity."""
GROWTH_GAIN, SHRINK_GAIN = 0.5, 0.15
"""The same of the logarithm of the size. It grows more quickly: what is cut off is lost, what is too large is not."""
MOST_SECONDS = 0.3
"""A velocity is believed no longer than this."""


class BoxMotion:
    """The box of one subject over time."""

    def __init__(self, box: Box, seconds: float) -> None:
        """First seen as `box` at `seconds` of the video."""
        self._center, self._log_size = center_of(box), np.log(np.maximum(size_of(box), 1.0))
        self._velocity = np.zeros(2)
        self._seconds = seconds

    @property
    def box(self) -> Box:
        """As last updated."""
        return self._around(self._center)

    def expected(self, seconds: float) -> Box:
        """At a later time."""
        return self._around(self._center + self._velocity * min(max(seconds - self._seconds, 0.0), MOST_SECONDS))

    def update(self, box: Box, seconds: float, trust: float = 1.0) -> None:
        """It was seen as `box`; with `trust` 0, for two subjects that cover each other, only a little of that is
        believed, and nothing of its size."""
        step = max(seconds - self._seconds, 1e-3)
        expected = center_of(self.expected(seconds))
        surprise = center_of(box) - expected
        self._center = expected + (0.1 + (PLACE_GAIN - 0.1) * trust) * surprise
        self._velocity += VELOCITY_GAIN * trust**2 * surprise / step
        larger = np.log(np.maximum(size_of(box), 1.0)) - self._log_size
        self._log_size += trust * np.where(larger > 0, GROWTH_GAIN, SHRINK_GAIN) * larger
        self._seconds = seconds

    def _around(self, center: Box) -> Box:
        half = np.exp(self._log_size) / 2
        return np.concatenate([center - half, center + half])
