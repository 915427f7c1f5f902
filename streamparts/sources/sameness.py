"""Recognises a frame with the same pixels as an earlier one: of a paused camera, a screen, or slides."""

from __future__ import annotations

import numpy as np
from av import VideoFrame

from streamparts.data import Frame
from streamparts.meter import picture_bytes
from streamparts.sources.rescale import plane_arrays

MOST_BYTES = 2**25
"""Bytes of a frame above which it is not kept to be compared with the next one."""
_ROWS = 61
"""The middle row is compared first, then one row in so many: a frame that differs mostly does so there."""


def middle_row(frame: Frame) -> bytes | None:
    """The middle row of the first plane; frames in which it differs are not the same. None for a frame that is not to
    be kept: one that is large, has a layout that is not compared, or is an array, because its owner may write the next
    frame into it."""
    image = frame.image
    if not isinstance(image, VideoFrame) or picture_bytes(frame) > MOST_BYTES or not _has_byte_planes(image):
        return None
    plane = image.planes[0]
    start = image.height // 2 * plane.line_size
    return memoryview(plane)[start : start + image.width].tobytes()


def same_pixels(one: Frame, other: Frame) -> bool:
    """True if two decoded frames look alike in every pixel. False for layouts that are not compared: other than 8-bit
    planes."""
    first, second = one.image, other.image
    if not (isinstance(first, VideoFrame) and isinstance(second, VideoFrame)):
        return False
    if one.rotation != other.rotation or _looks(first) != _looks(second) or not _has_byte_planes(first):
        return False
    pairs = list(zip(plane_arrays(first), plane_arrays(second), strict=True))
    (luma, other_luma), middle = pairs[0], first.height // 2
    return np.array_equal(luma[middle], other_luma[middle]) and all(
        np.array_equal(a[::step], b[::step]) for step in (_ROWS, 1) for a, b in pairs
    )


def _looks(image: VideoFrame) -> tuple[object, ...]:
    """Size, layout and what determines the colours besides the values."""
    tags = image.colorspace, image.color_range, image.color_primaries, image.color_trc
    return image.width, image.height, image.format.name, *tags


def _has_byte_planes(image: VideoFrame) -> bool:
    return image.format.is_planar and all(part.bits == 8 for part in image.format.components)
