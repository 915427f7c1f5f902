"""Joins keyframes that arrive in pieces.

GStreamer's RTP payloader with `config-interval=-1`, as RTSP servers use it, repeats the parameter sets before each
slice of a keyframe. FFmpeg takes each for a new image, so that a keyframe of three slices becomes three broken images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from av.packet import Packet
from av.video.stream import VideoStream

from streamparts.sources.damage import DamageWatch
from streamparts.sources.nal_units import continues, without_parameters


class WholeKeyframes:
    """Reads packets. Once a keyframe has come in pieces, which is known after the first, the pieces of each further one
    are joined; for that, a keyframe waits for the packet after it. Other streams are not delayed."""

    def __init__(self, read: Callable[[], Packet[VideoStream] | None], watch: DamageWatch) -> None:
        """`read` gives None, or an empty packet, at the end."""
        self._read, self._watch = read, watch
        self._come_in_pieces = False
        self._key_pts: int | None = None
        self._ahead: tuple[Packet[VideoStream] | None, bool] | None = None
        """The packet after a keyframe, and whether data was lost before it."""

    def next(self) -> Packet[VideoStream] | None:
        if self._ahead is None:
            packet = self._read()
        else:
            (packet, event), self._ahead = self._ahead, None
            self._watch.add_event(event)
        if packet is None or not packet.size or not packet.is_keyframe or packet.pts is None:
            return packet
        codec = packet.stream.codec_context.name
        self._come_in_pieces |= packet.pts == self._key_pts and continues(codec, packet)
        self._key_pts = packet.pts
        return self._whole(packet, codec) if self._come_in_pieces else packet

    def _whole(self, packet: Packet[VideoStream], codec: str) -> Packet[VideoStream]:
        pieces, event = [bytes(packet)], self._watch.take_event()
        while True:
            following = self._read()
            if (
                following is None
                or not following.size
                or following.pts != packet.pts
                or not continues(codec, following)
            ):
                break
            pieces.append(without_parameters(codec, following))
            event |= self._watch.take_event()
        self._ahead = following, self._watch.take_event()
        self._watch.add_event(event, len(pieces))
        return packet if len(pieces) == 1 else _joined(packet, pieces)


def _joined(first: Packet[VideoStream], pieces: list[bytes]) -> Packet[VideoStream]:
    whole = Packet(b"".join(pieces))
    whole.pts, whole.dts, whole.time_base = first.pts, first.dts, first.time_base
    whole.stream, whole.is_keyframe = first.stream, True
    return cast("Packet[VideoStream]", whole)
