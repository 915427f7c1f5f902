"""What every source has, and how a picture becomes a Frame: its index, its time, its segment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import av
from av import VideoFrame

from streamparts.data import Frame, Gap
from streamparts.sources.stamps import WINDOW, Pace, Stamps, is_orderly, mended, needs_more

FALLBACK_RATE = Fraction(25)
"""Frames per second that stand in where a source states neither times nor a rate (raw streams)."""

RESTART_SECONDS = 1.0
"""A time this much before the one of the frame before is a new beginning (a recording glued to another, a sender that
started again), not a slip that can be continued over."""

MAX_PIXELS = 64_000_000
"""Of a picture that is read, if not said otherwise: a file of a few bytes may claim any size."""

BROKEN = (av.FFmpegError, OSError, ValueError, MemoryError)
"""What PyAV raises on damaged input; ValueError covers undecodable metadata text."""


class Source(Protocol):
    """Where frames come from. Iterate it once, in one thread.

    Live ones, and all that wait for others, may be closed from any thread; a file by the thread that opened it.
    """

    @property
    def name(self) -> str:
        """Short name for outputs and messages, without credentials."""

    @property
    def description(self) -> str:
        """One line for people: codec, size, rate, length."""

    @property
    def height(self) -> int:
        """Displayed height in pixels of the first frame; the others have it too, until the segment changes."""

    @property
    def width(self) -> int:
        """Displayed width in pixels, likewise."""

    @property
    def rate(self) -> Fraction | None:
        """Average frames per second as announced; None if unknown. Never used to compute a time that is stated."""

    @property
    def time_base(self) -> Fraction:
        """Seconds per tick of every frame's pts."""

    @property
    def num_frames(self) -> int | None:
        """Estimate for progress bars; None if unknown."""

    @property
    def live(self) -> bool:
        """Whether frames come at their own pace, whether or not anybody takes them."""

    @property
    def decode_errors(self) -> int:
        """Packets that could not be decoded so far."""

    @property
    def repaired_times(self) -> int:
        """Frames so far whose time was missing or not after the frame before, and was continued."""

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Details:
    """What only some sources have to tell; of the others, these values hold."""

    path: Path | None = None
    """The file that is read, where it is one."""
    pixel_aspect: Fraction = Fraction(1)
    """How wide a pixel is shown for its height."""
    start_seconds: float | None = None
    """Where in the video a trimmed source begins; None for its beginning."""
    notes: tuple[str, ...] = ()
    """Lines for the user, on guessed times and the like."""
    packets_lost: int = 0
    """Packets known to be lost so far."""
    damaged_left_out: int = 0
    """Damaged frames that the source kept to itself so far."""


def details(source: Source) -> Details:
    """What `source` tells now."""
    told = {field.name: getattr(source, field.name, None) for field in fields(Details)}
    return Details(**{name: value for name, value in told.items() if value is not None})


class OpenedSource(Source, Protocol):
    """A Source that a `with` block closes."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class Closing:
    """Gives a class with `close` its `with` block."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


