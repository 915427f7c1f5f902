"""Tells left from right over time, pixel by pixel: a network that sees one frame exchanges sides from frame to frame.

Each pixel of a mirrored pair of parts has two states, left and right. The evidence of a frame is the network's label;
older evidence stays in its place and fades. Neighbouring pixels vote together, so that a limb keeps one side. Pixels
whose vote contradicts their label get the label of the other side; background and unpaired parts stay as they are. A
part's pose and score are those of the network's part from which most of its pixels come. Since evidence does not move,
a limb that takes the place of the other one has its side for some frames.

The result for a frame depends on no later frame, and comes without delay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray, FloatArray
from streamparts.geometry import Letterbox

Array = NDArray[np.float64]

MEMORY_SECONDS = 0.3
"""Time in which the weight of evidence falls to 1/e, unless another is given."""
_CELLS = 64
"""Cells of the memory along the longer side of the network's input."""
_VOTERS = 3
"""Cells on a side of the square around a place that vote on it."""
_UNDECIDED = 1.0
"""Evidence, in frames, that counts as undecided: a single frame is not certain."""


@dataclass(frozen=True, slots=True)
class Sided:
    """The labels of a frame with steady sides."""

    labels: ByteArray
    """(h, w) 0 is background, k + 1 is part k."""
    source: NDArray[np.intp]
    """(K,) the network's part of which each part has most of its pixels: itself, or its partner."""
    shift: FloatArray
    """(K, 2) from the centre of that part's pixels to the centre of this part's, in pixels of the network's input."""
    certainty: FloatArray
    """(K,) in [0.5, 1]: share of the recent evidence at a part's pixels that is for its side; .5 for a part without
    pixels, 1 for an unpaired part."""


