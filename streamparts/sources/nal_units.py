"""The NAL units of a packet of H.264 or HEVC, which show whether its beginning is missing, or in another packet."""

from __future__ import annotations

import re

from av.buffer import Buffer

_START = re.compile(rb"\x00{2,3}\x01", re.DOTALL)
_LONGEST_START = 4
_HEADER_BYTES = {"h264": 1, "hevc": 2}
_KINDS = {"h264": (0, 0x1F), "hevc": (1, 0x3F)}
"""Right shift and mask of the unit's type in its first byte."""
_LEADING = {"h264": (7, 9), "hevc": (32, 35)}
"""Types that only the beginning of a keyframe has: H.264's sequence parameter set and access unit delimiter, HEVC's
video parameter set and access unit delimiter. Nothing that the decoder needs precedes them."""
_SLICES = {"h264": range(1, 6), "hevc": range(32)}
"""Types of units with image data."""
_FIRST_SLICE = 0x80
"""Bit after the unit's header. In both codecs it is set in the first slice of an image: as first_mb_in_slice = 0, or as
first_slice_segment_in_pic_flag."""


def first_unit(codec: str, packet: Buffer) -> tuple[int, bool] | None:
    """(type of the first NAL unit, whether its first bit after the header is set); None for other codecs and
    framings."""
    if codec not in _KINDS:
        return None
    data = bytes(memoryview(packet)[: _LONGEST_START + _HEADER_BYTES[codec] + 1])
    start = _START.match(data)
    if start is None or len(data) <= start.end() + _HEADER_BYTES[codec]:
        return None
    shift, mask = _KINDS[codec]
    return data[start.end()] >> shift & mask, bool(data[start.end() + _HEADER_BYTES[codec]] & _FIRST_SLICE)


def starts_whole(codec: str, keyframe: Buffer, usual: int | None) -> bool:
    """True if nothing is missing at the beginning of the keyframe's packet. `usual` is the type of the first unit of an
    intact keyframe of the stream, for streams whose keyframes begin with a slice. Lost sequence parameters count, also
    if the picture parameters after them are those of before: another size may have been announced."""
    unit = first_unit(codec, keyframe)
    return unit is not None and (unit[0] in _LEADING[codec] or (unit[0] == usual and unit[1]))


def continues(codec: str, packet: Buffer) -> bool:
    """True if the first slice in a packet is not the first of its image, as in the second piece of a keyframe before
    each slice of which the sender repeats the parameter sets: FFmpeg takes these for the beginning of an image."""
    slices = _slices(codec, bytes(memoryview(packet)))
    return bool(slices) and not slices[0][_HEADER_BYTES[codec]] & _FIRST_SLICE


def without_parameters(codec: str, packet: Buffer) -> bytes:
    """The slices of a packet, in Annex B."""
    return b"".join(b"\0\0\0\1" + unit for unit in _slices(codec, bytes(memoryview(packet))))


def _slices(codec: str, data: bytes) -> list[bytes]:
    """The NAL units that hold image data; none for other codecs and framings."""
    if codec not in _KINDS or not _START.match(data):
        return []
    shift, mask = _KINDS[codec]
    units = [unit for unit in _START.split(data) if len(unit) > _HEADER_BYTES[codec]]
    return [unit for unit in units if unit[0] >> shift & mask in _SLICES[codec]]
