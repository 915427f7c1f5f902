"""Crops a decoded image before any other processing, so that pixels outside the crop cost nothing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from av import VideoFrame
from av.video.plane import VideoPlane

from streamparts.arrays import ByteArray

_Layout = tuple[tuple[int, int, int], ...]
"""For each plane: its pixels are 1 / 2 ** x as wide and 1 / 2 ** y as high as the image's, and take this many bytes."""

_LAYOUTS: dict[str, _Layout] = {
    "yuv420p": ((0, 0, 1), (1, 1, 1), (1, 1, 1)),
    "yuv422p": ((0, 0, 1), (1, 0, 1), (1, 0, 1)),
    "yuv444p": ((0, 0, 1),) * 3,
    "yuv420p10le": ((0, 0, 2), (1, 1, 2), (1, 1, 2)),
    "yuv422p10le": ((0, 0, 2), (1, 0, 2), (1, 0, 2)),
    "yuv444p10le": ((0, 0, 2),) * 3,
    "nv12": ((0, 0, 1), (1, 1, 2)),
    "p010le": ((0, 0, 2), (1, 1, 4)),
    "yuyv422": ((1, 0, 4),),
    "uyvy422": ((1, 0, 4),),
    "gbrp": ((0, 0, 1),) * 3,
    "gray": ((0, 0, 1),),
    "rgb24": ((0, 0, 3),),
    "bgr24": ((0, 0, 3),),
}
_LAYOUTS |= {f"yuvj{kind}": _LAYOUTS[f"yuv{kind}"] for kind in ("420p", "422p", "444p")}
_LAYOUTS |= dict.fromkeys(("rgba", "bgra", "argb", "abgr", "rgb0", "bgr0", "0rgb", "0bgr"), ((0, 0, 4),))


class PixelWindow(NamedTuple):
    """Whole pixels from `left` and `top` to, but excluding, `right` and `bottom`."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.bottom - self.top, self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def before_rotation(self, rotation: int, height: int, width: int) -> PixelWindow:
        """Position in the stored image, which is rotated by `rotation` degrees counter-clockwise to give one of
        (height, width)."""
        left, top, right, bottom = self
        if rotation == 90:
            return PixelWindow(height - bottom, left, height - top, right)
        if rotation == 180:
            return PixelWindow(width - right, height - bottom, width - left, height - top)
        if rotation == 270:
            return PixelWindow(top, width - right, bottom, width - left)
        return self


def cut_out(image: VideoFrame, window: PixelWindow) -> VideoFrame | None:
    """Crop an image in its own format and colours; None for an unknown layout.

    If the window starts at an odd pixel, half-resolution chroma is shifted by one pixel.
    """
    layout = _LAYOUTS.get(image.format.name)
    if layout is None:
        return None
    height, width = window.size_hw
    cut = VideoFrame(width, height, image.format.name)
    for source, target, (x, y, size) in zip(image.planes, cut.planes, layout, strict=True):
        top, left = window.top >> y, (window.left >> x) * size
        into = _rows(target)
        rows, row_bytes = -(-height >> y), -(-width >> x) * size
        rows, row_bytes = min(rows, (-(-image.height >> y)) - top), min(row_bytes, source.line_size - left)
        into[:rows, :row_bytes] = _rows(source)[top : top + rows, left : left + row_bytes]
    cut.colorspace, cut.color_range = image.colorspace, image.color_range
    cut.color_primaries, cut.color_trc = image.color_primaries, image.color_trc
    return cut


def _rows(plane: VideoPlane) -> ByteArray:
    """(rows, bytes in a row) of a plane's memory."""
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)  # type: ignore[call-overload,no-any-return]