class Timeline:
    """Makes Frames of pictures in display order: counts them, puts bad times right, begins segments."""

    def __init__(self, time_base: Fraction, rate: Fraction | None) -> None:
        self.time_base = time_base
        self.repaired_times = 0
        self.is_orderly = True
        """Whether no stated time needed its neighbours' to be judged by."""
        self.index = 0
        self._pace = Pace(max(1, round(1 / (rate or FALLBACK_RATE) / time_base)))
        self._segment = 0
        self._first: int | None = None
        self._previous: int | None = None
        self._size_wh: tuple[int, int] | None = None
        """None where the next frame is the first of its segment."""
        self._rotation = 0
        self._gap: Gap | None = None

    @property
    def seconds(self) -> float:
        """From the first frame's time to the last one's."""
        return float(((self._previous or 0) - (self._first or 0)) * self.time_base)

    def broke_off(self, gap: Gap | None) -> None:
        """The next frame begins a new segment, after `gap`."""
        self._begin_segment()
        self._gap = gap

    def needs_more(self, stated: Stamps) -> bool:
        """Whether the time of a frame can be told better if more of the `stated` times from it on are known."""
        return not stated or needs_more(self._earlier, stated, self._pace.step)

    def frame(
        self,
        image: VideoFrame,
        pts: int | None,
        decoded_at: float | None = None,
        ahead: Stamps | None = None,
        damaged: bool = False,
    ) -> Frame:
        """The next Frame. `pts` in ticks of the time base, None where the source states none; `ahead` those of the
        frames after it, as far as `needs_more` wants them; None where nobody can know."""
        size_wh = (image.width, image.height)
        if self._size_wh not in (None, size_wh) or self._starts_again(pts, ahead):
            self._begin_segment()
        pts = self._put_right(pts, ahead, decoded_at)
        if self._first is None:
            self._first = pts
        if self._size_wh is None:
            self._size_wh, self._rotation = size_wh, quarter_turns(image)
        width, height = size_wh[:: -1 if self._rotation % 180 else 1]
        frame = Frame(
            index=self.index,
            pts=pts,
            time_base=self.time_base,
            image=image,
            rotation=self._rotation,
            height=height,
            width=width,
            decoded_at=time.perf_counter() if decoded_at is None else decoded_at,
            segment=self._segment,
            gap=self._gap,
            damaged=damaged,
        )
        self.index, self._previous, self._gap = self.index + 1, pts, None
        return frame

    @property
    def _earlier(self) -> int | None:
        """Time of the frame before in the same segment."""
        return None if self._size_wh is None else self._previous

    def _begin_segment(self) -> None:
        self._segment += 1
        self._size_wh = None

    def _starts_again(self, pts: int | None, ahead: Stamps | None) -> bool:
        """A time far back is a new beginning, unless the frames after it go on from the one before; so is one a
        little back after which nothing does."""
        if pts is None or self._earlier is None or pts > self._earlier:
            return False
        if not ahead:
            return (self._earlier - pts) * self.time_base > RESTART_SECONDS
        stated = (pts, *ahead)
        if mended(self._earlier, stated, self._pace.step) is not None:
            return False
        known = [stamp for stamp in stated if stamp is not None]
        runs_on = len(known) > 2 and all(before < after for before, after in pairwise(known))
        return runs_on or len(stated) == WINDOW or (self._earlier - pts) * self.time_base > RESTART_SECONDS

    def _put_right(self, pts: int | None, ahead: Stamps | None, decoded_at: float | None) -> int:
        """`pts`, or what fits better between the frames around it."""
        found = self._foreseen(pts, ahead) if ahead is not None else self._continued(pts, decoded_at)
        if found != pts:
            self.repaired_times += 1
        elif self._earlier is not None:
            self._pace.note(found - self._earlier)
        return found

    def _foreseen(self, pts: int | None, ahead: Stamps) -> int:
        earlier, stated = self._earlier, (pts, *ahead)
        if pts is not None and is_orderly(earlier, stated, self._pace.step):
            return pts
        self.is_orderly = False
        found = mended(earlier, stated, self._pace.step)
        if found is not None:
            return found
        return 0 if self._previous is None else self._previous + self._pace.step

    def _continued(self, pts: int | None, decoded_at: float | None) -> int:
        """Where a stated time is not after the last one, little is added, so that the stated clock overtakes. RTSP
        states none for the first picture, and 0 for the second."""
        earlier, step = self._earlier, self._pace.step
        if earlier is None:
            return -step if pts is None else pts
        if pts is None:
            return earlier + step
        if pts <= earlier:
            return earlier + max(1, step // 8)
        doubtful = self._pace.is_doubtful(pts - earlier, self.time_base, decoded_at, RESTART_SECONDS)
        return earlier + step if doubtful else pts


def quarter_turns(image: VideoFrame) -> int:
    """Degrees counter-clockwise, to the nearest quarter turn, by which to turn the stored picture for display."""
    return round(image.rotation / 90) * 90 % 360


def reason_of(error: BaseException) -> str:
    """The error's own words in one line, without the address."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())
