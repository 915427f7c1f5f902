"""Selects the clock of a stream's times: the sender's or, if there is none, this machine's or a count."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from statistics import median

from streamparts.errors import VideoError
from streamparts.sources.base import FALLBACK_RATE
from streamparts.sources.timed import TimedImage, counted_note

ARRIVAL_TIME_BASE = Fraction(1, 90_000)
"""Seconds per tick of arrival times."""
MEASURED_PICTURES, MEASURED_SECONDS = 8, 1.0
"""Number of images waited for, and seconds, either of which ends the measurement of a rate without timestamps."""
MOST_PICTURES = 64
"""Maximum number of images of this measurement."""
_WAITED_SECONDS = 0.002

ARRIVAL_NOTE = "has no timestamps: using arrival times; --fps counts frames instead"


class Clock:
    """Assigns times to the images of one stream."""

    def __init__(self, time_base: Fraction, rate: Fraction | None, states_times: bool, asked: Fraction | None) -> None:
        """`time_base` and `rate` as announced. Raises VideoError if a rate is `asked` for although the stream has
        timestamps."""
        if states_times and asked is not None:
            raise VideoError("has its own timestamps; leave --fps out")
        self.time_base, self.rate = time_base, rate
        self.notes: tuple[str, ...] = ()
        """Remarks about the times, in words."""
        self.is_senders = states_times
        """True if the times are the sender's, right or wrong."""
        self._asked = asked
        self._arrivals: Arrivals | None = None

    def begin(self, first: TimedImage, more: Callable[[float], TimedImage | None]) -> list[TimedImage]:
        """Return the first images with their times: one, or those used to measure the rate. `more` returns the next one
        within so many seconds, None if none arrives."""
        if self.is_senders:
            return [first]
        pictures, times = [first], None
        if self._asked is None:
            pictures, times = self._measure(first, more)
        if times is not None:
            self.time_base, self.notes = ARRIVAL_TIME_BASE, (ARRIVAL_NOTE,)
            return [picture._replace(pts=time) for picture, time in zip(pictures, times, strict=True)]
        self.rate = self._asked or self.rate or FALLBACK_RATE
        self.time_base, self.notes = 1 / self.rate, (counted_note(self.rate, self._asked is not None),)
        return [picture._replace(pts=None) for picture in pictures]

    def ticks(self, pts: int | None, arrived: float) -> int | None:
        """Time of a later image with `pts`; None if it must be counted."""
        if self.is_senders:
            return pts
        return None if self._arrivals is None else self._arrivals.ticks(arrived)

    def _measure(
        self, first: TimedImage, more: Callable[[float], TimedImage | None]
    ) -> tuple[list[TimedImage], list[int] | None]:
        arrivals, pictures = Arrivals(), [first]
        picture: TimedImage | None = first
        while picture is not None and arrivals.note(_arrived(picture), picture.waited):
            picture = more(arrivals.left(time.perf_counter()))
            pictures += [picture] if picture else []
        settled = arrivals.settle()
        if settled is None:
            return pictures, None
        self._arrivals, self.rate = arrivals, settled[1]
        return pictures, settled[0]


def _arrived(picture: TimedImage) -> float:
    return time.perf_counter() if picture.decoded_at is None else picture.decoded_at


class Arrivals:
    """Arrival times, in ticks of ARRIVAL_TIME_BASE from the first image, for streams without timestamps.

    FFmpeg probes a stream before it returns the first image; images read by then are returned at once. They get times
    before that of the first image that had to be waited for, at the same intervals as those after it.
    """

    def __init__(self) -> None:
        self._arrived: list[float] = []
        self._num_early = 0
        self._waits = False
        self._last = -1
        self._began = 0.0

    def note(self, arrived: float, waited: float) -> bool:
        """Add one of the first images: when it left the decoder, and how long its data was waited for, in seconds of
        this machine. Returns False once enough is known."""
        self._waits = self._waits or waited > _WAITED_SECONDS
        self._num_early += not self._waits
        self._arrived.append(arrived)
        known = len(self._arrived) - self._num_early
        return known < MEASURED_PICTURES and len(self._arrived) < MOST_PICTURES

    def left(self, now: float) -> float:
        """Seconds left for measuring."""
        since = self._arrived[min(self._num_early, len(self._arrived) - 1)]
        return since + MEASURED_SECONDS - now

    def settle(self) -> tuple[list[int], Fraction] | None:
        """Return the times of the added images, and the rate; None if all came at once, as from a file."""
        known = self._arrived[self._num_early :]
        steps = [after - before for before, after in pairwise(known)]
        step = median(steps) if steps else 0.0
        if step <= 0:
            return None
        times = [known[0] - (self._num_early - n) * step for n in range(self._num_early)] + known
        self._began = times[0]
        return [self.ticks(time) for time in times], Fraction(1 / step).limit_denominator(100)

    def ticks(self, arrived: float) -> int:
        """Time of a later image; increases by at least a tick."""
        self._last = max(self._last + 1, round((arrived - self._began) / ARRIVAL_TIME_BASE))
        return self._last
