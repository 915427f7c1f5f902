"""Keeps what FFmpeg's H.264 decoder leaves of a damaged block out of intact images.

If it finds an error in a macroblock, the coefficients that it has read so far stay in its memory, also after a flush,
and are added to the next block that has coefficients: a few pixels of an intact image become wrong without a message.
Decoding the next keyframe twice clears them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress

from av import VideoFrame
from av.packet import Packet
from av.video.stream import VideoStream

from streamparts.sources.base import BROKEN
from streamparts.sources.ffmpeg_log import Message

_ERROR = re.compile(r"error while decoding", re.IGNORECASE)
_COPY_PTS = -(1 << 62)
"""Time of images that are not used."""


class Residues:
    """Follows the decoder of one stream."""

    def __init__(self) -> None:
        self._may_remain = False

    def note(self, said: Iterable[Message]) -> None:
        """Receive what the decoder said about a packet."""
        self._may_remain |= any(_ERROR.search(text) for _, _, text in said)

    def images(
        self, packet: Packet[VideoStream], is_idr: bool, decode: Callable[[], list[VideoFrame]]
    ) -> list[VideoFrame]:
        """`decode` the packet. `is_idr` is true for a keyframe of H.264 that refers to nothing before it."""
        images: list[VideoFrame] = []
        if is_idr and self._may_remain:
            self._may_remain = False
            copy = Packet(bytes(packet))
            copy.stream, copy.time_base, copy.pts = packet.stream, packet.time_base, _COPY_PTS
            with suppress(*BROKEN):
                images += packet.stream.codec_context.decode(copy)
        return without_copies([*images, *decode()])


def without_copies(images: Iterable[VideoFrame]) -> list[VideoFrame]:
    """Leave out what came from decoding a packet for the first time."""
    return [image for image in images if image.pts != _COPY_PTS]
