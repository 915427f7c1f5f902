"""A subject's pixels in a crop, and their bounding box."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import FloatArray
from streamparts.data import Parts
from streamparts.geometry import Letterbox
from streamparts.tracking.boxes import Box

Mask = NDArray[np.bool_]

GAP = 2
"""Model pixels between pieces that still count as one."""
LEAST_PIXELS = 4
"""Minimum number of model pixels."""
MOST_PIECES = 8
"""Maximum number of pieces per image."""
LEAST_SHARE = 0.05
"""Share of the largest piece below which pieces are not the subject's."""
SPOT = 0.25
"""A piece of a part below this share of the part's largest piece is noise."""
NEAR = 5
"""Distance in model pixels within which a separate piece may belong to the subject."""
TAIL = 0.005
"""Share of the pixels, on every side, that may be outside the box."""


@dataclass(frozen=True, slots=True)
class Extent:
    """A subject, or a piece of it, in displayed pixels."""

    box: Box
    """Bounding box of its pixels, without a few outliers."""
    mean: NDArray[np.float64]
    """(2,) mean of its pixels."""
    covariance: NDArray[np.float64]
    """(2, 2) covariance of its pixels."""
    area: float
    """In square pixels."""
    score: float
    """Mean score of its pixels' parts."""
    mask: Mask
    """(h, w) its pixels, at model resolution."""


def foreground(parts: Parts, letterbox: Letterbox) -> Mask:
    """(h, w) True for pixels of any part inside the frame."""
    mask: Mask = np.zeros(parts.labels.shape, np.bool_)
    mask[letterbox.inner_slices] = parts.labels[letterbox.inner_slices] > 0
    return mask


def pieces(mask: Mask) -> tuple[NDArray[np.int32], int]:
    """((h, w), number): 0 outside the mask, else the index, from 1, of each pixel's piece. Pieces close to each other
    are merged."""
    import cv2

    joined = cv2.dilate(mask.astype(np.uint8), np.ones((2 * GAP + 1, 2 * GAP + 1), np.uint8))
    number, marks = cv2.connectedComponents(joined, connectivity=8, ltype=cv2.CV_32S)
    return np.where(mask, marks, 0).astype(np.int32), number - 1


def all_extents(parts: Parts, letterbox: Letterbox) -> list[Extent]:
    """The largest pieces of the foreground."""
    marks, number = pieces(foreground(parts, letterbox))
    largest = np.argsort(-np.bincount(marks.ravel(), minlength=number + 1)[1:], kind="stable")[:MOST_PIECES] + 1
    found = (extent_of(marks == piece, parts, letterbox) for piece in largest)
    return [extent for extent in found if extent is not None]


def own_extent(mask: Mask, parts: Parts, letterbox: Letterbox, expected: Box) -> Extent | None:
    """The piece of `mask` that is the subject: the largest one, with pixels inside the `expected` box counted twice,
    plus the others inside the box. None without any."""
    marks, number = pieces(mask)
    if number == 0:
        return None
    if number == 1:
        return extent_of(mask, parts, letterbox)
    inside = np.zeros(mask.shape, np.bool_)
    inside[_slices(expected, letterbox)] = True
    # (1 + pieces,) pixels of each piece, in all and inside the expected box
    counts = np.bincount(marks.ravel(), minlength=number + 1)
    counts_inside = np.bincount(marks[inside], minlength=number + 1)
    counts[0] = counts_inside[0] = 0
    main = int((counts + counts_inside).argmax())
    belongs = (counts >= LEAST_SHARE * counts[main]) & (2 * counts_inside >= counts)
    belongs[main], belongs[0] = True, False
    return extent_of(belongs[marks], parts, letterbox)


