"""Draws tracks on a picture: coloured parts with a smooth outline, and each part's pose as an ellipse."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streamparts.data import ByteArray, FloatArray, Tracks
from streamparts.geometry import FloatLike, Letterbox

PALETTE: tuple[tuple[int, int, int], ...] = (
    (0, 158, 225),
    (245, 130, 20),
    (20, 170, 110),
    (225, 70, 150),
    (250, 215, 40),
    (120, 95, 220),
    (225, 50, 40),
    (90, 220, 225),
    (150, 105, 60),
    (165, 215, 80),
    (200, 160, 255),
    (255, 170, 160),
)
"""RGB by part number. Neighbours differ in lightness as well as in hue, for those who tell few hues apart."""

OPACITY = 0.5
"""Share of the drawing in a part's area and in its ellipse."""

Lines = list[NDArray[np.int32]]
"""Closed outlines, each (n, 1, 2) in cv2's fixed point."""

_SUBPIXEL_BITS = 4
_FAR = 2**26  # keeps the arithmetic of cv2 from overflowing
_UPSCALE = 2
_SMOOTHING = np.hanning(21)[1:-1] / np.hanning(21).sum()
_ANGLES = np.linspace(0, 2 * np.pi, 48, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1).astype(np.float32)
_WHITE, _DARK = (255, 255, 255), (25, 25, 30)


def part_color(part: int) -> tuple[int, int, int]:
    """RGB of part `part`, always the same; colours repeat after the palette's length."""
    return PALETTE[part % len(PALETTE)]


def draw_tracks(image: ByteArray, tracks: Tracks) -> None:
    """Draw the visible parts of one frame into `image`, (H, W, 3) uint8 RGB as displayed, in place."""
    parts = [int(part) for part in np.flatnonzero(tracks.visible)]
    if not parts:
        return
    thickness = max(1, round(min(image.shape[:2]) / 360))
    outlines = {part: part_outline(tracks.mask(part), tracks.letterbox) for part in parts}
    ellipses = {part: _to_fixed_point(_ellipse(tracks.affines[part])) for part in parts}
    _blend_areas(image, outlines, ellipses, thickness)
    for part, outline in outlines.items():
        cv2.polylines(image, outline, True, part_color(part), thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
    for part in parts:
        _draw_axes(image, tracks.affines[part], thickness)
    for part in parts:
        _draw_number(image, tracks.centers[part], part, thickness)


def part_outline(mask: NDArray[np.bool_], letterbox: Letterbox) -> Lines:
    """Closed outlines of a mask at model resolution, in displayed pixels, for cv2 with `_SUBPIXEL_BITS`.

    The mask's staircase is averaged away along the outline; holes have outlines of their own.
    """
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    crop = np.ascontiguousarray(mask[y : y + height, x : x + width]).view(np.uint8)
    if not crop.size:
        return []
    large = cv2.resize(crop, None, fx=_UPSCALE, fy=_UPSCALE, interpolation=cv2.INTER_NEAREST)
    found, _ = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    offset = np.array([x, y])
    smooth = [(_smoothed(line[:, 0]) + 0.5) / _UPSCALE + offset for line in found]
    return [_to_fixed_point(letterbox.model_to_frame(line)) for line in smooth]


def _smoothed(line: NDArray[np.number]) -> FloatLike:
    """Weighted mean of each point of a closed (n, 2) line with its neighbours along the line."""
    half = len(_SMOOTHING) // 2
    if len(line) <= 2 * half:
        return line.astype(np.float64)
    closed = np.concatenate([line[-half:], line, line[:half]]).astype(np.float64)
    return np.stack([np.convolve(closed[:, axis], _SMOOTHING, "valid") for axis in (0, 1)], axis=1)


def _to_fixed_point(points: FloatLike) -> NDArray[np.int32]:
    """(n, 2) continuous pixels -> (n, 1, 2) in cv2's fixed point, whose origin is a pixel's centre."""
    fixed = np.round((points - 0.5) * 2**_SUBPIXEL_BITS)
    lines: NDArray[np.int32] = np.clip(fixed, -_FAR, _FAR).astype(np.int32)[:, None]
    return lines


def _blend_areas(
    image: ByteArray, outlines: dict[int, Lines], ellipses: dict[int, NDArray[np.int32]], thickness: int
) -> None:
    """Half-transparent colour over each part's area, and its ellipse; only the rectangle around them is touched."""
    lines = [line for outline in outlines.values() for line in outline]
    corners = np.concatenate([*lines, *ellipses.values()])[:, 0] >> _SUBPIXEL_BITS
    margin = 2 * thickness
    left, top = np.maximum(corners.min(axis=0) - margin, 0).tolist()
    right, bottom = np.maximum(corners.max(axis=0) + margin, 0).tolist()
    region = image[top:bottom, left:right]
    if not region.size:
        return
    layer = region.copy()
    shift = np.array([left, top]) << _SUBPIXEL_BITS
    for part, outline in outlines.items():
        moved = [line - shift for line in outline]
        cv2.fillPoly(layer, moved, part_color(part), cv2.LINE_8, _SUBPIXEL_BITS)
    for ellipse in ellipses.values():
        cv2.polylines(layer, [ellipse - shift], True, _WHITE, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
    cv2.addWeighted(layer, OPACITY, region, 1 - OPACITY, 0, dst=region)


def _ellipse(affine: FloatArray) -> FloatArray:
    """(n, 2) points of the canonical unit circle seen through the affine."""
    points: FloatArray = _CIRCLE @ affine[:, :2].T + affine[:, 2]
    return points


def _draw_axes(image: ByteArray, affine: FloatArray, thickness: int) -> None:
    """From the centre along the two canonical axes; the first is drawn bolder."""
    center = affine[:, 2]
    for axis, width in ((1, thickness), (0, thickness + 1)):
        line = _to_fixed_point(np.stack([center, center + affine[:, axis]]))
        cv2.polylines(image, [line], False, _WHITE, width, cv2.LINE_AA, _SUBPIXEL_BITS)


def _draw_number(image: ByteArray, center: FloatArray, part: int, thickness: int) -> None:
    """White on a dark disc: readable on everything, and alike in the font renderers of OpenCV 4 and 5."""
    font, text, scale = cv2.FONT_HERSHEY_SIMPLEX, str(part), 0.12 + min(image.shape[:2]) / 1250
    (width, height), _ = cv2.getTextSize(text, font, scale, thickness)
    x, y = _to_fixed_point(center[None])[0, 0].tolist()
    radius = round(0.55 * max(1.35 * height, width)) + thickness
    cv2.circle(image, (x, y), radius << _SUBPIXEL_BITS, _DARK, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)
    origin = ((x >> _SUBPIXEL_BITS) - width // 2, (y >> _SUBPIXEL_BITS) + (height + 1) // 2)
    cv2.putText(image, text, origin, font, scale, _WHITE, thickness, cv2.LINE_AA)
