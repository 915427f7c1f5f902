"""Draws tracks on a picture: coloured parts with a smooth outline, and each part's pose as an ellipse."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from streamparts.data import FloatArray, Tracks
from streamparts.geometry import FloatLike
from streamparts.sinks.canvas import Canvas, Color, Plane

PALETTE: tuple[Color, ...] = (
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

Line = NDArray[np.int32]
"""(n, 1, 2) points in cv2's fixed point."""

_SUBPIXEL_BITS = 4
_FAR = 2**26  # keeps the arithmetic of cv2 from overflowing
_UPSCALE = 2
_SMOOTHING = np.hanning(21)[1:-1] / np.hanning(21).sum()
_THINNING = 3
_ANGLES = np.linspace(0, 2 * np.pi, 32, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1).astype(np.float32)
_AXES = np.array([[[0, 0], [1, 0]], [[0, 0], [0, 1]]], np.float32)
_WHITE, _DARK = (255, 255, 255), (25, 25, 30)


def part_color(part: int) -> Color:
    """RGB of part `part`, always the same; colours repeat after the palette's length."""
    return PALETTE[part % len(PALETTE)]


@dataclass(frozen=True, slots=True)
class _Strokes:
    """Where to draw. All points lie in one array, so that each step of geometry is one call."""

    points: Line
    """Displayed pixels as cv2's fixed point."""
    outlines: list[list[slice]]
    """Closed lines, by part."""
    ellipses: list[slice]
    axes: list[list[slice]]
    """The first axes of all parts, then the second."""
    centers: list[slice]
    parts: list[int]
    """Numbers of the parts drawn."""
    thickness: int
    text_scale: float

    def lines(self, pieces: list[slice]) -> list[Line]:
        return [self.points[piece] for piece in pieces]

    def halved(self) -> _Strokes:
        """The same on a plane of half the size, where a pixel's centre is the origin too."""
        points = (self.points >> 1) - 2 ** (_SUBPIXEL_BITS - 2)
        return replace(self, points=points, thickness=max(1, self.thickness // 2), text_scale=self.text_scale / 2)

    def moved(self, x: int, y: int) -> _Strokes:
        """The same by whole pixels to the right and down."""
        return replace(self, points=self.points + (np.array([x, y]) << _SUBPIXEL_BITS))


def draw_tracks(canvas: Canvas, tracks: Tracks) -> None:
    """Draw the visible parts of one frame, in place, on a canvas of its picture as displayed."""
    parts: list[int] = np.flatnonzero(tracks.visible).tolist()
    if not parts:
        return
    full = _strokes(tracks, parts, min(canvas[0].image.shape[:2]))
    half = full.halved() if any(plane.halvings for plane in canvas) else full
    for plane in canvas:
        _draw_strokes(plane, half if plane.halvings else full)


def _strokes(tracks: Tracks, parts: list[int], side: int) -> _Strokes:
    """For a picture whose shorter side is `side` pixels."""
    pieces, end = list[FloatLike](), 0

    def add(lines: Iterable[FloatLike]) -> list[slice]:
        nonlocal end
        first = len(pieces)
        pieces.extend(lines)
        return [slice(end, end := end + len(line)) for line in pieces[first:]]

    affines = tracks.affines[parts]
    outlines = [add(part_outline(tracks.mask(part))) for part in parts]
    num_model_points = end
    ellipses = add(_on_ellipses(affines, _CIRCLE))
    axes = [add(_on_ellipses(affines, axis)) for axis in _AXES]
    centers = add(affines[:, None, :, 2])
    points = np.concatenate(pieces)
    points[:num_model_points] = tracks.letterbox.model_to_frame(points[:num_model_points])
    thickness = max(1, round(side / 360))
    return _Strokes(_to_fixed_point(points), outlines, ellipses, axes, centers, parts, thickness, 0.12 + side / 1250)


def _draw_strokes(plane: Plane, strokes: _Strokes) -> None:
    colors = [plane.values(part_color(part)) for part in strokes.parts]
    _blend_areas(plane, strokes, colors)
    white, image, line_type = plane.values(_WHITE), plane.image, _line_type(plane)
    for outline, color in zip(strokes.outlines, colors, strict=True):
        cv2.polylines(image, strokes.lines(outline), True, color, strokes.thickness, line_type, _SUBPIXEL_BITS)
    for extra, axes in ((1, strokes.axes[0]), (0, strokes.axes[1])):
        cv2.polylines(image, strokes.lines(axes), False, white, strokes.thickness + extra, line_type, _SUBPIXEL_BITS)
    for part, center in zip(strokes.parts, strokes.lines(strokes.centers), strict=True):
        _draw_number(plane, center, part, strokes)


def _line_type(plane: Plane) -> int:
    """Smooth lines where the eye sees them, quick ones in half-size colour."""
    return cv2.LINE_8 if plane.halvings else cv2.LINE_AA


def part_outline(mask: NDArray[np.bool_]) -> list[FloatLike]:
    """Closed outlines (n, 2) of a mask, in its own continuous pixels.

    The mask's staircase is averaged away along the outline; holes have outlines of their own.
    """
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    crop = np.ascontiguousarray(mask[y : y + height, x : x + width]).view(np.uint8)
    if not crop.size:
        return []
    large = cv2.resize(crop, None, fx=_UPSCALE, fy=_UPSCALE, interpolation=cv2.INTER_NEAREST)
    found, _ = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    corner = np.array([x + 0.5 / _UPSCALE, y + 0.5 / _UPSCALE])
    return [_smoothed(line[:, 0].astype(np.float64)) / _UPSCALE + corner for line in found]


def _smoothed(line: FloatLike) -> FloatLike:
    """Weighted means of points of a closed (n, 2) line with their neighbours along the line, one in _THINNING."""
    half = len(_SMOOTHING) // 2
    if len(line) <= 2 * half:
        return line
    closed = np.concatenate([line[-half:], line, line[:half]]).view(np.complex128)[:, 0]
    means: FloatLike = np.convolve(closed, _SMOOTHING, "valid")[::_THINNING, None].copy().view(np.float64)
    return means


def _to_fixed_point(points: FloatLike) -> Line:
    """(n, 2) continuous pixels -> (n, 1, 2) in cv2's fixed point, whose origin is a pixel's centre."""
    fixed = np.rint((points - 0.5) * 2**_SUBPIXEL_BITS)
    line: Line = np.minimum(np.maximum(fixed, -_FAR), _FAR).astype(np.int32)[:, None]
    return line


def _blend_areas(plane: Plane, strokes: _Strokes, colors: list[tuple[int, ...]]) -> None:
    """Half-transparent colour over each part's area, and its ellipse; only the rectangle around them is touched."""
    corners = strokes.points[:, 0] >> _SUBPIXEL_BITS
    margin = 2 * strokes.thickness
    left, top = np.maximum(corners.min(axis=0) - margin, 0).tolist()
    right, bottom = np.maximum(corners.max(axis=0) + margin, 0).tolist()
    region = plane.image[top:bottom, left:right]
    if not region.size:
        return
    layer, inner, white = region.copy(), strokes.moved(-left, -top), plane.values(_WHITE)
    for outline, color in zip(inner.outlines, colors, strict=True):
        cv2.fillPoly(layer, inner.lines(outline), color, cv2.LINE_8, _SUBPIXEL_BITS)
    ellipses = inner.lines(inner.ellipses)
    cv2.polylines(layer, ellipses, True, white, strokes.thickness, _line_type(plane), _SUBPIXEL_BITS)
    cv2.addWeighted(layer, OPACITY, region, 1 - OPACITY, 0, dst=region)


def _on_ellipses(affines: FloatArray, points: FloatArray) -> FloatArray:
    """Canonical points (n, 2) seen through each of (P, 2, 3) -> (P, n, 2)."""
    seen: FloatArray = points @ affines[:, :, :2].transpose(0, 2, 1) + affines[:, None, :, 2]
    return seen


def _draw_number(plane: Plane, center: Line, part: int, strokes: _Strokes) -> None:
    """White on a dark disc: readable on everything, and alike in the font renderers of OpenCV 4 and 5."""
    text, scale, thickness = str(part), strokes.text_scale, strokes.thickness
    width, height = _text_size(text, scale, thickness)
    x, y = center[0, 0].tolist()
    radius = round(0.55 * max(1.35 * height, width)) + thickness
    dark, white = plane.values(_DARK), plane.values(_WHITE)
    cv2.circle(plane.image, (x, y), radius << _SUBPIXEL_BITS, dark, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)
    if plane.halvings:
        return  # both are grey
    origin = ((x >> _SUBPIXEL_BITS) - width // 2, (y >> _SUBPIXEL_BITS) + (height + 1) // 2)
    cv2.putText(plane.image, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, white, thickness, cv2.LINE_AA)


@lru_cache(256)
def _text_size(text: str, scale: float, thickness: int) -> tuple[int, int]:
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    return width, height
