"""Leaves out the decoding of frames that are not used: where each packet is an image of its own, `--every 10` decodes
one packet in ten."""

from __future__ import annotations

from av import VideoFrame
from av.packet import Packet
from av.video.stream import VideoStream


class Thinning:
    """Decodes the packets of one stream, in order. The user of the frames may set `every` before iterating."""

    def __init__(self, is_allowed: bool = True) -> None:
        """Unless `is_allowed`, everything is decoded."""
        self.every = 1
        """One frame in so many is used, from the first on. The pixels of the others are arbitrary."""
        self._is_allowed = is_allowed
        self._num_images = 0
        self._last: tuple[int, int, str] | None = None
        """Width, height and pixel format of the last decoded image."""

    def restart(self) -> None:
        """The next packet is the first one."""
        self._num_images = 0

    def images(self, packet: Packet[VideoStream]) -> list[VideoFrame]:
        """The packet's images or, for a frame that is not used, one with its time and arbitrary pixels. Raises PyAV's
        errors for a packet that cannot be decoded; it is not counted, so that the next one takes its place."""
        if self._num_images % self.every and self._last and self._is_allowed and _is_one_image(packet):
            images = [VideoFrame(*self._last)]
            images[0].pts = packet.pts
        else:
            images = packet.decode()
        self._num_images += len(images)
        if images:
            self._last = images[-1].width, images[-1].height, images[-1].format.name
        return images


def _is_one_image(packet: Packet[VideoStream]) -> bool:
    """True if it can be decoded without others, and comes out of the decoder at once."""
    codec = packet.stream.codec_context
    return packet.size > 0 and packet.is_keyframe and codec.codec.intra_only and not codec.has_b_frames
