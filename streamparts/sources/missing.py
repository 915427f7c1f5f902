"""Finds frames that are missing before a packet, for each codec from its headers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from av.packet import Packet
from av.video.stream import VideoStream

from streamparts.sources.frame_numbers import FrameNumbers
from streamparts.sources.order_hints import OrderHints
from streamparts.sources.vop_times import VopTimes
from streamparts.sources.vp9_pauses import Vp9Pauses


class _Counter(Protocol):
    def jump(self) -> None: ...

    def missing(self, packet: Packet[VideoStream]) -> int: ...


_COUNTERS: dict[str, Callable[[], _Counter | None]] = {
    "h264": FrameNumbers,
    "libdav1d": OrderHints,
    "av1": OrderHints,
    "mpeg4": VopTimes,
    "vp9": Vp9Pauses,
}
"""By FFmpeg's name of the decoder."""


class MissingFrames:
    """Follows one stream's packets, in decoding order. Other codecs have no missing frames here."""

    def __init__(self) -> None:
        self.is_idr = False
        """True if the last packet was an H.264 keyframe that refers to nothing before it."""
        self._counter: _Counter | None = None
        self._codec = ""

    def jump(self) -> None:
        """The next packet does not continue the last one."""
        if self._counter is not None:
            self._counter.jump()

    def missing(self, packet: Packet[VideoStream]) -> int:
        """Number of frames that are missing before the packet, at least."""
        self.is_idr = False
        if not packet.size:
            return 0
        codec = packet.stream.codec_context.name
        if codec != self._codec:
            self._codec, self._counter = codec, _COUNTERS.get(codec, lambda: None)()
        counter = self._counter
        number = 0 if counter is None else counter.missing(packet)
        self.is_idr = isinstance(counter, FrameNumbers) and counter.is_idr
        return number
