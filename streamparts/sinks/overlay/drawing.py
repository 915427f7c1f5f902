"""Draws tracks on an image: coloured parts with a smooth outline, poses, names, trails and skeleton."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from streamparts.bundle.colours import part_color
from streamparts.data import Tracks
from streamparts.sinks.overlay.canvas import Canvas, Plane
from streamparts.sinks.overlay.strokes import SUBPIXEL_BITS, Line, Rings, Strokes, make_strokes
from streamparts.sinks.overlay.style import DEFAULT_STYLE, OverlayStyle
from streamparts.sinks.overlay.trails import Trail, Trails
from streamparts.sources.sameness import same_pixels

LINES_FOR = 2
"""Lines and numbers on a followed subject are sized for an image this many times as large as its crop, or for the
actual image if that is smaller."""

_WHITE, _PALE, _GREY, _DARK = (255, 255, 255), (205, 205, 205), (140, 140, 140), (25, 25, 30)


class Painter:
    """Draws the frames of one video in order, in one style; stores the trails."""

    def __init__(self, style: OverlayStyle = DEFAULT_STYLE) -> None:
        self.style = style
        self._trails = dict[int, Trails]()

    def paint(self, canvas: Canvas, tracks: Tracks) -> None:
        """Draw one frame, in place, on a canvas of the displayed frame."""
        for subject in tracks.subjects:
            trails: Sequence[Trail] = ()
            if self.style.trails:
                new = Trails(self.style.trail_seconds)
                trails = self._trails.setdefault(subject.subject, new).update(subject)
            draw_tracks(canvas, subject, self.style, trails, boxed=len(tracks.subjects) > 1)

    def would_repeat(self, before: Tracks, tracks: Tracks) -> bool:
        """True if `tracks`, drawn on their frame, look like those `before` on theirs. Trails change with time."""
        if self.style.trails or len(before.subjects) != len(tracks.subjects):
            return False
        drawn_alike = all(map(_drawn_alike, before.subjects, tracks.subjects))
        return drawn_alike and same_pixels(before.frame, tracks.frame)


def _drawn_alike(one: Tracks, other: Tracks) -> bool:
    if one.letterbox != other.letterbox or one.joints is not None or other.joints is not None:
        return False
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("visible", "affines", "labels"))


def draw_tracks(
    canvas: Canvas,
    tracks: Tracks,
    style: OverlayStyle = DEFAULT_STYLE,
    trails: Sequence[Trail] = (),
    boxed: bool = False,
) -> None:
    """Draw the visible parts of one subject, in place, on a canvas of the displayed frame; `boxed` adds a box with the
    subject's number."""
    if not (tracks.visible.any() or trails or tracks.joints):
        return
    side = float(min(canvas[0].image.shape[:2]))
    if tracks.region is not None:  # lines of the usual width would hide a small subject
        side = min(side, LINES_FOR * max(tracks.region[2:]))
    full = make_strokes(tracks, style, trails, side, boxed)
    half = full.halved() if any(plane.halvings for plane in canvas) else full
    for plane in canvas:
        _draw_strokes(plane, half if plane.halvings else full, style.opacity)


def _draw_strokes(plane: Plane, strokes: Strokes, opacity: float) -> None:
    colors = [plane.values(part_color(part)) for part in strokes.parts]
    if strokes.outlines:
        _blend_areas(plane, strokes, colors, opacity)
    rings = strokes.rings() if _is_smooth(plane) and strokes.thickness > 1 else None
    for outline, color in zip(strokes.outlines, colors, strict=bool(strokes.outlines)):
        _draw_closed(plane, strokes, outline, color, rings)
    for part, piece in strokes.trails:
        _draw_lines(plane, [strokes.points[piece]], plane.values(part_color(part)), strokes.thickness + 1)
    white, dark, pale = plane.values(_WHITE), plane.values(_DARK), plane.values(_PALE)
    _draw_closed(plane, strokes, strokes.ellipses, pale, rings)
    for extra, axes in zip((1, 0), strokes.axes, strict=bool(strokes.axes)):
        _draw_lines(plane, strokes.lines(axes), white, strokes.thickness + extra)
    bones, filled_bones = strokes.lines(strokes.bones), strokes.lines(strokes.filled_bones)
    _draw_lines(plane, [*bones, *filled_bones], dark, 3 * strokes.thickness + 1)
    _draw_lines(plane, filled_bones, plane.values(_GREY), strokes.thickness)
    _draw_lines(plane, bones, white, strokes.thickness)
    for joint in strokes.lines(strokes.joints):
        _draw_joint(plane, joint, strokes.thickness)
    if strokes.boxes:
        around, corner = strokes.boxes
        _draw_lines(plane, strokes.lines([around]), pale, strokes.thickness, closed=True)
        _draw_name(plane, strokes.lines([corner])[0], strokes.subject, strokes)
    for label, center in zip(strokes.labels, strokes.lines(strokes.centers), strict=True):
        if label:
            (_draw_number if label.isdigit() else _draw_name)(plane, center, label, strokes)


