"""Converts tracks to lines in OpenCV's fixed point, with all points in one array so that each step is one call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import FloatArray
from streamparts.data import Tracks
from streamparts.geometry import FloatLike
from streamparts.sinks.overlay.style import OverlayStyle
from streamparts.sinks.overlay.trails import Trail

Line = NDArray[np.int32]
"""(n, 1, 2) points in cv2's fixed point."""

Rings = tuple[Line, Line]
"""Both edges of closed lines, by the slices of the lines."""

SUBPIXEL_BITS = 4
_FAR = 2**26  # prevents overflow in cv2's arithmetic
_UPSCALE = 2
_SMOOTHING = np.hanning(21)[1:-1] / np.hanning(21).sum()
_THINNING = 3
_HALF_EDGE = 0.25
"""Distance in pixels of an edge's line from the edge, since a smooth line has a width itself."""
_ANGLES = np.linspace(0, 2 * np.pi, 32, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1).astype(np.float32)
_AXES = np.array([[[0, 0], [1, 0]], [[0, 0], [0, 1]]], np.float32)


@dataclass(frozen=True, slots=True)
class Strokes:
    """The lines of one frame."""

    points: Line
    """Displayed pixels in cv2's fixed point."""
    parts: list[int]
    """Numbers of the visible parts."""
    labels: list[str]
    """Text at each centre; empty for none."""
    thickness: int
    text_scale: float
    outlines: list[list[slice]] = field(default_factory=list)
    """Closed outlines, by visible part; they are the first points."""
    num_outline_points: int = 0
    ellipses: list[slice] = field(default_factory=list)
    """Ellipses, by visible part."""
    axes: list[list[slice]] = field(default_factory=list)
    """The first axes of all visible parts, then the second."""
    centers: list[slice] = field(default_factory=list)
    """Trails, by visible part."""
    bones: list[slice] = field(default_factory=list)
    """Lines of the skeleton."""
    filled_bones: list[slice] = field(default_factory=list)
    """Lines to parts that are not visible."""
    joints: list[slice] = field(default_factory=list)
    """Joints of the skeleton."""
    trails: list[tuple[int, slice]] = field(default_factory=list)
    """Part number and line."""
    boxes: list[slice] = field(default_factory=list)
    """Closed line around the subject, and the position of its number, if there are several."""
    subject: str = ""
    """Number of the subject."""

    def lines(self, pieces: Iterable[slice]) -> list[Line]:
        return [self.points[piece] for piece in pieces]

    def halved(self) -> Strokes:
        """The same on a plane of half the size, whose origin is also a pixel centre."""
        points = (self.points >> 1) - 2 ** (SUBPIXEL_BITS - 2)
        return replace(self, points=points, thickness=max(1, self.thickness // 2), text_scale=self.text_scale / 2)

    def rings(self) -> Rings:
        """The edges of the outlines and ellipses as closed lines of this thickness: their points, moved along the
        normal, which is across the line from one neighbour to the other."""
        closed = [piece for outline in self.outlines for piece in outline] + self.ellipses
        starts = np.array([piece.start for piece in closed], np.intp)
        ends = np.array([piece.stop for piece in closed], np.intp)
        after, before = np.arange(1, len(self.points) + 1), np.arange(-1, len(self.points) - 1)
        after[ends - 1], before[starts] = starts, ends - 1
        along = (self.points.take(after, axis=0, mode="clip") - self.points.take(before, axis=0, mode="clip"))[:, 0]
        along = along.astype(np.float32)
        length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-6)
        half = (self.thickness / 2 - _HALF_EDGE) * 2**SUBPIXEL_BITS
        across = along[:, ::-1] * np.array([half, -half], np.float32)
        shift = np.rint(across / length[:, None]).astype(np.int32)[:, None]
        return self.points + shift, self.points - shift


def make_strokes(
    tracks: Tracks, style: OverlayStyle, trails: Sequence[Trail], side: float, boxed: bool = False
) -> Strokes:
    """Build the lines for an image whose shorter side is `side` pixels; `boxed` adds a box around the subject, with its
    number."""
    pieces, end = list[FloatLike](), 0

    def add(lines: Iterable[FloatLike]) -> list[slice]:
        nonlocal end
        first = len(pieces)
        pieces.extend(lines)
        return [slice(end, end := end + len(line)) for line in pieces[first:]]

    parts: list[int] = np.flatnonzero(tracks.visible).tolist()
    affines = tracks.affines[parts]
    outlines = [add(part_outline(tracks.mask(part))) for part in parts] if style.masks else []
    num_outline_points = end
    boxes = add(_box(tracks)) if boxed and parts else []
    num_model_points = end
    lines = {
        "ellipses": add(_on_ellipses(affines, _CIRCLE)) if style.ellipses else [],
        "axes": [add(_on_ellipses(affines, axis)) for axis in _AXES] if style.axes else [],
        "centers": add(affines[:, None, :, 2]),
        "bones": add([*_pairs_seen(tracks, style), *(_bones(tracks, tracks.visible) if style.joints else ())]),
        "filled_bones": add(_bones(tracks, tracks.filled) if style.joints else ()),
        "joints": add(_joints(tracks) if style.joints else ()),
        "trails": list(zip([part for part, _ in trails], add(line for _, line in trails), strict=True)),
    }
    points = np.concatenate(pieces) if pieces else np.zeros((0, 2))
    points[:num_model_points] = tracks.letterbox.model_to_frame(points[:num_model_points])
    return Strokes(
        points=_to_fixed_point(points),
        parts=parts,
        labels=[_label(part, tracks.names[part], style) for part in parts],
        thickness=max(1, round(side / 360)),
        text_scale=0.12 + side / 1250,
        outlines=outlines,
        num_outline_points=num_outline_points,
        boxes=boxes,
        subject=str(tracks.subject),
        **lines,  # type: ignore[arg-type]
    )


def _box(tracks: Tracks) -> list[FloatLike]:
    """Corners (4, 2) of the box around the labelled pixels, and its upper left one, in model pixels."""
    x, y, width, height = cv2.boundingRect((tracks.labels > 0).view(np.uint8))
    corners = np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], np.float64)
    return [corners, corners[:1]] if width and height else []


