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
LEAST_PICTURES, MOST_SECONDS = 3, 5.0
"""Until so many have been waited for, a slow camera gets more seconds."""
MOST_PICTURES = 64
"""Maximum number of images of this measurement."""
MOST_RATE = 250
"""Images per second. Faster ones come from a file."""

ARRIVAL_NOTE = "has no timestamps: using arrival times; --fps counts frames instead"


class Clock:
    """Assigns times to the images of one stream."""

    def __init__(
        self,
        time_base: Fraction,
        rate: Fraction | None,
        states_times: bool,
        asked: Fraction | None,
        live: bool | None = None,
    ) -> None:
        """`time_base` and `rate` as announced. Images of a `live` stream have times of arrival, unless they come faster
        than `rate`, as from a file; others are counted. None, for a pipe, means live if any of the first images had to
        be waited for. Raises VideoError if a rate is `asked` for although the stream has timestamps."""
        if states_times and asked is not None:
            raise VideoError("has its own timestamps; leave --fps out")
        self.time_base, self.rate = time_base, rate
        self.notes: tuple[str, ...] = ()
        """Remarks about the times, in words."""
        self.is_senders = states_times
        """True if the times are the sender's, right or wrong."""
        self._asked, self._live = asked, live
        self._arrivals: Arrivals | None = None

    def begin(self, first: TimedImage, more: Callable[[float], TimedImage | None]) -> list[TimedImage]:
        """Return the first images with their times: one, or those used to measure the rate. `more` returns the next one
        within so many seconds, None if none arrives."""
        if self.is_senders:
            return self._measure_stated(first, more) if self._live and self.rate is None else [first]
        pictures, times = [first], None
        if self._asked is None and self._live is not False:
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

    def _measure_stated(self, first: TimedImage, more: Callable[[float], TimedImage | None]) -> list[TimedImage]:
        """Measure the rate by the sender's times."""
        began, pictures = time.perf_counter(), [first]
        while len(pictures) < MEASURED_PICTURES:
            left = MEASURED_SECONDS if len(pictures) > LEAST_PICTURES else MOST_SECONDS  # the first may have no time
            picture = more(began + left - time.perf_counter())
            if picture is None:
                break
            pictures.append(picture)
        stated = [picture.pts for picture in pictures if picture.pts is not None]
        if steps := [after - before for before, after in pairwise(stated) if after > before]:
            self.rate = (1 / (Fraction(median(steps)) * self.time_base)).limit_denominator(100)
        return pictures

    def _measure(
        self, first: TimedImage, more: Callable[[float], TimedImage | None]
    ) -> tuple[list[TimedImage], list[int] | None]:
        arrivals, pictures = Arrivals(self.rate or FALLBACK_RATE), [first]
        picture: TimedImage | None = first
        while picture is not None and arrivals.note(_arrived(picture), picture.waited):
            picture = more(arrivals.left(time.perf_counter()))
            pictures += [picture] if picture else []
        settled = arrivals.settle(bool(self._live))
        if settled is None:
            return pictures, None
        self._arrivals, self.rate = arrivals, settled[1]
        return pictures, settled[0]


def _arrived(picture: TimedImage) -> float:
    return time.perf_counter() if picture.decoded_at is None else picture.decoded_at


class Arrivals:
    """Arrival times, in ticks of ARRIVAL_TIME_BASE from the first image, for streams without timestamps.

    FFmpeg probes a stream before it returns the first image; images read by then are returned at once. They get times
    before those that had to be waited for, at the same intervals.
    """

    def __init__(self, announced: Fraction) -> None:
        """`announced` is the rate in the header, or FALLBACK_RATE."""
        self._announced = announced
        self._pause = min(max(0.25 / float(announced), 0.002), 0.005)
        """Seconds. Shorter waits are this machine's own."""
        self._arrived: list[float] = []
        self._was_awaited: list[bool] = []
        self._last = -1
        self._began = 0.0

    def note(self, arrived: float, waited: float) -> bool:
        """Add one of the first images: when it left the decoder, and how long its data was waited for, in seconds of
        this machine. Returns False once enough is known."""
        self._arrived.append(arrived)
        self._was_awaited.append(waited > self._pause)
        return sum(self._was_awaited) < MEASURED_PICTURES and len(self._arrived) < MOST_PICTURES

    def left(self, now: float) -> float:
        """Seconds left for measuring."""
        early = self._num_early()
        known = len(self._arrived) - early
        since = self._arrived[min(early, len(self._arrived) - 1)]
        return since + (MEASURED_SECONDS if known >= LEAST_PICTURES else MOST_SECONDS) - now

    def settle(self, live: bool) -> tuple[list[int], Fraction] | None:
        """Return the times of the added images, and the rate; None if they came as from a file: all at once or, if
        `live`, faster than at the announced rate."""
        early = self._num_early()
        if early == len(self._arrived) and live and not self._hurried():
            early = 0  # this machine is slower than the sender
        known = self._arrived[early:]
        if len(known) < (1 if live else 2):
            return None
        steps = [after - before for before, after in pairwise(known)]
        step = median(steps) if steps else float(1 / self._announced)
        if step * self._most_rate() < 1:
            return None
        times = [known[0] - (early - n) * step for n in range(early)] + known
        self._began = times[0]
        return [self.ticks(time) for time in times], Fraction(1 / step).limit_denominator(100)

    def _num_early(self) -> int:
        """The place that separates images that came at once from those that were waited for, with the fewest exceptions
        on either side."""
        awaited, places = self._was_awaited, range(len(self._was_awaited) + 1)
        exceptions = [sum(awaited[:n]) - sum(awaited[n:]) - n for n in places]
        return exceptions.index(min(exceptions))

    def _hurried(self) -> bool:
        """True if they came faster than at the announced rate."""
        return (self._arrived[-1] - self._arrived[0]) * self._announced < len(self._arrived) - 1

    def _most_rate(self) -> Fraction | int:
        """Images per second that no camera sends; FALLBACK_RATE is also what FFmpeg assumes without a header."""
        return MOST_RATE if self._announced == FALLBACK_RATE else min(3 * self._announced, Fraction(MOST_RATE))

    def ticks(self, arrived: float) -> int:
        """Time of a later image; increases by at least a tick."""
        self._last = max(self._last + 1, round((arrived - self._began) / ARRIVAL_TIME_BASE))
        return self._last