class Sides:
    """The memory of one video for K parts, some of them in P mirrored pairs."""

    def __init__(self, num_parts: int, pairs: Sequence[tuple[int, int]], seconds: float = MEMORY_SECONDS) -> None:
        """`pairs` of part numbers; the weight of evidence falls to 1/e in `seconds`. Raises ValueError if a part is in
        two pairs."""
        parts = [part for pair in pairs for part in pair]
        if len(set(parts)) != len(parts):
            raise ValueError(f"a part may be in only one mirrored pair, got {list(pairs)}")
        self._num_parts, self._num_planes, self._memory_seconds = num_parts, len(parts), seconds
        self._plane = np.full(num_parts + 1, -1)
        """(1 + K,) the plane of each label, where partners are neighbours: 0 and 1, 2 and 3; -1 for background and
        unpaired parts."""
        self._plane[np.array(parts, np.int64) + 1] = np.arange(len(parts))
        self._exchanged = np.arange(num_parts + 1, dtype=np.uint8)
        """(1 + K,) the label of each label's partner; itself for background and unpaired parts."""
        for one, other in pairs:
            self._exchanged[[one + 1, other + 1]] = other + 1, one + 1
        self._cells: NDArray[np.int64] = np.empty(0, np.int64)
        self.forget()

    def forget(self) -> None:
        """Start over: the next frame does not continue the last one."""
        self._memory: FloatArray | None = None
        """(rows, columns, 2 P) evidence for each part, in frames."""
        self._letterbox: Letterbox | None = None
        """Where the network saw the last frame."""
        self._seconds = 0.0

    def update(self, labels: ByteArray, letterbox: Letterbox, seconds: float, learns: bool = True) -> Sided:
        """Return the labels (h, w) of the next frame, at `seconds`, with steady sides. If it does not `learn`, because
        the image is damaged or without a subject, the frame is no evidence."""
        rows, columns = _grid(labels.shape)
        if len(self._cells) != labels.size:
            self._cells = _cells_of(labels.shape)
        # (N,) paired pixels: label, plane and cell of each
        pixels = np.flatnonzero(self._plane[labels] >= 0)
        before = labels.ravel()[pixels]
        plane, cell = self._plane[before], self._cells[pixels]
        memory = self._moved(letterbox, labels.shape)
        memory = memory * np.float32(math.exp(-max(0.0, seconds - self._seconds) / self._memory_seconds))
        if learns:
            counts = np.bincount(cell * self._num_planes + plane, minlength=memory.size).reshape(memory.shape)
            # share of a cell's pixels
            memory += (counts * (rows * columns / labels.size)).astype(np.float32)
            self._memory, self._letterbox, self._seconds = memory, letterbox, seconds
        votes = _blurred(memory).reshape(rows * columns, -1)
        own, other = votes[cell, plane], votes[cell, plane ^ 1]
        # in [-1, 1]: (own - other) / (own + other), less where there is little of both
        balance = (own - other) / (own + other + _UNDECIDED)
        after = np.where(balance < 0, self._exchanged[before], before)
        found = labels.copy()
        found.ravel()[pixels] = after
        # the probability p of two outcomes that differ by 2 p - 1
        agreed = self._sums(after, np.abs(balance)) / np.maximum(self._sums(after), 1)
        certainty = np.where(self._plane[1:] >= 0, (1 + agreed) / 2, 1).astype(np.float32)
        y, x = np.divmod(pixels, labels.shape[1])
        return Sided(found, *self._sources(before, after, x + 0.5, y + 0.5), certainty)

    def _sums(self, labels: ByteArray, weights: Array | None = None) -> Array:
        """(K,) sums of the weights (N,), or numbers, of pixels with these labels (N,)."""
        return np.bincount(labels, weights, self._num_parts + 1)[1:].astype(np.float64)

    def _moved(self, letterbox: Letterbox, shape: tuple[int, ...]) -> FloatArray:
        """The memory at the same places of the frame, as this letterbox shows them."""
        rows, columns = _grid(shape)
        if self._memory is None or self._letterbox is None:
            return np.zeros((rows, columns, self._num_planes), np.float32)
        if letterbox == self._letterbox:
            return self._memory
        import cv2

        height, width = shape
        # two corners of this input, in cells of the last one: both axes are a scale and an offset
        corners = letterbox.model_to_frame(np.array([[0.0, 0.0], [width, height]]))
        first, last = self._letterbox.frame_to_model(corners) / (width / columns, height / rows)
        scale = (last - first) / (columns, rows)
        # cell i has its centre at i + 1/2: x_old = s x + t becomes i_old = s i + t + (s - 1) / 2
        x, y = first + (scale - 1) / 2
        matrix, how = np.array([[scale[0], 0, x], [0, scale[1], y]]), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        planes = np.moveaxis(self._memory, 2, 0).copy()
        return np.stack([cv2.warpAffine(plane, matrix, (columns, rows), flags=how) for plane in planes], axis=-1)

    def _sources(self, before: ByteArray, after: ByteArray, x: Array, y: Array) -> tuple[NDArray[np.intp], FloatArray]:
        """`Sided.source` and `Sided.shift`, from the labels of pixels at x, y (N,) before and after."""
        source, shift = np.arange(self._num_parts), np.zeros((self._num_parts, 2), np.float32)
        changed = before != after
        if not changed.any():
            return source, shift
        # (K,) pixels that parts keep, and those that they get from their partners
        kept, gained = self._sums(after[~changed]), self._sums(after[changed])
        partner = self._exchanged[1:].astype(np.int64) - 1
        source = np.where(gained > kept, partner, source)
        there, here = (
            np.stack([self._sums(labels, x), self._sums(labels, y)], -1) / np.maximum(self._sums(labels), 1)[:, None]
            for labels in (before, after)
        )
        has = (self._sums(after) > 0) & (self._sums(before)[source] > 0)
        shift[has] = (here - there[source])[has]
        return source, shift


def _grid(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of the memory for an input of this height and width."""
    longer = max(shape)
    rows, columns = (max(1, round(_CELLS * side / longer)) for side in shape)
    return rows, columns


def _cells_of(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """(h * w,) the cell of each pixel."""
    (height, width), (rows, columns) = shape, _grid(shape)
    down, across = np.arange(height) * rows // height, np.arange(width) * columns // width
    return (down[:, None] * columns + across).ravel()


def _blurred(memory: FloatArray) -> FloatArray:
    """Mean over the voters of each cell."""
    import cv2

    return np.asarray(cv2.blur(memory, (_VOTERS, _VOTERS)), np.float32).reshape(memory.shape)
