"""What every source has, and how a picture becomes a Frame: its index, its time, its segment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from types import TracebackType
from typing import Protocol, Self

import av
from av import VideoFrame

from streamparts.data import Frame, Gap

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
    """Makes Frames of pictures in display order: counts them, continues bad times, begins segments."""

    def __init__(self, time_base: Fraction, rate: Fraction | None) -> None:
        self.time_base = time_base
        self.repaired_times = 0
        self.index = 0
        self._step = max(1, round(1 / (rate or FALLBACK_RATE) / time_base))
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

    def frame(
        self, image: VideoFrame, pts: int | None, decoded_at: float | None = None, damaged: bool = False
    ) -> Frame:
        """The next Frame. `pts` in ticks of the time base, None where the source states none."""
        size_wh = (image.width, image.height)
        if self._size_wh not in (None, size_wh) or self._starts_again(pts):
            self._begin_segment()
        pts = self._continued(pts)
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

    def _begin_segment(self) -> None:
        self._segment += 1
        self._size_wh = None

    def _starts_again(self, pts: int | None) -> bool:
        back = 0 if pts is None or self._previous is None else self._previous - pts
        return self._size_wh is not None and back * self.time_base > RESTART_SECONDS

    def _continued(self, pts: int | None) -> int:
        """`pts`, or where it is missing or does not increase, the time one average frame after the last."""
        if pts is not None and (self._size_wh is None or self._previous is None or pts > self._previous):
            return pts
        self.repaired_times += 1
        return 0 if self._previous is None else self._previous + self._step


def quarter_turns(image: VideoFrame) -> int:
    """Degrees counter-clockwise, to the nearest quarter turn, by which to turn the stored picture for display."""
    return round(image.rotation / 90) * 90 % 360


def reason_of(error: BaseException) -> str:
    """The error's own words in one line, without the address."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())
