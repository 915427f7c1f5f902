"""Surfaces to draw on: an RGB array, or a decoded yuv420p image, which saves two conversions per frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from av import VideoFrame
from av.video.reformatter import Colorspace

from streamparts.arrays import ByteArray
from streamparts.bundle.colours import Color
from streamparts.sources.rescale import plane_arrays


@dataclass(frozen=True, slots=True)
class Plane:
    """One array to draw into, and its representation of colours."""

    image: ByteArray
    """(h, w, 3), or (h, w) for one channel of several."""
    halvings: int
    """0 for displayed pixels, 1 if one pixel covers two by two of them."""
    values: Callable[[Color], tuple[int, ...]]
    """Value to write for a colour."""


Canvas = tuple[Plane, ...]
"""Planes of one image, the first at full size."""


def rgb_canvas(image: ByteArray) -> Canvas:
    """`image` is (H, W, 3) uint8 RGB and is modified."""
    return (Plane(image, 0, lambda color: color),)


def yuv_canvas(picture: VideoFrame, left: int = 0) -> Canvas:
    """`picture` is a writable yuv420p frame of limited range, such as from `Rescaler.yuv`. The canvas is its part to
    the right of column `left`, an even number."""
    weights = _luma_weights(picture.colorspace)
    y, u, v = plane_arrays(picture)
    return (
        Plane(y[:, left:], 0, lambda color: _yuv(color, *weights)[:1]),
        Plane(u[:, left // 2 :], 1, lambda color: _yuv(color, *weights)[1:2]),
        Plane(v[:, left // 2 :], 1, lambda color: _yuv(color, *weights)[2:]),
    )


def doubled(picture: VideoFrame) -> VideoFrame:
    """A yuv420p image of even width, twice side by side, with the same colour tags."""
    wide = VideoFrame(2 * picture.width, picture.height, "yuv420p")
    for old, new in zip(plane_arrays(picture), plane_arrays(wide), strict=True):
        new[:, : old.shape[1]] = new[:, old.shape[1] :] = old
    wide.colorspace, wide.color_range = picture.colorspace, picture.color_range
    wide.color_primaries, wide.color_trc = picture.color_primaries, picture.color_trc
    return wide


def _luma_weights(colorspace: int) -> tuple[float, float]:
    """Weights of red and blue, by ITU-R BT.709 if the image is tagged with it, else BT.601."""
    return (0.2126, 0.0722) if colorspace == Colorspace.ITU709 else (0.299, 0.114)


@lru_cache(1024)
def _yuv(color: Color, red: float, blue: float) -> tuple[int, int, int]:
    """Luma, blueness and redness in limited range, with these weights of red and blue."""
    grey = red * color[0] + (1 - red - blue) * color[1] + blue * color[2]
    return (
        round(16 + 219 / 255 * grey),
        round(128 + 112 / 255 * (color[2] - grey) / (1 - blue)),
        round(128 + 112 / 255 * (color[0] - grey) / (1 - red)),
    )
