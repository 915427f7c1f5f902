"""A video written to our standard input by another program."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain

import av
from av import VideoFrame
from av.container import InputContainer

from streamparts.data import Frame
from streamparts.errors import VideoError
from streamparts.sources.base import BROKEN, MAX_PIXELS, FrameTimes, reason_of
from streamparts.sources.clock import Clock
from streamparts.sources.container import FEW_EXAMINED
from streamparts.sources.files import FileSource
from streamparts.sources.raw_bytes import ByteFile
from streamparts.sources.timed import TimedImage

POLL_SECONDS = 0.25


class PipeSource(FileSource):
    """Standard input: any container that FFmpeg can read without seeking. It waits for the writer without limit;
    closing it, from any thread, ends the wait."""

    def __init__(
        self, descriptor: int | None = None, rate: Fraction | None = None, max_pixels: int = MAX_PIXELS
    ) -> None:
        """Raises VideoError. `descriptor` None is standard input. Streams without timestamps (raw H.264, MJPEG) get
        arrival times, or count at `rate` frames per second. Images above `max_pixels` are not decoded."""
        if descriptor is None:
            if sys.stdin is None or sys.stdin.isatty():
                raise VideoError("-: standard input is a terminal; pipe a video into it, or name a file")
            descriptor = sys.stdin.fileno()
        self._pipe = _Pipe(descriptor)
        super().__init__("stdin", rate=rate, max_pixels=max_pixels)
        if self._counted:
            self._clock = Clock(self.time_base, self.rate, False, rate)
            self._early = self._clock.begin(self._timed(self._first[0]), self._more)
            self.rate, self.time_base, self.notes = self._clock.rate, self._clock.time_base, self._clock.notes
            self.description = self._describe()
            self._timeline = FrameTimes(self.time_base, self.rate)

    def _timed(self, image: VideoFrame) -> TimedImage:
        return TimedImage(image, None, time.perf_counter(), self._waited, self._is_damaged(image))

    def _more(self, seconds: float) -> TimedImage | None:
        try:
            return self._timed(next(self._images)) if seconds > 0 else None
        except (StopIteration, VideoError):
            return None

    def _frames(self, images: Iterator[VideoFrame]) -> Iterator[Frame]:
        if not self._counted:
            return super()._frames(images)
        early, self._early = self._early, []
        late = (self._arrived(image) for image in self._images)
        return (self._timeline.frame(*timed[:3], (), timed.damaged) for timed in chain(early, late))

    def _arrived(self, image: VideoFrame) -> TimedImage:
        now = time.perf_counter()
        return TimedImage(image, self._clock.ticks(None, now), now, damaged=self._is_damaged(image))

    def close(self) -> None:
        """The container is freed with its last reference, because the reading thread may still use it."""
        self._pipe.closed = True

    def _open(self) -> InputContainer:
        options = FEW_EXAMINED | {"max_pixels": str(self._max_pixels)}
        try:
            return av.open(self._pipe, mode="r", format=self._pipe.kind(), options=options)
        except BROKEN as error:
            reason = reason_of(error)
            raise VideoError(f"stdin: the data is not a video that can be read from a pipe ({reason})") from error

    def _seekable_path(self) -> None:
        return None


class _Pipe(ByteFile):
    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.closed = False

    def _next(self, size: int) -> bytes:
        while not self.closed:
            if self._ready():
                return os.read(self._descriptor, size)
        return b""

    def _ready(self) -> bool:
        if sys.platform == "win32":
            return True  # on Windows, select supports only sockets
        return bool(select.select([self._descriptor], [], [], POLL_SECONDS)[0])
