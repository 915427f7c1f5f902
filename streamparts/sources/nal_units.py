"""The first NAL unit of a packet of H.264 or HEVC, which shows whether the packet's beginning is missing."""

from __future__ import annotations

import re
from collections.abc import Mapping

from av.buffer import Buffer

_START = re.compile(rb"\x00{2,3}\x01", re.DOTALL)
_LONGEST_START = 4
_HEADER_BYTES = {"h264": 1, "hevc": 2}
_KINDS = {"h264": (0, 0x1F), "hevc": (1, 0x3F)}
"""Right shift and mask of the unit's type in its first byte."""
_LEADING = {"h264": (7, 9), "hevc": (32, 35)}
"""Types that only the beginning of a keyframe has: H.264's sequence parameter set and access unit delimiter, HEVC's
video parameter set and access unit delimiter. Nothing that the decoder needs precedes them."""
_FOLLOWING = {"h264": (8,), "hevc": (33, 34)}
"""Types that precede all slices of their image, too: H.264's picture parameter set, HEVC's sequence and picture
parameter set. Only other parameter sets may be missing before them."""
_MOST_BYTES = 2048
"""Bytes of a keyframe in which its parameter sets are looked for; they have some dozens."""
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


def parameter_sets(codec: str, keyframe: Buffer) -> dict[int, bytes]:
    """Return the parameter sets at the beginning of a keyframe's packet, without their start codes, by type."""
    if codec not in _KINDS:
        return {}
    shift, mask = _KINDS[codec]
    data = bytes(memoryview(keyframe)[:_MOST_BYTES])
    units = [unit.rstrip(b"\0") for unit in data.split(b"\0\0\1")[1:-1]]  # the last one may be longer
    return {kind: unit for unit in units if unit and (kind := unit[0] >> shift & mask) in _FOLLOWING[codec]}


def starts_whole(codec: str, keyframe: Buffer, usual: int | None, sets: Mapping[int, bytes]) -> bool:
    """True if nothing that the decoder needs is missing at the beginning of the keyframe's packet. `usual` is the type
    of the first unit of an intact keyframe of the stream, for streams whose keyframes begin with a slice. `sets` are
    the parameter sets of former keyframes: if one is repeated, so was the one before it, which the decoder has."""
    unit = first_unit(codec, keyframe)
    if unit is None:
        return False
    if unit[0] in _FOLLOWING[codec]:
        own = parameter_sets(codec, keyframe).get(unit[0])
        return own is not None and own == sets.get(unit[0])
    return unit[0] in _LEADING[codec] or (unit[0] == usual and unit[1])