def _is_smooth(plane: Plane) -> bool:
    """Smooth lines on the luma plane, fast ones on the half-size chroma planes."""
    return plane.halvings == 0


def _draw_closed(
    plane: Plane, strokes: Strokes, pieces: list[slice], color: tuple[int, ...], rings: Rings | None
) -> None:
    """Draw closed lines of the usual thickness. OpenCV draws each section of a smooth thick line as an area with two
    round ends; its edges as lines, or the ring between them as an area, take a third of the time."""
    if rings is None:
        _draw_lines(plane, strokes.lines(pieces), color, strokes.thickness, closed=True)
    elif strokes.thickness == 2:
        _draw_lines(plane, [edge[piece] for edge in rings for piece in pieces], color, 1, closed=True)
    else:
        for piece in pieces:  # where two areas of one call overlap, neither is filled
            edges = [edge[piece] for edge in rings]
            cv2.fillPoly(plane.image, edges, color, cv2.LINE_AA, SUBPIXEL_BITS)


def _draw_lines(plane: Plane, lines: list[Line], color: tuple[int, ...], thickness: int, closed: bool = False) -> None:
    if lines:
        line_type = cv2.LINE_AA if _is_smooth(plane) else cv2.LINE_8
        cv2.polylines(plane.image, lines, closed, color, thickness, line_type, SUBPIXEL_BITS)


def _blend_areas(plane: Plane, strokes: Strokes, colors: list[tuple[int, ...]], opacity: float) -> None:
    """Blend colour over each part's area; only its bounding rectangle is touched."""
    corners = strokes.points[: strokes.num_outline_points, 0]
    if not (len(corners) and opacity):
        return
    left, top = np.maximum((corners.min(axis=0) >> SUBPIXEL_BITS) - 1, 0).tolist()
    right, bottom = np.maximum((corners.max(axis=0) >> SUBPIXEL_BITS) + 2, 0).tolist()
    region = plane.image[top:bottom, left:right]
    if not region.size:
        return
    layer = region.copy()
    inside = corners[:, None] - (np.array([left, top], np.int32) << SUBPIXEL_BITS)
    for pieces, color in zip(strokes.outlines, colors, strict=True):
        cv2.fillPoly(layer, [inside[piece] for piece in pieces], color, cv2.LINE_8, SUBPIXEL_BITS)
    cv2.addWeighted(layer, opacity, region, 1 - opacity, 0, dst=region)


def _draw_joint(plane: Plane, place: Line, thickness: int) -> None:
    """A white point with a dark rim."""
    x, y = place[0, 0].tolist()
    for radius, color in ((2 * thickness + 2, _DARK), (2 * thickness, _WHITE)):
        values = plane.values(color)
        cv2.circle(plane.image, (x, y), radius << SUBPIXEL_BITS, values, cv2.FILLED, cv2.LINE_AA, SUBPIXEL_BITS)


def _draw_number(plane: Plane, center: Line, text: str, strokes: Strokes) -> None:
    """White on a dark disc: readable on everything, and equal in the font renderers of OpenCV 4 and 5."""
    width, height = _text_size(text, strokes.text_scale, strokes.thickness)
    x, y = center[0, 0].tolist()
    radius = round(0.55 * max(1.35 * height, width)) + strokes.thickness
    dark = plane.values(_DARK)
    cv2.circle(plane.image, (x, y), radius << SUBPIXEL_BITS, dark, cv2.FILLED, cv2.LINE_AA, SUBPIXEL_BITS)
    _draw_text(plane, center, text, strokes.text_scale, strokes.thickness)


def _draw_name(plane: Plane, center: Line, text: str, strokes: Strokes) -> None:
    """White on a dark box."""
    scale = 0.8 * strokes.text_scale
    width, height = _text_size(text, scale, strokes.thickness)
    x, y = (center[0, 0] >> SUBPIXEL_BITS).tolist()
    half = (width // 2 + height // 3, round(0.95 * height))
    dark = plane.values(_DARK)
    cv2.rectangle(plane.image, (x - half[0], y - half[1]), (x + half[0], y + half[1]), dark, cv2.FILLED)
    _draw_text(plane, center, text, scale, strokes.thickness)


def _draw_text(plane: Plane, center: Line, text: str, scale: float, thickness: int) -> None:
    if plane.halvings:
        return  # white and dark are both grey
    width, height = _text_size(text, scale, thickness)
    x, y = (center[0, 0] >> SUBPIXEL_BITS).tolist()
    origin, white = (x - width // 2, y + (height + 1) // 2), plane.values(_WHITE)
    cv2.putText(plane.image, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, white, thickness, cv2.LINE_AA)


@lru_cache(256)
def _text_size(text: str, scale: float, thickness: int) -> tuple[int, int]:
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    return width, height
