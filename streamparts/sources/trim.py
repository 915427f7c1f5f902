"""Restricts a source: a time range, every n-th frame, or undamaged frames only."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol, runtime_checkable

from streamparts.data import Frame, Gap
from streamparts.errors import VideoError
from streamparts.sources.base import Closing, OpenedSource, Source, details
from streamparts.sources.container import ticks_at
from streamparts.sources.thinning import Thinning


@runtime_checkable
class Startable(Protocol):
    """A source that can start later than at its beginning."""

    def start_at(self, seconds: float) -> None:
        """Begin with the first frame at or after `seconds`; raises VideoError without one."""


@runtime_checkable
class Thinnable(Protocol):
    """A source that need not decode every frame."""

    @property
    def thinning(self) -> Thinning:
        """Which frames are decoded."""


def trimmed(source: Source, start: float | None = None, end: float | None = None, every: int = 1) -> OpenedSource:
    """Return every `every`-th frame of `source`, which must not be iterated yet, from `start` to, but excluding, `end`.

    Both are seconds of the source's own time, the frames' `pts_seconds`; `index` remains the frame's position in the
    video. A live source has no beginning: `start` is refused with VideoError, and `end` counts seconds of its clock
    from the first frame. Closing the result closes `source`. Raises ValueError for invalid times and steps, VideoError
    if the video has no frame from `start` on.
    """
    if (start is not None and start < 0) or (end is not None and end <= max(0, start or 0)) or every < 1:
        raise ValueError(f"start {start}, end {end}, every {every}: give 0 <= start < end and every >= 1")
    if start is not None and source.live:
        raise VideoError(f"{source.name}: is live and cannot start at {start:g} s; leave --start out")
    return _Trimmed(source, start, end, every)


def without_damaged(source: Source) -> OpenedSource:
    """Return `source`, which must not be iterated yet, without `damaged` frames. `dropped` of the next frame counts
    them. Closing the result closes `source`."""
    return _Undamaged(source)


def parse_seconds(text: str) -> float:
    """Parse "90", "1:30" or "0:01:30.5" as seconds. Raises ValueError."""
    pieces = text.split(":")
    numbers = [float(piece) for piece in pieces]
    sound = len(pieces) <= 3 and all(0 <= number < 60 for number in numbers[1:]) and 0 <= numbers[0] < 1e9
    if not sound or any(not number.is_integer() for number in numbers[:-1]):
        raise ValueError(f"{text!r} is not a time; write seconds, mm:ss or hh:mm:ss")
    seconds = 0.0
    for number in numbers:
        seconds = 60 * seconds + number
    return seconds


class _Wrapped(Closing):
    """Passes on all properties of a source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name = source.name
        self.height, self.width = source.height, source.width
        self.time_base = source.time_base
        self.live = source.live
        known = details(source)
        self.path, self.pixel_aspect, self.notes = known.path, known.pixel_aspect, known.notes
        self.start_seconds = known.start_seconds

    @property
    def decode_errors(self) -> int:
        return self._source.decode_errors

    @property
    def packets_lost(self) -> int:
        """Packets known to be lost so far."""
        return details(self._source).packets_lost

    @property
    def repaired_times(self) -> int:
        return self._source.repaired_times

    def close(self) -> None:
        self._source.close()


class _Trimmed(_Wrapped):
    def __init__(self, source: Source, start: float | None, end: float | None, every: int) -> None:
        self._start, self._end, self._every = start, end, every
        if start and isinstance(source, Startable):
            source.start_at(start)
        elif isinstance(source, Thinnable):
            source.thinning.every = every
        super().__init__(source)
        self.start_seconds = start
        self.rate = source.rate / every if source.rate else None
        self.num_frames = self._estimate()
        self.description = ", ".join([source.description, *self._notes()])

    def _notes(self) -> Iterator[str]:
        if self._start:
            yield f"from {self._start:g} s"
        if self._end is not None:
            yield f"to {self._end:g} s"
        if self._every > 1:
            yield f"one frame in {self._every}"

    def _estimate(self) -> int | None:
        """Estimate for progress bars, as if the video started at 0."""
        total, rate = self._source.num_frames, self._source.rate
        if rate and self._end is not None:
            last = round(self._end * rate)
            total = min(total, last) if total is not None else last
        if total is None:
            return None
        skipped = round((self._start or 0) * rate) if rate else 0
        return max(1, -(-(total - skipped) // self._every))

    def __iter__(self) -> Iterator[Frame]:
        count = itertools.count()
        return _chosen(self._between(iter(self._source)), lambda frame: next(count) % self._every == 0)

    def _between(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        first: float | None = None
        for frame in frames:
            first = frame.decoded_at if first is None else first
            if self._start is not None and frame.pts < ticks_at(self._start, frame.time_base):
                continue
            if self._end is not None and self._is_over(frame, first, self._end):
                return
            yield frame
            del frame

    def _is_over(self, frame: Frame, first: float, end: float) -> bool:
        if self.live:
            return frame.decoded_at - first >= end
        return frame.pts >= ticks_at(end, frame.time_base)


class _Undamaged(_Wrapped):
    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.rate, self.num_frames = source.rate, source.num_frames
        self.description = f"{source.description}, without damaged frames"
        self.damaged_left_out = 0

    def __iter__(self) -> Iterator[Frame]:
        gap: Gap | None = None
        dropped = 0
        for frame in self._source:
            gap, dropped = frame.gap or gap, dropped + frame.dropped
            if frame.damaged:
                self.damaged_left_out, dropped = self.damaged_left_out + 1, dropped + 1
            else:
                yield replace(frame, gap=gap, dropped=dropped) if gap or dropped else frame
                gap, dropped = None, 0
            del frame


def _chosen(frames: Iterator[Frame], wanted: Callable[[Frame], bool]) -> Iterator[Frame]:
    """Yield the selected frames; drops and gaps before skipped ones are reported with the next."""
    gap: Gap | None = None
    for frame in frames:
        gap = frame.gap or gap
        if wanted(frame):
            yield replace(frame, gap=gap) if gap is not frame.gap else frame
            gap = None
        del frame
