"""A thread that opens an input and decodes it, so that no other thread ever waits inside FFmpeg."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction

import av
from av import VideoFrame
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from streamparts.errors import VideoError
from streamparts.sources.base import BROKEN, FALLBACK_RATE, MAX_PIXELS, reason_of
from streamparts.sources.container import (
    announced_rate,
    counted_before,
    displayed_aspect,
    estimate_num_frames,
    video_stream,
)
from streamparts.sources.damage import DamageWatch
from streamparts.sources.pieces import WholeKeyframes
from streamparts.sources.rational import exact
from streamparts.sources.redact import redact
from streamparts.sources.residues import without_copies
from streamparts.sources.timed import states_times
from streamparts.threads import DaemonThread

ENDED = "the stream ended"
"""Reason for a loss if the sender closed the connection, or reached its end."""
SILENT = "no data arrived"
"""Reason for a loss if the sender sent nothing until the container's timeout."""


class Lost(Exception):
    """The input ended or was lost; the text gives the reason, without credentials."""

    def __init__(self, reason: str, cause: type[BaseException] | None = None) -> None:
        super().__init__(reason)
        self.cause = cause
        self.at = time.perf_counter()
        """Time of detection."""

    def again(self) -> Lost:
        """Return a copy without a traceback, with which its owner would refer to itself, and stay in memory until the
        garbage collector comes."""
        copied = Lost(str(self), self.cause)
        copied.at = self.at
        return copied


@dataclass(frozen=True, slots=True)
class Announced:
    """Properties that the input announces before the first image."""

    codec: str
    time_base: Fraction
    rate: Fraction | None
    num_frames: int | None
    finite: bool
    """True if it has a length: a recording, not a live stream."""
    seconds: float | None
    """Length of the video, if stated."""
    pixel_aspect: Fraction = Fraction(1)
    """Displayed width of a pixel relative to its height, before rotation."""
    states_times: bool = True
    """True if the images' times are the sender's; otherwise FFmpeg invented them."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded image."""

    image: VideoFrame
    pts: int | None
    """Time in ticks of the announced time base."""
    decoded_at: float
    """`time.perf_counter()` when it left the decoder."""
    waited: float = 0.0
    """Seconds waited for its data."""
    damaged: bool = False
    """True if part of it was lost in transit."""


