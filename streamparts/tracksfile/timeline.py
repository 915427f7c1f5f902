"""Times of an overlay: the source's own while they increase, and never decreasing."""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol


class _Lost(Protocol):
    @property
    def seconds(self) -> float: ...


class HasTimes(Protocol):
    """Properties of a frame that a timeline needs, see data.Frame."""

    @property
    def pts(self) -> int: ...
    @property
    def time_base(self) -> Fraction: ...
    @property
    def segment(self) -> int: ...
    @property
    def gap(self) -> _Lost | None: ...


class OverlayTimes:
    """Maps each frame's time to the overlay's, in seconds.

    Within a segment, and if a new one simply continues, nothing changes. After a gap, the overlay advances by the lost
    wall time, whatever the source's clock is then. If a new segment without a gap starts at an earlier time, it is
    placed one average frame interval after the last.
    """

    def __init__(self, rate: Fraction) -> None:
        self._step = 1 / rate
        self._segment: int | None = None
        self._last = Fraction(0)
        self.shift = Fraction(0)
        """Seconds currently added to the source's times."""

    def seconds(self, frame: HasTimes) -> Fraction:
        """Overlay time of the next frame."""
        own = frame.pts * frame.time_base
        if self._segment is not None and frame.segment != self._segment:
            self.shift = self._shift_of(frame, own)
        self._segment, self._last = frame.segment, own + self.shift
        return self._last

    def _shift_of(self, frame: HasTimes, own: Fraction) -> Fraction:
        if frame.gap is not None:
            ticks = max(1, round(frame.gap.seconds / frame.time_base))
            return self._last + ticks * frame.time_base - own
        return self.shift if own + self.shift > self._last else self._last + self._step - own
