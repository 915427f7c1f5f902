"""The interface of sources, and the conversion of an image to a Frame: index, time, segment."""

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
from streamparts.sources.heavy import slim
from streamparts.sources.stamps import WINDOW, Pace, Stamps, is_orderly, mended, needs_more

FALLBACK_RATE = Fraction(25)
"""Frame rate assumed for a source without timestamps and frame rate (raw streams)."""

RESTART_SECONDS = 1.0
"""A time this much earlier than the previous frame's is a new start (a concatenated recording, a restarted sender), not
an error to be repaired."""

MAX_PIXELS = 64_000_000
"""Default limit of an image's pixels: a file of a few bytes can declare any size."""

BROKEN = (av.FFmpegError, OSError, ValueError, MemoryError)
"""PyAV's exceptions for damaged input; ValueError covers undecodable metadata text."""


class Source(Protocol):
    """A source of frames. Iterate it once, in one thread.

    Live sources, and all that wait for data, may be closed from any thread; a file by the thread that opened it.
    """

    @property
    def name(self) -> str:
        """Short name for outputs and messages, without credentials."""

    @property
    def description(self) -> str:
        """A line for the user: codec, size, rate, length."""

    @property
    def height(self) -> int:
        """Displayed height in pixels of the first frame; the others have it too, until the segment changes."""

    @property
    def width(self) -> int:
        """Displayed width in pixels, likewise."""

    @property
    def rate(self) -> Fraction | None:
        """Nominal frame rate; None if unknown. Never used to compute a time that the source states."""

    @property
    def time_base(self) -> Fraction:
        """Seconds per tick of every frame's pts."""

    @property
    def num_frames(self) -> int | None:
        """Estimated number of frames for progress bars; None if unknown."""

    @property
    def live(self) -> bool:
        """True if frames arrive at their own pace."""

    @property
    def decode_errors(self) -> int:
        """Packets that could not be decoded so far."""

    @property
    def repaired_times(self) -> int:
        """Frames so far whose time was missing or not after the previous frame's, and was repaired."""

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Details:
    """Values that only some sources have; these are the defaults for the others."""

    path: Path | None = None
    """The file that is read, if any."""
    pixel_aspect: Fraction = Fraction(1)
    """Displayed width of a pixel relative to its height."""
    start_seconds: float | None = None
    """Start time of a trimmed source in the video; None for its beginning."""
    notes: tuple[str, ...] = ()
    """Lines for the user, such as on estimated times."""
    packets_lost: int = 0
    """Packets known to be lost so far."""
    damaged_left_out: int = 0
    """Damaged frames that the source left out so far."""


def details(source: Source) -> Details:
    """Current details of `source`."""
    told = {field.name: getattr(source, field.name, None) for field in fields(Details)}
    return Details(**{name: value for name, value in told.items() if value is not None})


class OpenedSource(Source, Protocol):
    """A Source that a `with` block closes."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class Closing:
    """Makes a class with `close` a context manager."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


class FrameTimes:
    """Converts images in display order to Frames: counts them, repairs times, starts segments."""

    def __init__(self, time_base: Fraction, rate: Fraction | None) -> None:
        self.time_base = time_base
        self.repaired_times = 0
        self.is_orderly = True
        """True if no timestamp had to be compared with its neighbours."""
        self.index = 0
        self._pace = Pace(max(1, round(1 / (rate or FALLBACK_RATE) / time_base)))
        self._segment = 0
        self._first: int | None = None
        self._previous: int | None = None
        self._size_wh: tuple[int, int] | None = None
        """None if the next frame is the first of its segment."""
        self._rotation = 0
        self._gap: Gap | None = None

    @property
    def seconds(self) -> float:
        """Time from the first frame to the last one."""
        return float(((self._previous or 0) - (self._first or 0)) * self.time_base)

    def note_break(self, gap: Gap | None) -> None:
        """Let the next frame start a new segment, after `gap`."""
        self._begin_segment()
        self._gap = gap

    def needs_more(self, stated: Stamps) -> bool:
        """True if knowing more of the `stated` times from this frame on would improve its time."""
        return not stated or needs_more(self._earlier, stated, self._pace.step)

    def frame(
        self,
        image: VideoFrame,
        pts: int | None,
        decoded_at: float | None = None,
        ahead: Stamps | None = None,
        damaged: bool = False,
    ) -> Frame:
        """Return the next Frame. `pts` is in ticks of the time base, None if the source has none; `ahead` are the times
        of the following frames, as far as `needs_more` requires them; None if they cannot be known."""
        size_wh = (image.width, image.height)
        if self._size_wh not in (None, size_wh) or self._starts_again(pts, ahead):
            self._begin_segment()
        pts = self._repaired(pts, ahead, decoded_at)
        if self._first is None:
            self._first = pts
        if self._size_wh is None:
            self._size_wh, self._rotation = size_wh, quarter_turns(image)
        width, height = size_wh[:: -1 if self._rotation % 180 else 1]
        frame = Frame(
            index=self.index,
            pts=pts,
            time_base=self.time_base,
            image=slim(image),
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
        """Time of the previous frame in the segment."""
        return None if self._size_wh is None else self._previous

    def _begin_segment(self) -> None:
        self._segment += 1
        self._size_wh = None

    def _starts_again(self, pts: int | None, ahead: Stamps | None) -> bool:
        """True for a time far back, unless the following frames continue from the previous one; and for a time slightly
        back that no following frame contradicts."""
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

    def _repaired(self, pts: int | None, ahead: Stamps | None, decoded_at: float | None) -> int:
        """Return `pts`, or a time that fits better between the neighbouring frames."""
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
        """If a stated time is not after the last one, add little, so that the source's clock can catch up. RTSP has no
        time for the first image, and 0 for the second."""
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
    """Degrees counter-clockwise, to the nearest quarter turn, by which the stored image must be rotated for display."""
    return round(image.rotation / 90) * 90 % 360


def reason_of(error: BaseException) -> str:
    """The error's message in one line, without the address."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())
