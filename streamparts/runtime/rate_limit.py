"""Selects frames by their times, evenly, up to a maximum rate."""

from __future__ import annotations

from fractions import Fraction

from streamparts.data import Frame


class RateLimit:
    """The memory of one source."""

    def __init__(self, fps: float) -> None:
        """`fps` is the maximum number of frames per second of the source's time."""
        self._period = 1 / Fraction(fps)
        self._due: Fraction | None = None
        self._segment = 0

    def takes(self, frame: Frame) -> bool:
        """True if the frame is to be tracked."""
        seconds = frame.pts * frame.time_base
        if self._due is None or frame.segment != self._segment:
            self._due, self._segment = seconds, frame.segment
        if seconds + min(frame.time_base, self._period / 20) < self._due:  # times are rounded to ticks
            return False
        self._due = max(self._due, seconds - self._period) + self._period
        return True
