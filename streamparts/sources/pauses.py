"""Pauses between a stream's frames, by their times: frames that are missing, or a variable frame rate?"""

from __future__ import annotations

from collections import deque
from statistics import median

from av.video.stream import VideoStream

PAUSE = 1.5
"""Times the usual distance from which on a distance is a pause, in which a frame may be missing."""
_REMEMBERED = 9
_LEAST, _LEAST_UNCOUNTED = 3, 8
"""Equal distances after which a longer one may be a loss; more of them where the header does not count the frames."""
_MOST_MISSING = 0.1
"""Share of the frames that may be missing; a file that lacks more has a variable frame rate."""


class Pauses:
    """Follows the times of packets in display order."""

    def __init__(self) -> None:
        self.step = 0
        """Ticks since the last packet; 0 if unknown."""
        self._last: int | None = None
        self._steps = deque[int](maxlen=_REMEMBERED)

    def jump(self) -> None:
        """The next packet does not continue the last one."""
        self._last = None

    def length(self, pts: int | None) -> float:
        """Time since the last packet, in multiples of the usual time; 1 if either is unknown."""
        last, self._last, self.step = self._last, pts, 0
        if last is None or pts is None or pts <= last:
            return 1.0
        self.step = pts - last
        usual = median(self._steps) if self._steps else self.step
        self._steps.append(self.step)
        return self.step / usual


class ConstantRate:
    """Follows the distances between frames in display order, while these are equal or, where frames are missing,
    multiples."""

    def __init__(self) -> None:
        self.is_broken = False
        """True if a distance was neither: the frame rate is variable."""
        self._usual = self._num_regular = self._num_missing = 0

    def missing(self, step: int, stream: VideoStream, ticks_per_second: float) -> int:
        """Number of frames that are missing in a distance of `step` ticks."""
        if self.is_broken:
            return 0
        self._usual = self._usual or max(0, step)
        number = round(step / self._usual) - 1 if self._usual else -1
        if number < 0 or abs(step - (number + 1) * self._usual) > number + 1:  # each distance is rounded to ticks
            self.is_broken = True
            return 0
        self._num_missing += number
        self._num_regular += number == 0
        return number if number and self._may_miss(stream, ticks_per_second) else 0

    def _may_miss(self, stream: VideoStream, ticks_per_second: float) -> bool:
        counts = stream.frames > 0 and stream.container.format.name != "avi"  # there, empty chunks count, too
        if counts and stream.average_rate:
            expected = ticks_per_second / self._usual
            return self._num_regular >= _LEAST and stream.average_rate >= (1 - _MOST_MISSING) * expected
        share = self._num_missing / (self._num_regular + self._num_missing)
        return self._num_regular >= _LEAST_UNCOUNTED and share <= _MOST_MISSING
