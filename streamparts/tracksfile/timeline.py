"""Times of an overlay: the source's own as long as it goes forward, and never back."""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol


class _Lost(Protocol):
    @property
    def seconds(self) -> float: ...


class Timed(Protocol):
    """What a timeline must know of a frame, see data.Frame."""

    @property
    def pts(self) -> int: ...
    @property
    def time_base(self) -> Fraction: ...
    @property
    def segment(self) -> int: ...
    @property
    def gap(self) -> _Lost | None: ...


class Timeline:
    """Maps each frame's time to the overlay's, in seconds.

    Within a segment, and where a new one simply goes on, nothing changes. After a gap the overlay goes on by the wall
    time that was lost, whatever the source's clock says then. Where a new segment without a gap goes back in time, it
    begins one average frame after the last.
    """

    def __init__(self, rate: Fraction) -> None:
        self._step = 1 / rate
        self._segment: int | None = None
        self._last = Fraction(0)
        self.shift = Fraction(0)
        """Seconds now added to the source's times."""

    def seconds(self, frame: Timed) -> Fraction:
        """Overlay time of the next frame."""
        own = frame.pts * frame.time_base
        if self._segment is not None and frame.segment != self._segment:
            self.shift = self._shift_of(frame, own)
        self._segment, self._last = frame.segment, own + self.shift
        return self._last

    def _shift_of(self, frame: Timed, own: Fraction) -> Fraction:
        if frame.gap is not None:
            ticks = max(1, round(frame.gap.seconds / frame.time_base))
            return self._last + ticks * frame.time_base - own
        return self.shift if own + self.shift > self._last else self._last + self._step - own
