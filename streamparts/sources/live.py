"""Sources that may be lost: network streams, cameras, the screen. They are reopened, and report the gap."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction

from av.container import InputContainer

from streamparts.data import Frame, Gap
from streamparts.errors import VideoError
from streamparts.sources.base import FALLBACK_RATE, MAX_PIXELS, Closing, FrameTimes, quarter_turns
from streamparts.sources.clock import Clock
from streamparts.sources.reader import ENDED, SILENT, Announced, Lost, Picture, Reader
from streamparts.sources.timed import TimedImage, timed_frames

IDLE_SECONDS = 5.0
"""A live source is lost after this many seconds without a frame."""
CONNECT_SECONDS = 10.0
"""Maximum time from the connection attempt to the first image."""
GRACE_SECONDS = 0.5
"""Time for an input that ends after `idle_seconds` to return the frames held back by its decoder."""
FIRST_DELAY, LAST_DELAY = 0.5, 10.0
"""Seconds between reconnection attempts: doubled each time."""
SLACK_SECONDS = 1.0
"""A file may end this much earlier than its announced length."""
MOST_ABANDONED = 4
"""Maximum number of hanging threads of earlier connections before reconnection stops."""
CLOSE_SECONDS = 1.0
"""Time that `close` waits for the reading thread before it is left to its timeout."""


class LiveSource(Closing):
    """Frames sent by another machine or a device. Any thread may close it; its iteration then ends within 2 s.

    When it is lost (an error, the end of the stream, no frame for `idle_seconds`), it is reopened until it works, and
    the first frame then has the next `segment` and a `gap`. An input with a length (a file on a web server) ends at its
    end, and is not live; if it is lost before that, VideoError is raised.
    """

    def __init__(
        self,
        open_container: Callable[[], InputContainer],
        name: str,
        *,
        hint: Callable[[Lost], str] = lambda lost: "",
        idle_seconds: float = IDLE_SECONDS,
        connect_seconds: float = CONNECT_SECONDS,
        max_retries: int | None = None,
        paced: bool = False,
        always_live: bool = True,
        frame_rate: Fraction | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        """Connect. Raises VideoError if no image arrives within `connect_seconds`.

        `open_container` is called in a thread, once per attempt; it should give PyAV timeouts no longer than the two
        here. `name` and the text that `hint` adds to the error of the first attempt must not contain credentials.
        `max_retries` failed attempts in a row end the source with an error; None never does. `always_live` False checks
        whether the input announces a length. Live streams without timestamps (raw H.264, MJPEG) get arrival times, or
        count at `frame_rate` frames per second; VideoError is raised for a rate if there are timestamps. Images above
        `max_pixels` are an error.
        """
        if idle_seconds <= 0 or connect_seconds <= 0:
            raise ValueError(f"idle_seconds and connect_seconds must be positive: {idle_seconds}, {connect_seconds}")
        self.name = name
        self._open_container = open_container
        self._idle_seconds = idle_seconds
        self._connect_seconds = connect_seconds
        self._max_retries = max_retries
        self._paced, self._max_pixels = paced, max_pixels
        self._iterated = False
        self._closed = threading.Event()
        self._errors_before = self._lost_before = 0
        self._abandoned: list[Reader] = []
        self._reader = self._connect()
        announced, first = self._first_picture(hint)
        self._announced = announced
        self.live = always_live or not announced.finite
        self._clock = self._clock_for(announced, frame_rate)
        self._early = deque(self._clock.begin(self._timed(first), self._more))
        self.time_base, self.rate, self.notes = self._clock.time_base, self._clock.rate, self._clock.notes
        self.num_frames = None if self.live else announced.num_frames
        width, height = first.image.width, first.image.height
        self.rotation = quarter_turns(first.image)
        self.pixel_aspect = announced.pixel_aspect if self.rotation % 180 == 0 else 1 / announced.pixel_aspect
        self.width, self.height = (width, height) if self.rotation % 180 == 0 else (height, width)
        rate = f"{float(self.rate):.4g} fps" if self.rate else "unknown rate"
        self.description = f"{self.width}x{self.height} {announced.codec}, {rate}" + (", live" if self.live else "")
        self._timeline = FrameTimes(self.time_base, self.rate)

    def _clock_for(self, announced: Announced, frame_rate: Fraction | None) -> Clock:
        try:
            return Clock(announced.time_base, announced.rate, announced.states_times, frame_rate, self.live)
        except VideoError as error:
            self._reader.cancel()
            raise VideoError(f"{self.name}: {error}") from None

    def _timed(self, picture: Picture) -> TimedImage:
        """With its time in ticks of this source's time base."""
        announced, pts = self._reader.announced, picture.pts
        if announced is not None and pts is not None and self._clock.is_senders:
            pts = round(pts * announced.time_base / self._clock.time_base)
        ticks = self._clock.ticks(pts, picture.decoded_at)
        return TimedImage(picture.image, ticks, picture.decoded_at, picture.waited, picture.damaged)

    def _more(self, seconds: float) -> TimedImage | None:
        """The next image, if it arrives in time."""
        try:
            picture = self._reader.take(seconds)
        except Lost:
            return None  # raised again, after the images before it
        return None if picture is None else self._timed(picture)

    @property
    def decode_errors(self) -> int:
        now = 0 if self._reader in self._abandoned else self._reader.decode_errors
        return self._errors_before + now

    @property
    def packets_lost(self) -> int:
        """Packets known to be lost on the way so far."""
        now = 0 if self._reader in self._abandoned else self._reader.packets_lost
        return self._lost_before + now

    @property
    def repaired_times(self) -> int:
        return self._timeline.repaired_times

    def close(self) -> None:
        self._closed.set()
        self._reader.cancel(CLOSE_SECONDS)

    def __iter__(self) -> Iterator[Frame]:
        """Raises ValueError the second time, VideoError if the source is lost for good."""
        if self._iterated:
            raise ValueError(f"{self.name} was already read; open it again to read it again")
        self._iterated = True
        return self._film() if not self.live and self._clock.is_senders else self._frames()

    def _film(self) -> Iterator[Frame]:
        """An input with a length can wait for the times of the following frames."""
        yield from timed_frames(self._film_pictures(), self._timeline)
        if not self._closed.is_set():
            self._check_complete()

    def _film_pictures(self) -> Iterator[TimedImage]:
        timed: TimedImage | None = self._early.popleft()
        while timed is not None and not self._closed.is_set():
            yield timed
            timed = None  # otherwise this generator would keep it alive while it waits
            try:
                timed = self._next_timed(time.perf_counter())
            except Lost as lost:
                if str(lost) == ENDED:
                    return
                raise self._lost_error(lost) from None

    def _lost_error(self, lost: Lost) -> VideoError:
        hint = "; --idle allows more time" if lost.cause is TimeoutError else ""
        return VideoError(f"{self.name}: was lost: {lost}{hint}")

    def _frames(self) -> Iterator[Frame]:
        timed: TimedImage | None = self._with_time(self._early.popleft())
        ahead = None if self._clock.is_senders else ()  # the following times are unknown; estimated ones are in order
        while timed is not None and not self._closed.is_set():
            taken_at, decoded_at = time.perf_counter(), timed.decoded_at
            yield self._timeline.frame(timed.image, timed.pts, decoded_at, ahead, timed.damaged)
            timed = None  # otherwise this generator would keep it alive while it waits
            try:
                timed = self._early.popleft() if self._early else self._next_timed(taken_at)
            except Lost as lost:
                reason = str(lost)
                if not self.live and reason == ENDED:
                    self._check_complete()
                    return
                if not self.live:
                    raise self._lost_error(lost) from None
                heard_at = min(decoded_at or taken_at, self._reader.heard_at)
                picture = self._reconnected(reason)
                if picture is not None:
                    self._timeline.note_break(Gap(reason, picture.decoded_at - heard_at))
                    timed = self._with_time(self._timed(picture))

    def _with_time(self, first: TimedImage) -> TimedImage:
        """The first image of a connection; if it has no time, as with RTSP, it is placed one frame interval before the
        next."""
        if first.pts is not None or not self._clock.is_senders:
            return first
        if not self._early and (second := self._more(self._idle_seconds)) is not None:
            self._early.append(second)
        pts = self._early[0].pts if self._early else None
        if pts is None:
            return first
        self._timeline.repaired_times += 1
        announced = self._reader.announced
        rate = (announced and announced.rate) or self.rate or FALLBACK_RATE
        return first._replace(pts=pts - max(1, round(1 / rate / self.time_base)))

    def _next_timed(self, taken_at: float) -> TimedImage | None:
        picture = self._next_picture(taken_at)
        return None if picture is None else self._timed(picture)

    def _check_complete(self) -> None:
        """Most of FFmpeg's readers take a broken connection for the end of the file."""
        wanted = None if self._announced.seconds is None else self._announced.seconds - SLACK_SECONDS
        if wanted is not None and self._timeline.seconds < wanted:
            got, whole = self._timeline.seconds, self._announced.seconds
            raise VideoError(f"{self.name}: was lost: it ended after {got:.1f} s of {whole:.1f} s")

    def _next_picture(self, taken_at: float) -> Picture | None:
        """The image after the one taken at `taken_at`; None when closed. Raises Lost."""
        silence = f"no frame for {self._idle_seconds:g} s"
        try:
            picture = self._reader.take(taken_at + self._idle_seconds + GRACE_SECONDS - time.perf_counter())
        except Lost as lost:
            # FFmpeg's RTSP reports its own timeout as the end of the stream.
            waited = lost.at - self._reader.heard_at > 0.9 * self._idle_seconds
            if str(lost) == SILENT or (str(lost) == ENDED and waited):
                raise Lost(silence, TimeoutError) from None
            raise
        if picture is None and not self._closed.is_set():
            raise Lost(silence, TimeoutError)
        return picture

    def _reconnected(self, reason: str) -> Picture | None:
        """The first image after a reconnection; None when closed. Raises VideoError after `max_retries`."""
        retries, delay = 0, FIRST_DELAY
        while not self._closed.wait(delay):
            if retries == self._max_retries:
                raise VideoError(f"{self.name}: lost ({reason}); failed reconnection attempts: {retries}")
            retries, delay = retries + 1, min(2 * delay, LAST_DELAY)
            if not self._may_connect():
                continue
            self._reader = self._connect()
            if self._closed.is_set():  # while connecting: the old reader was cancelled instead of this one
                self._reader.cancel()
            try:
                picture = self._reader.take(self._connect_seconds)
            except Lost:
                continue
            if picture is not None:
                return picture
        return None

    def _may_connect(self) -> bool:
        """Release the old reader. Returns False while too many readers are blocked by a driver."""
        if self._reader not in self._abandoned:
            self._errors_before += self._reader.decode_errors
            self._lost_before += self._reader.packets_lost
            self._reader.cancel()
            self._abandoned.append(self._reader)
        self._abandoned = [reader for reader in self._abandoned if reader.is_alive or reader is self._reader]
        return len(self._abandoned) <= MOST_ABANDONED

    def _connect(self) -> Reader:
        return Reader(self._open_container, self.name, self._paced, self._idle_seconds, self._max_pixels)

    def _first_picture(self, hint: Callable[[Lost], str]) -> tuple[Announced, Picture]:
        try:
            picture = self._reader.take(self._connect_seconds)
            lost = Lost(f"no frame arrived within {self._connect_seconds:g} s", TimeoutError)
        except Lost as error:
            picture, lost = None, error.again()
        if picture is None or self._reader.announced is None:
            self._reader.cancel()
            raise VideoError("; ".join(filter(None, [f"{self.name}: cannot be opened: {lost}", hint(lost)])))
        return self._reader.announced, picture
