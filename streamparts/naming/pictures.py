"""Images of each part of a model: frames that show it clearly, with everything else dimmed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray, FloatArray
from streamparts.bundle.colours import part_color
from streamparts.bundle.load import Bundle
from streamparts.bundle.spec import ModelSpec
from streamparts.data import Backend, Frame
from streamparts.geometry import Letterbox
from streamparts.parity.sample_frames import frames_spread_over
from streamparts.sources.rescale import Rescaler
from streamparts.tracking.segment import PartSegmenter
from streamparts.tracking.tracker import Visibility

CELL_PX = 192
"""Side of an image on the sheet."""
LABEL_PX = 260
"""Width of the label before a row."""
NUM_FRAMES = 120
"""Number of frames to examine."""
_LONGER_SIDE_PX = 640
_MARGIN = 0.15
_DIM, _DARKEST = 0.3, 10.0
_PAPER, _INK = (25, 25, 30), (235, 235, 235)


@dataclass(frozen=True, slots=True)
class _Look:
    """One frame, cropped to the region that the network saw."""

    image: ByteArray
    """(H, W, 3) RGB."""
    labels: ByteArray
    """(H, W): 0 is background, k + 1 is part k."""
    quality: FloatArray
    """(K,) how clearly each part is visible; 0 if it is not."""


def part_pictures(
    bundle: Bundle, backend: Backend, frames: str | Path, columns: int = 6, num_frames: int = NUM_FRAMES
) -> list[list[ByteArray]]:
    """Return at most `columns` square RGB images of CELL_PX pixels for each part, in temporal order.

    `num_frames` frames are sampled from `frames`, a video or a folder of videos and images, and divided into `columns`
    periods; each part gets the best frame of each. A part that is never visible gets none. Raises VideoError,
    ModelError.
    """
    spread = (frame for _, frame in frames_spread_over(Path(frames), num_frames))
    looks = list(_looks(bundle, backend, spread))
    quality = np.stack([look.quality for look in looks])
    chosen = [_best_of_each_stretch(quality[:, part], columns) for part in range(bundle.spec.num_parts)]
    return [[_highlighted(looks[row], part) for row in rows] for part, rows in enumerate(chosen)]


def sheet(spec: ModelSpec, pictures: Sequence[Sequence[ByteArray]], columns: int = 6) -> ByteArray:
    """(H, W, 3) RGB: one row per part, with its colour, number and name before its images."""
    rows = []
    for part, (name, row) in enumerate(zip(spec.parts, pictures, strict=True)):
        empty = np.full((CELL_PX, CELL_PX, 3), _PAPER, np.uint8)
        cells = [*row, *[empty] * (columns - len(row))]
        rows.append(np.hstack([_label(part, name, seen=bool(row)), *cells]))
    return np.vstack(rows)


def jpeg(image: ByteArray) -> bytes:
    """(H, W, 3) RGB."""
    return cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), (cv2.IMWRITE_JPEG_QUALITY, 88))[1].tobytes()


def _looks(bundle: Bundle, backend: Backend, frames: Iterator[Frame]) -> Iterator[_Look]:
    segmenter, rescaler, rule = PartSegmenter(bundle, backend), Rescaler(), Visibility()
    for frame in frames:
        letterbox, parts = segmenter(frame)
        shares = np.bincount(parts.labels.ravel(), minlength=bundle.spec.num_parts + 1)[1:] / parts.labels.size
        seen = (parts.scores >= rule.appear_score) & (shares >= rule.appear_area)
        quality = np.where(seen, parts.scores * np.sqrt(shares), 0).astype(np.float32)
        scale = min(1.0, _LONGER_SIDE_PX / max(frame.height, frame.width))
        size_hw = max(1, round(frame.height * scale)), max(1, round(frame.width * scale))
        image, labels = rescaler.rgb(frame, size_hw), _displayed(parts.labels, letterbox, size_hw)
        rows, columns = _square_around(labels > 0)
        yield _Look(image[rows, columns].copy(), labels[rows, columns].copy(), quality)


def _displayed(labels: ByteArray, letterbox: Letterbox, size_hw: tuple[int, int]) -> ByteArray:
    inner = np.ascontiguousarray(labels[letterbox.inner_slices])
    return np.asarray(cv2.resize(inner, size_hw[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)


def _square_around(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of a square around the True pixels, with a margin, within the image; the whole image without
    any."""
    if not mask.any():
        return slice(None), slice(None)
    ends = [np.flatnonzero(mask.any(axis=axis))[[0, -1]] for axis in (1, 0)]
    half = (0.5 + _MARGIN) * (max(last - first for first, last in ends) + 1)
    low = [max(0, round((first + last) / 2 - half)) for first, last in ends]
    high = [round((first + last) / 2 + half) + 1 for first, last in ends]
    return slice(low[0], high[0]), slice(low[1], high[1])


def _best_of_each_stretch(quality: FloatArray, columns: int) -> list[int]:
    """Rows with the highest value of each of `columns` equal periods, none if all values are 0; empty periods are
    replaced by the best of the others. In order."""
    chosen = []
    for rows in np.array_split(np.arange(len(quality)), columns):
        if len(rows) and quality[rows].max() > 0:
            chosen.append(int(rows[quality[rows].argmax()]))
    rest = sorted(set(np.flatnonzero(quality > 0).tolist()) - set(chosen), key=lambda row: -quality[row])
    return sorted([*chosen, *rest[: columns - len(chosen)]])


def _highlighted(look: _Look, part: int) -> ByteArray:
    """(CELL_PX, CELL_PX, 3): the part as filmed with an outline in its colour, everything else grey and dark."""
    scale = CELL_PX / max(look.image.shape[:2])
    height, width = (max(1, round(side * scale)) for side in look.image.shape[:2])
    image = cv2.resize(look.image, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    mask = cv2.resize((look.labels == part + 1).astype(np.float32), (width, height)) > 0.5
    dim = _DIM * image.mean(axis=2, keepdims=True) + _DARKEST
    out: ByteArray = np.ascontiguousarray(np.where(mask[..., None], image, dim).astype(np.uint8))
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(out, outlines, -1, part_color(part), 2, cv2.LINE_AA)
    cell = np.full((CELL_PX, CELL_PX, 3), _PAPER, np.uint8)
    top, left = (CELL_PX - height) // 2, (CELL_PX - width) // 2
    cell[top : top + height, left : left + width] = out
    return cell


def _label(part: int, name: str, seen: bool) -> ByteArray:
    """(CELL_PX, LABEL_PX, 3): colour and number, then the name in as many lines as needed. OpenCV's font has only ASCII
    letters; others appear as "?"."""
    out = np.full((CELL_PX, LABEL_PX, 3), _PAPER, np.uint8)
    cv2.rectangle(out, (12, 20), (52, 60), part_color(part), cv2.FILLED)
    cv2.putText(out, str(part), (66, 53), cv2.FONT_HERSHEY_SIMPLEX, 1.1, _INK, 2, cv2.LINE_AA)
    text = "".join(char if char.isascii() else "?" for char in name)
    lines = [text[start : start + 20] for start in range(0, len(text), 20)]
    for number, line in enumerate([*lines, *([] if seen else ["(never visible)"])]):
        place = (12, 92 + 26 * number)
        cv2.putText(out, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.62, _INK, 1, cv2.LINE_AA)
    return out