def without_scatter(parts: Parts, own: Mask) -> Parts:
    """Remove scattered labels: keeps each part's largest piece if it is near the subject's `own` pixels (h, w), see
    Extent.mask, and other pieces that are not much smaller and belong to the subject: a separated forearm is kept,
    spots on the floor and a chair behind the subject are not."""
    import cv2

    near = cv2.dilate(own.view(np.uint8), np.ones((2 * NEAR + 1, 2 * NEAR + 1), np.uint8))
    labels = np.zeros_like(parts.labels)
    for number in np.flatnonzero(np.bincount(parts.labels.ravel())[1:]) + 1:
        whole = (parts.labels == number).view(np.uint8)
        x, y, width, height = cv2.boundingRect(whole)
        box = slice(y, y + height), slice(x, x + width)
        part = np.ascontiguousarray(whole[box])
        count, marks = cv2.connectedComponents(part, connectivity=8, ltype=cv2.CV_32S)
        if count == 2:  # one piece, as in most frames
            if (near[box] & part).any():
                labels[box] |= part * np.uint8(number)
            continue
        sizes = np.bincount(marks.ravel())
        sizes[0] = 0
        largest = int(sizes.argmax())
        kept = sizes >= SPOT * sizes[largest]
        kept &= np.bincount(marks[own[box]], minlength=len(sizes)) > 0
        kept[largest], kept[0] = bool((near[box] & (marks == largest)).any()), False
        labels[box][kept[marks]] = number
    return replace(parts, labels=labels)


def extent_of(mask: Mask, parts: Parts, letterbox: Letterbox) -> Extent | None:
    """Extent of the pixels of `mask`; None if they are too few."""
    import cv2

    first_x, first_y, width, height = cv2.boundingRect(mask.view(np.uint8))
    box = slice(first_y, first_y + height), slice(first_x, first_x + width)
    # row and column sums give all moments but the mixed one; only the box is read
    weights = mask[box].astype(np.float32)
    columns, rows = weights.sum(axis=0), weights.sum(axis=1)
    count = float(rows.sum())
    if count < LEAST_PIXELS:
        return None
    first = np.array([first_x, first_y], np.float32)
    x, y = (
        np.arange(len(line), dtype=np.float32) + start + 0.5 for line, start in zip((columns, rows), first, strict=True)
    )
    mean = np.array([columns @ x, rows @ y], np.float64) / count
    # about the mean: E[xx] - E[x]E[x] would cancel in float32
    x, y = x - np.float32(mean[0]), y - np.float32(mean[1])
    cross = float((weights * y[:, None]).sum(axis=0) @ x)  # a matrix product would wake threads
    covariance = np.array([[columns @ (x * x), cross], [cross, rows @ (y * y)]], np.float64) / count
    (left, right), (top, bottom) = _ends(columns, count), _ends(rows, count)
    ends = np.array([[left, top], [right, bottom]], np.float32) + first
    points = np.concatenate([ends, mean[None]])
    # (3, 2) in displayed pixels: top left, bottom right, mean
    corners = letterbox.model_to_frame(points).astype(np.float64)
    scale = letterbox.scale_xy.astype(np.float64)
    of_parts = np.bincount(parts.labels[box][mask[box]], minlength=len(parts.scores) + 1)[1:]
    return Extent(
        box=corners[:2].ravel(),
        mean=corners[2],
        # 1 / 12 is the variance of a pixel's own square
        covariance=(covariance + np.eye(2) / 12) * np.outer(scale, scale),
        area=count * float(scale.prod()),
        score=float(of_parts @ parts.scores) / count,
        mask=mask,
    )


def _ends(counts: FloatArray, count: float) -> tuple[float, float]:
    """Start and end of the pixels along a line, without a few outliers."""
    sums = np.cumsum(counts)
    first = int(np.searchsorted(sums, TAIL * count, "right"))
    return float(first), float(np.searchsorted(sums, (1 - TAIL) * count, "left") + 1)


def _slices(box: Box, letterbox: Letterbox) -> tuple[slice, slice]:
    """Rows and columns of the model input that a box in displayed pixels covers."""
    (left, top), (right, bottom) = letterbox.frame_to_model(box.reshape(2, 2))
    height, width = letterbox.model_hw
    return (
        slice(int(np.clip(np.floor(top), 0, height)), int(np.clip(np.ceil(bottom), 0, height))),
        slice(int(np.clip(np.floor(left), 0, width)), int(np.clip(np.ceil(right), 0, width))),
    )
