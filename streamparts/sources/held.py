"""Limits the images that a decoder keeps for itself: an H.264 file may refer to sixteen images of any size."""

from __future__ import annotations

import re

from av import FFmpegError
from av.bitstream import BitStreamFilterContext, bitstream_filters_available
from av.packet import Packet
from av.video.stream import VideoStream

from streamparts.sources.ffmpeg_log import Message, messages
from streamparts.sources.shares import FREE_PIXELS

MOST_TOGETHER = 5
"""Multiple of the limit of one image's pixels that all kept images may have together. 8K video fits: with six
references in HEVC, with eight in AV1."""

_MOST_REFERENCES = 16
_SLOTS = {"vp9": 8, "av1": 8, "libdav1d": 8, "libaom-av1": 8}
"""References of codecs with a fixed number."""
_STATED = {
    "h264": re.compile(r"\b(?:max_num_ref_frames|max_num_reorder_frames)\s+[01]+ = (\d+)"),
    "hevc": re.compile(r"\bsps_max_dec_pic_buffering_minus1\[\d+\]\s+[01]+ = (\d+)"),
}
"""Fields of the headers as FFmpeg's filter trace_headers prints them: images that the decoder keeps beside the current
one."""
_TRACE = "trace_headers"


class HeldImages:
    """Follows one stream's headers, before each packet is decoded."""

    def __init__(self, max_pixels: int) -> None:
        """`max_pixels` is the limit of one image."""
        self.pixels = 0
        """Pixels of all images that the decoder would keep, as far as they were counted: for large ones, from the first
        packet's headers."""
        self._limit = MOST_TOGETHER * max_pixels
        self._filter: BitStreamFilterContext | None = None
        self._references: int | None = None
        self._previous: Packet[VideoStream] | None = None
        """Its headers may have begun the large images."""

    def excess(self, packet: Packet[VideoStream]) -> str | None:
        """Return the number and size of the images that the decoder would keep, if they exceed the limit together."""
        codec = packet.stream.codec_context
        previous, self._previous = self._previous, packet
        width, height = codec.width, codec.height
        counts_first = previous is None and width * height > FREE_PIXELS
        if width * height * (_MOST_REFERENCES + 2) <= self._limit and not counts_first:
            self._filter = self._references = None
            return None
        num = self._num_references(packet, previous) + (2 if codec.name in _STATED else 1)
        num = min(num, packet.stream.frames or num)
        self.pixels = num * width * height
        return f"{num} images of {width}x{height}" if self.pixels > self._limit else None

    def _num_references(self, packet: Packet[VideoStream], previous: Packet[VideoStream] | None) -> int:
        name = packet.stream.codec_context.name
        if name not in _STATED:
            return _SLOTS.get(name, 2)
        if _TRACE in bitstream_filters_available:
            try:
                self._read_headers(packet, previous, _STATED[name])
            except (FFmpegError, ValueError):  # a damaged header
                self._filter = None
        return _MOST_REFERENCES if self._references is None else self._references

    def _read_headers(
        self, packet: Packet[VideoStream], previous: Packet[VideoStream] | None, stated: re.Pattern[str]
    ) -> None:
        """The last header that states it counts."""
        said = list[list[Message]]()
        if self._filter is None:
            with messages(wordy=True) as of_stream:
                self._filter = BitStreamFilterContext(_TRACE, packet.stream)
            said.append(of_stream)
        else:
            previous = None
        for one in (previous, packet):
            if one is not None:
                with messages(wordy=True) as of_packet:
                    self._filter.filter(Packet(bytes(one)))  # a copy: the filter takes what it gets
                said.append(of_packet)
        for lines in said:
            if found := [int(match[1]) for _, _, text in lines if (match := stated.search(text))]:
                self._references = min(max(found), _MOST_REFERENCES)