def _pairs_seen(tracks: Tracks, style: OverlayStyle) -> Iterator[FloatLike]:
    return (tracks.centers[[a, b]] for a, b in style.skeleton if tracks.visible[[a, b]].all())


def _bones(tracks: Tracks, chosen: NDArray[np.bool_] | None) -> Iterator[FloatLike]:
    """(2, 2) from the centres of the `chosen` parts to their joints."""
    if tracks.joints is None or chosen is None:
        return
    for ends, joint in zip(tracks.joints.parts, tracks.joints.points, strict=True):
        for part in ends:
            if chosen[part] and np.isfinite(joint).all():
                yield np.stack([tracks.centers[part], joint])


def _joints(tracks: Tracks) -> Iterator[FloatLike]:
    """(1, 2) each."""
    joints = () if tracks.joints is None else tracks.joints.points
    return (joint[None] for joint in joints if np.isfinite(joint).all())


def _label(part: int, name: str, style: OverlayStyle) -> str:
    if style.names:
        return name if name.isascii() and name.isprintable() else str(part)
    return str(part) if style.numbers else ""


def part_outline(mask: NDArray[np.bool_]) -> list[FloatLike]:
    """Closed outlines (n, 2) of a mask, in its own continuous pixels.

    The staircase of the mask is smoothed along the outline; holes have their own outlines.
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
    """Weighted means of the points of a closed (n, 2) line with their neighbours; keeps one point in _THINNING."""
    half = len(_SMOOTHING) // 2
    if len(line) <= 2 * half:
        return line
    closed = np.concatenate([line[-half:], line, line[:half]]).view(np.complex128)[:, 0]
    means: FloatLike = np.convolve(closed, _SMOOTHING, "valid")[::_THINNING, None].copy().view(np.float64)
    return means


def _on_ellipses(affines: FloatArray, points: FloatArray) -> FloatArray:
    """Canonical points (n, 2) mapped by each of (P, 2, 3) -> (P, n, 2)."""
    seen: FloatArray = points @ affines[:, :, :2].transpose(0, 2, 1) + affines[:, None, :, 2]
    return seen


def _to_fixed_point(points: FloatLike) -> Line:
    """(n, 2) continuous pixels -> (n, 1, 2) in cv2's fixed point, whose origin is a pixel centre."""
    fixed = np.rint((points - 0.5) * 2**SUBPIXEL_BITS)
    line: Line = np.minimum(np.maximum(fixed, -_FAR), _FAR).astype(np.int32)[:, None]
    return line
