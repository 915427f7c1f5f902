"""Keeps the memory of very large images small: a few bytes of a file can declare 64 million pixels."""

from __future__ import annotations

from av import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

HEAVY_BYTES = 2**26
"""Bytes of a large image: more than one of 4K or 5K at any depth. Larger ones are stored with 1.5 bytes per pixel."""
AHEAD_BYTES = 2**27
"""Bytes of images examined together for their times; ten of 4K fit in."""
_LEAN = ("yuv420p", "yuvj420p", "nv12", "nv21", "gray", "yuv411p", "yuv410p", "pal8")
"""Pixel formats with at most 1.5 bytes per pixel."""


def image_bytes(image: VideoFrame) -> int:
    """Bytes of an image's planes."""
    return sum(plane.buffer_size for plane in image.planes)


def slim(image: VideoFrame) -> VideoFrame:
    """A large image of many bytes per pixel as yuv420p, BT.709; any other as it is. The result has no rotation."""
    if image.format.name in _LEAN or image_bytes(image) <= HEAVY_BYTES:
        return image
    return to_bt709(image, VideoReformatter())


def to_bt709(image: VideoFrame, reformatter: VideoReformatter) -> VideoFrame:
    """`image` as yuv420p of limited range, in the colours of BT.709."""
    return reformatter.reformat(
        image,
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        src_color_range=None if image.format.is_rgb else int(image.color_range),
        threads=1,
    )
