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
    """Reads packets, and joins the pieces of keyframes. For that, a keyframe waits for the packet after it: the first
    one always, further ones if an earlier one came in pieces."""

    def __init__(self, read: Callable[[], Packet[VideoStream] | None], watch: DamageWatch) -> None:
        """`read` gives None, or an empty packet, at the end."""
        self._read, self._watch = read, watch
        self._come_in_pieces: bool | None = None
        """None until the first keyframe has been read."""
        self._key_pts: int | None = None
        self._ahead: tuple[Packet[VideoStream] | None, bool] | None = None
        """The packet after a keyframe, and whether data was lost before it."""
        self._error: Exception | None = None
        """Raised by the read after a keyframe, which is given first."""

    def next(self) -> Packet[VideoStream] | None:
        if self._error is not None:
            raise self._error
        if self._ahead is None:
            packet = self._read()
        else:
            (packet, event), self._ahead = self._ahead, None
            self._watch.add_event(event)
        is_first = self._come_in_pieces is None  # often neither timed nor known as a keyframe
        if packet is None or not packet.size or not (is_first or (packet.is_keyframe and packet.pts is not None)):
            return packet
        codec = packet.stream.codec_context.name
        if packet.pts == self._key_pts and continues(codec, packet):
            self._come_in_pieces = True
        self._key_pts = packet.pts
        if self._come_in_pieces is False:
            return packet
        whole = self._whole(packet, codec)
        self._come_in_pieces = bool(self._come_in_pieces) or whole is not packet
        return whole

    def _whole(self, packet: Packet[VideoStream], codec: str) -> Packet[VideoStream]:
        pieces, event = [bytes(packet)], self._watch.take_event()
        while True:
            try:
                following = self._read()
            except Exception as error:
                self._error = error
                break
            if (
                following is None
                or not following.size
                or packet.pts not in (None, following.pts)
                or not continues(codec, following)
            ):
                break
            if packet.pts is None:  # a connection's first packet has no time, its further pieces do
                packet.pts, packet.dts = following.pts, following.dts
            pieces.append(without_parameters(codec, following))
            event |= self._watch.take_event()
        if self._error is None:
            self._ahead = following, self._watch.take_event()
        self._watch.add_event(event, len(pieces))
        return packet if len(pieces) == 1 else _joined(packet, pieces)


def _joined(first: Packet[VideoStream], pieces: list[bytes]) -> Packet[VideoStream]:
    whole = Packet(b"".join(pieces))
    whole.pts, whole.dts, whole.time_base = first.pts, first.dts, first.time_base
    whole.stream, whole.is_keyframe = first.stream, True
    return cast("Packet[VideoStream]", whole)
