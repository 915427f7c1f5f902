"""Sources that may break off: network streams, cameras, the screen. Lost ones are opened again, and say so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

from av.container import InputContainer

from streamparts.data import Frame, Gap
from streamparts.errors import VideoError
from streamparts.sources.base import FALLBACK_RATE, MAX_PIXELS, Closing, Timeline, quarter_turns
from streamparts.sources.reader import ENDED, SILENT, Announced, Lost, Picture, Reader

IDLE_SECONDS = 5.0
"""Without a frame for so long, a live source counts as lost."""
CONNECT_SECONDS = 10.0
"""From the attempt to connect to the first picture, at most."""
GRACE_SECONDS = 0.5
"""An input that gives up by itself after `idle_seconds` has so long to hand over what its decoder held back."""
FIRST_DELAY, LAST_DELAY = 0.5, 10.0
"""Seconds between attempts to reconnect: doubled each time."""
SLACK_SECONDS = 1.0
"""By so much a film may be shorter than it says."""
MOST_ABANDONED = 4
"""Threads of former connections that may still hang before no new connection is tried."""
CLOSE_SECONDS = 1.0
"""What `close` waits for the reading thread before it is left to its own timeout."""


class LiveSource(Closing):
    """What another machine or a device sends. Any thread may close it; its iteration then ends within 2 s.

    When it breaks off (an error, the end of the stream, no frame for `idle_seconds`), it is opened again until it is
    back, and the first frame after that has the next `segment` and a `gap`. What has a length (a film on a web server)
    ends where it ends, and is not live; should it break off before that, VideoError is raised.
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
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        """Connects. Raises VideoError if no picture comes within `connect_seconds`.

        `open_container` is called in a thread, once per attempt; it should give PyAV timeouts no longer than the two
        here. `name` and what `hint` adds to the error of the first attempt must be free of credentials. `max_retries`
        attempts without success, one after another, end the source with an error; None never does. `always_live`
        False looks whether the input announces a length. Pictures of more than `max_pixels` are an error.
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
        self.time_base = announced.time_base
        self.rate = announced.rate
        self.num_frames = None if self.live else announced.num_frames
        width, height = first.image.width, first.image.height
        self.rotation = quarter_turns(first.image)
        self.width, self.height = (width, height) if self.rotation % 180 == 0 else (height, width)
        rate = f"{float(self.rate):.4g} fps" if self.rate else "unknown rate"
        self.description = f"{self.width}x{self.height} {announced.codec}, {rate}" + (", live" if self.live else "")
        self._first: Picture | None = first
        self._second: Picture | None = None
        self._timeline = Timeline(self.time_base, self.rate)

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
        """Raises ValueError the second time, VideoError when the source is lost for good."""
        if self._iterated:
            raise ValueError(f"{self.name} was read already; open it again to read it again")
        self._iterated = True
        return self._frames()

    def _frames(self) -> Iterator[Frame]:
        picture, self._first = self._with_time(self._first), None
        while picture is not None and not self._closed.is_set():
            taken_at, decoded_at = time.perf_counter(), picture.decoded_at
            yield self._frame(picture)
            picture = None  # else this generator would keep it alive while it waits
            try:
                picture = self._next_picture(taken_at)
            except Lost as lost:
                reason = str(lost)
                if not self.live and reason == ENDED:
                    self._check_complete()
                    return
                if not self.live:
                    hint = "; --idle gives it more time" if lost.cause is TimeoutError else ""
                    raise VideoError(f"{self.name}: broke off: {reason}{hint}") from None
                heard_at = min(decoded_at, self._reader.heard_at)
                picture = self._with_time(self._reconnected(reason))
                if picture is not None:
                    self._timeline.broke_off(Gap(reason, picture.decoded_at - heard_at))

    def _with_time(self, first: Picture | None) -> Picture | None:
        """The first picture of a connection; where it has no time, as RTSP's has not, one frame before the next's."""
        announced = self._reader.announced
        if first is None or first.pts is not None or announced is None:
            return first
        with suppress(Lost):  # it is told when the next picture is taken
            self._second = self._reader.take(self._idle_seconds)
        if self._second is None or self._second.pts is None:
            return first
        self._timeline.repaired_times += 1
        step = round(1 / (announced.rate or FALLBACK_RATE) / announced.time_base)
        return replace(first, pts=self._second.pts - max(1, step))

    def _frame(self, picture: Picture) -> Frame:
        announced = self._reader.announced
        pts = picture.pts
        if pts is not None and announced is not None and announced.time_base != self.time_base:
            pts = round(pts * announced.time_base / self.time_base)
        return self._timeline.frame(picture.image, pts, picture.decoded_at, picture.damaged)

    def _check_complete(self) -> None:
        """Most of FFmpeg's readers take a connection that breaks off for the end of the film."""
        wanted = None if self._announced.seconds is None else self._announced.seconds - SLACK_SECONDS
        if wanted is not None and self._timeline.seconds < wanted:
            got, whole = self._timeline.seconds, self._announced.seconds
            raise VideoError(f"{self.name}: broke off: it ended after {got:.1f} s of {whole:.1f} s")

    def _next_picture(self, taken_at: float) -> Picture | None:
        """The one after that taken at `taken_at`; None when closed. Raises Lost."""
        if self._second is not None:
            second, self._second = self._second, None
            return second
        silent = Lost(f"no frame for {self._idle_seconds:g} s", TimeoutError)
        try:
            picture = self._reader.take(taken_at + self._idle_seconds + GRACE_SECONDS - time.perf_counter())
        except Lost as lost:
            # FFmpeg's RTSP tells its own timeout as the end of the stream.
            waited = lost.at - self._reader.heard_at > 0.9 * self._idle_seconds
            raise silent if str(lost) == SILENT or (str(lost) == ENDED and waited) else lost from None
        if picture is None and not self._closed.is_set():
            raise silent
        return picture

    def _reconnected(self, reason: str) -> Picture | None:
        """The first picture after the source came back; None when closed. Raises VideoError after `max_retries`."""
        retries, delay = 0, FIRST_DELAY
        while not self._closed.wait(delay):
            if retries == self._max_retries:
                raise VideoError(f"{self.name}: lost ({reason}); attempts to reconnect that failed: {retries}")
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
        """Let the old reader go. False while too many of them are held by a driver that does not return."""
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
            lost = Lost(f"no picture came within {self._connect_seconds:g} s", TimeoutError)
        except Lost as error:
            picture, lost = None, error
        if picture is None or self._reader.announced is None:
            self._reader.cancel()
            raise VideoError("; ".join(filter(None, [f"{self.name}: cannot be opened: {lost}", hint(lost)])))
        return self._reader.announced, picture