class Reader:
    """Decodes one image ahead. `take` it from one thread; `cancel` from any.

    A cancelled thread ends when FFmpeg returns, at the latest after the container's read timeout; it is not waited for.
    """

    def __init__(
        self,
        open_container: Callable[[], InputContainer],
        name: str,
        paced: bool = False,
        idle_seconds: float = math.inf,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        """`open_container` is called in the thread; its container waits `idle_seconds` for data. `paced` is for live
        streams that arrive in bursts (HLS): images are decoded when due by their times."""
        self.announced: Announced | None = None
        """Set before the first image."""
        self.decode_errors = 0
        self._open_container = open_container
        self._name = name
        self._paced, self._max_pixels = paced, max_pixels
        self._pacer = _Pacer()
        self._waited = 0.0
        self._watch = DamageWatch(max_pixels, idle_seconds)
        self._changed = threading.Condition()
        self._picture: Picture | None = None
        self._lost: Lost | None = None
        self._cancelled = False
        self._thread = DaemonThread("reader", self._work)

    def take(self, seconds: float) -> Picture | None:
        """Return the next image, or None if none arrives within `seconds` or the reader was cancelled. Raises Lost
        after all images before the loss."""
        with self._changed:
            self._changed.wait_for(lambda: self._picture or self._lost or self._cancelled, max(0.0, seconds))
            picture, self._picture = self._picture, None
            self._changed.notify_all()
            if picture is None and self._lost is not None and not self._cancelled:
                raise self._lost.again()
            return None if self._cancelled else picture

    def cancel(self, patience: float = 0.0) -> None:
        """Let the thread end, and wait up to `patience` seconds for it."""
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()
        self._thread.ends(patience)

    @property
    def heard_at(self) -> float:
        """Time at which data last arrived."""
        return self._watch.heard_at

    @property
    def packets_lost(self) -> int:
        """Packets known to be lost so far."""
        return self._watch.packets_lost

    @property
    def is_alive(self) -> bool:
        """True if the thread is still running, or blocked by FFmpeg or a driver."""
        return self._thread.is_alive()

    def _put(self, picture: Picture) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._picture is None or self._cancelled)
            self._picture = picture
            self._changed.notify_all()
            return not self._cancelled

    def _finish(self, lost: Lost) -> None:
        with self._changed:
            self._lost = lost.again()
            self._changed.notify_all()

    def _work(self) -> None:
        try:
            with self._watch.opening():
                container = self._open_container()
        except BaseException as error:
            self._finish(_lost(error))
        else:
            self._read(container)

    def _read(self, container: InputContainer) -> None:
        try:
            if not container.streams.video:
                raise Lost("there is no video in the data", VideoError)
            stream = video_stream(container, self._name, self._max_pixels)
            self.announced = _announced(container, stream, self._paced)
            try:
                packets = WholeKeyframes(lambda: self._next_packet(container, stream), self._watch)
                while not self._cancelled and self._decode(packets.next(), stream):
                    pass
            except BROKEN:
                self._drain(stream)
                raise
        except BaseException as error:
            self._finish(_lost(error))
        else:
            self._finish(Lost(ENDED))
        finally:
            container.close()

    def _next_packet(self, container: InputContainer, stream: VideoStream) -> Packet[VideoStream] | None:
        asked = time.perf_counter()
        while True:
            try:
                with self._watch.reading():
                    packet = next(container.demux(stream), None)
                self._waited = time.perf_counter() - asked
                return packet
            except av.BlockingIOError:  # some cameras: no data yet
                time.sleep(0.005)

    def _decode(self, packet: Packet[VideoStream] | None, stream: VideoStream) -> bool:
        """Returns False at the end, or if cancelled."""
        if packet is None or packet.size == 0:
            self._drain(stream)
            return False
        has_ended = self._watch.has_ended
        if self._paced and self.announced and not self.announced.finite:
            self._pacer.wait(packet, lambda: self._cancelled)
        try:
            with self._watch.decoding(packet):
                images = self._watch.images(packet, packet.decode)
        except BROKEN:
            if self._watch.too_large:
                raise VideoError(self._watch.too_large) from None
            self.decode_errors += 1
            images = []
        if has_ended:
            self._put_all(images, came_late=True)
            self._drain(stream)
            if self._watch.fell_silent:
                raise Lost(SILENT, TimeoutError)
            return False
        return self._put_all(images)

    def _drain(self, stream: VideoStream) -> None:
        """Frames held back by the decoder are from before the end."""
        with suppress(*BROKEN):
            self._put_all(without_copies(stream.codec_context.decode(None)), came_late=True)

    def _put_all(self, images: Sequence[VideoFrame], came_late: bool = False) -> bool:
        return all(self._put(self._stamped(image, came_late)) for image in images)

    def _stamped(self, image: VideoFrame, came_late: bool) -> Picture:
        """Frames flushed at the end count as decoded when their data arrived."""
        stamp = self._watch.stamp_of(image)
        decoded_at = stamp.heard_at if came_late else time.perf_counter()
        return Picture(image, image.pts, decoded_at, self._waited, stamp.damaged)


class _Pacer:
    """Delays packets until they are due, counted from the first."""

    def __init__(self) -> None:
        self._start: float | None = None

    def wait(self, packet: Packet[VideoStream], cancelled: Callable[[], bool]) -> None:
        if packet.dts is None or packet.time_base is None:
            return
        at = float(packet.dts * packet.time_base)
        now = time.monotonic()
        if self._start is None or not -10 < self._start + at - now < 60:  # or the times have restarted
            self._start = now - at
        while (left := self._start + at - time.monotonic()) > 0 and not cancelled():
            time.sleep(min(left, 0.1))


def _announced(container: InputContainer, stream: VideoStream, in_pieces: bool) -> Announced:
    """For an input that comes `in_pieces`, the size is that of the playlist."""
    timed = states_times(container)
    rate = announced_rate(stream, not timed)
    return Announced(
        codec=stream.codec_context.name,
        time_base=exact(stream.time_base) or 1 / FALLBACK_RATE,
        rate=rate,
        num_frames=estimate_num_frames(stream, container, rate),
        finite=bool(container.duration) or ((container.size or 0) > 0 and not in_pieces),  # None since PyAV 19
        seconds=_stated_seconds(stream, counted_before(container) / av.time_base),
        pixel_aspect=displayed_aspect(stream, 0),
        states_times=timed,
    )


def _stated_seconds(stream: VideoStream, before: float) -> float | None:
    """Matroska stores it in a tag, including the seconds `before` the first frame."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    match = re.match(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    return 3600 * int(match[1]) + 60 * int(match[2]) + float(match[3]) - before if match else None


def _lost(error: BaseException) -> Lost:
    if isinstance(error, Lost):
        return error
    if isinstance(error, VideoError):
        return Lost(redact(str(error)), type(error))
    if isinstance(error, av.ExitError | TimeoutError):  # PyAV's own read timeout is an ExitError
        return Lost(SILENT, TimeoutError)
    return Lost(redact(reason_of(error)).lower(), type(error))
