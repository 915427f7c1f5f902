"""Contact sheets of an evaluation: ground truth on the left, prediction on the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray, FloatArray
from streamparts.bundle.colours import part_color
from streamparts.geometry import Letterbox

from ..labels.values import LabelledFrame
from .found import FoundParts

TILE = 320
"""Side of one tile in pixels."""
COLUMNS = 3
WHITE, YELLOW, CYAN, BLACK = (255, 255, 255), (255, 225, 0), (0, 220, 255), (0, 0, 0)


@dataclass(frozen=True)
class SheetFrame:
    """A frame of the sheet."""

    frame: LabelledFrame
    found: FoundParts
    predicted: NDArray[np.float64] | None = None
    """(L, 2) landmarks in pixels of the frame, as regressed from the parts; None for frames used in the fit."""

    def with_prediction(self, predicted: NDArray[np.float64] | None) -> SheetFrame:
        return replace(self, predicted=predicted)


def write_sheet(path: Path, samples: Sequence[SheetFrame], match: NDArray[np.int64] | None) -> None:
    """Write all samples as one PNG, COLUMNS pairs per row; `match` (T,) gives true parts the colours of found ones."""
    pairs = [np.concatenate([draw_truth(s, match), draw_found(s)], axis=1) for s in samples]
    blank = np.zeros_like(pairs[0])
    pairs += [blank] * (-len(pairs) % COLUMNS)
    rows = [np.concatenate(pairs[i : i + COLUMNS], axis=1) for i in range(0, len(pairs), COLUMNS)]
    path.write_bytes(cv2.imencode(".png", np.concatenate(rows)[..., ::-1])[1].tobytes())


def draw_truth(sample: SheetFrame, match: NDArray[np.int64] | None) -> ByteArray:
    """(TILE, TILE, 3) true parts or the mask's outline, and true landmarks."""
    frame = sample.frame
    tile, box = _tile(frame.image)
    if frame.labels is not None:
        colours = [part_color(int(k)) if k >= 0 else WHITE for k in match] if match is not None else []
        tile = _painted(tile, box, frame.labels, colours)
    elif frame.mask is not None:
        _outline(tile, box, frame.mask)
    if frame.affines is not None:
        _ellipses(tile, box, frame.affines)
    if frame.landmarks is not None:
        _dots(tile, box, frame.landmarks, YELLOW)
    return tile


def draw_found(sample: SheetFrame) -> ByteArray:
    """(TILE, TILE, 3) found parts with their ellipses, and crosses at the regressed landmarks."""
    found = sample.found
    tile, box = _tile(sample.frame.image)
    present = np.bincount(found.labels.ravel(), minlength=len(found.affines) + 1)[1:] > 0
    tile = _painted(tile, box, found.labels, [part_color(k) for k in range(len(found.affines))])
    _ellipses(tile, box, found.affines[present])
    if sample.predicted is not None:
        _crosses(tile, box, sample.predicted)
    return tile


def _tile(image: ByteArray) -> tuple[ByteArray, Letterbox]:
    box = Letterbox.fit(image.shape[:2], (TILE, TILE))
    inner = cv2.resize(image, box.inner_hw[::-1], interpolation=cv2.INTER_AREA)
    return box.pad(np.asarray(inner, np.uint8)), box


def _painted(tile: ByteArray, box: Letterbox, labels: ByteArray, colours: list[tuple[int, int, int]]) -> ByteArray:
    """The tile, darkened where `labels`, of any size, are background and coloured elsewhere."""
    scaled = cv2.resize(labels, box.inner_hw[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    full = np.zeros((TILE, TILE), np.uint8)
    full[box.inner_slices] = scaled
    palette = np.array([BLACK, *colours], np.float32)
    mixed = np.where(full[..., None] > 0, 0.45 * tile + 0.55 * palette[full], 0.7 * tile)
    return mixed.astype(np.uint8)


def _outline(tile: ByteArray, box: Letterbox, mask: NDArray[np.bool_]) -> None:
    full = np.zeros((TILE, TILE), np.uint8)
    full[box.inner_slices] = cv2.resize(
        mask.astype(np.uint8), box.inner_hw[::-1], interpolation=cv2.INTER_NEAREST_EXACT
    )
    lines, _ = cv2.findContours(full, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.polylines(tile, lines, True, CYAN, 2, cv2.LINE_AA)


def _ellipses(tile: ByteArray, box: Letterbox, affines: FloatArray) -> None:
    """Draw ellipses of (K, 2, 3) canonical -> frame pixels, each with its first axis."""
    turns = np.linspace(0, 2 * np.pi, 33)
    line = np.concatenate([np.zeros((1, 2)), np.stack([np.cos(turns), np.sin(turns)], axis=1)])
    for affine in affines:
        points = line @ affine[:, :2].T + affine[:, 2]
        cv2.polylines(tile, [_fixed(box, points)], False, WHITE, 1, cv2.LINE_AA, shift=4)


def _dots(tile: ByteArray, box: Letterbox, points: FloatArray, colour: tuple[int, int, int]) -> None:
    radius = 16 if len(points) > 100 else 48
    for point in _fixed(box, points[np.isfinite(points).all(1)]):
        cv2.circle(tile, point.tolist(), radius, colour, cv2.FILLED, cv2.LINE_AA, shift=4)


def _crosses(tile: ByteArray, box: Letterbox, points: NDArray[np.float64]) -> None:
    size = 3 if len(points) > 100 else 9
    for point in _fixed(box, points[np.isfinite(points).all(1)]) >> 4:
        cv2.drawMarker(tile, point.tolist(), YELLOW, cv2.MARKER_CROSS, size, 1, cv2.LINE_AA)


def _fixed(box: Letterbox, points: NDArray[np.floating]) -> NDArray[np.int32]:
    """(n, 2) frame pixels -> the tile's, in cv2's fixed point with 4 bits, whose origin is a pixel's centre."""
    inside = np.clip(box.frame_to_model(points), -TILE, 2 * TILE)
    return np.asarray(np.rint((inside - 0.5) * 16), np.int32)
