"""Turns masks of single frames into subjects with a box in every frame: components, assignment over time, smoothing."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from streamparts.arrays import ByteArray, FloatArray

from .values import BoolArray

LEVEL = 127
"""Minimum mask value, of 255, of the subject's pixels."""
LEAST_AREA = 0.0004
"""Minimum share of the image that a component covers; smaller ones are noise."""
COMPARABLE = 0.35
"""Minimum area of a second subject, as a share of the largest component's area."""
OFTEN = 0.5
"""Minimum share of the frames, among those with a component, in which a second subject is present."""
MOST_SUBJECTS = 6
PARTS_OF_ONE = 0.12
"""Distance up to which a component belongs to a subject, as a share of the longer side of the subject's box."""
SMOOTHING = 2.0
"""Standard deviation of the Gaussian over time, in frames."""


@dataclass(frozen=True)
class Followed:
    """One subject over the F frames of a shot."""

    boxes: FloatArray
    """(F, 4) left, top, width, height in pixels of the masks; interpolated over time if it is not found."""
    found: BoolArray
    """(F,) True if it is found in the frame."""


def components(mask: ByteArray) -> list[FloatArray]:
    """Return (left, top, width, height, area) of the components of one (h, w) mask, largest first; pieces that lie
    close together are merged."""
    joined = cv2.morphologyEx((mask > LEVEL).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(joined)
    found = [row.astype(np.float32) for row in stats[1:] if row[4] >= max(4, LEAST_AREA * mask.size)]
    found.sort(key=lambda row: -row[4])
    whole: list[FloatArray] = []
    for row in found:
        # a small component beside a much larger one is a piece of it; two of comparable size are two subjects
        near = [i for i, other in enumerate(whole) if row[4] < COMPARABLE * other[4] and gap(row, other) < PARTS_OF_ONE]
        if near:
            whole[near[0]] = union(whole[near[0]], row)
        else:
            whole.append(row)
    return whole


def gap(first: FloatArray, second: FloatArray) -> float:
    """Return the distance between two boxes, in units of the second one's longer side."""
    # along x and y: positive low - high is the space between the boxes
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[:2] + first[2:4], second[:2] + second[2:4])
    return float(np.maximum(low - high, 0).max() / max(second[2:4]))


def union(first: FloatArray, second: FloatArray) -> FloatArray:
    low, high = np.minimum(first[:2], second[:2]), np.maximum(first[:2] + first[2:4], second[:2] + second[2:4])
    return np.array([*low, *(high - low), first[4] + second[4]], np.float32)


def count_subjects(found: list[list[FloatArray]]) -> int:
    """Return how many subjects of comparable size most frames show."""
    counts = [sum(row[4] >= COMPARABLE * rows[0][4] for row in rows) for rows in found if rows]
    if not counts:
        return 0
    return next(n for n in range(MOST_SUBJECTS, 0, -1) if n == 1 or np.mean([c >= n for c in counts]) >= OFTEN)


def follow(masks: ByteArray, steps: NDArray[np.float64] | None = None) -> list[Followed]:
    """Return the subjects of (F, h, w) masks. `steps` (F,) are the frames' numbers in the file, for smoothing."""
    found = [components(mask) for mask in masks]
    number = count_subjects(found)
    if not number:
        return []
    assigned = assign(found, number)
    times = np.arange(len(masks), dtype=float) if steps is None else steps
    subjects = [smoothed(boxes, times) for boxes in assigned.transpose(1, 0, 2)]
    return sorted((s for s in subjects if s.found.any()), key=lambda s: -int(s.found.sum()))


def assign(found: list[list[FloatArray]], number: int) -> FloatArray:
    """Return the (F, N, 4) boxes of each subject, NaN if it is missing. A component belongs to the subject whose last
    position is nearest; two subjects that touch share one component and its box."""
    out = np.full((len(found), number, 4), np.nan, np.float32)
    start = next(i for i, rows in enumerate(found) if len(comparable(rows)) >= number)
    # (N, 4) where all subjects are first visible; followed from there in both directions
    last = np.stack([row[:4] for row in found[start][:number]])
    size = float(np.sqrt(last[:, 2:].prod(1)).mean())
    for order in (range(start, len(found)), range(start - 1, -1, -1)):
        where, since = last.copy(), np.zeros(number)
        for i in order:
            rows = np.stack([row[:4] for row in comparable(found[i])]) if found[i] else np.empty((0, 4), np.float32)
            since += 1
            if not len(rows):
                continue
            # (components, N) distances
            cost = np.linalg.norm(centre(rows)[:, None] - centre(where)[None], axis=2)
            pairs = list(zip(*linear_sum_assignment(cost), strict=True))
            # (N,) the longer a subject was missing, the farther it may have gone
            reach = size * (1.5 + 0.5 * np.minimum(since, 20))
            taken = {int(k) for row, k in pairs if number == 1 or cost[row, k] < reach[k]}
            for row, k in pairs:
                if int(k) in taken:
                    out[i, k], where[k], since[k] = rows[row], rows[row], 0
            for k in set(range(number)) - taken:
                inside = np.flatnonzero(cost[:, k] < 0.5 * np.sqrt(rows[:, 2:].prod(1)))
                if len(inside):
                    out[i, k] = rows[inside[0]]
    return out


def comparable(rows: list[FloatArray]) -> list[FloatArray]:
    return [row for row in rows if row[4] >= 0.5 * COMPARABLE * rows[0][4]]


def centre(boxes: FloatArray) -> FloatArray:
    return np.asarray(boxes[..., :2] + boxes[..., 2:4] / 2, np.float32)


def smoothed(boxes: FloatArray, times: NDArray[np.float64]) -> Followed:
    """Fill the gaps (NaN) of (F, 4) boxes and smooth them: a median of five for centre and size, then a Gaussian."""
    found = ~np.isnan(boxes[:, 0])
    if not found.any():
        return Followed(np.zeros_like(boxes), found)
    # (F, 4) centre and size
    values = np.concatenate([centre(boxes), boxes[:, 2:]], 1)
    filled = np.stack([np.interp(times, times[found], column[found]) for column in values.T], 1)
    padded = np.pad(filled, ((2, 2), (0, 0)), mode="edge")
    median = np.median(np.stack([padded[i : i + len(filled)] for i in range(5)]), axis=0)
    # standard deviation in rows: rows may be several frames apart
    spread_over = max(0.5, SMOOTHING / max(1.0, float(np.median(np.diff(times))) if len(times) > 1 else 1.0))
    soft = cv2.GaussianBlur(median, (1, 2 * int(3 * spread_over) + 1), sigmaX=0.1, sigmaY=spread_over)
    soft = soft.reshape(median.shape)
    return Followed(np.concatenate([soft[:, :2] - soft[:, 2:] / 2, soft[:, 2:]], 1).astype(np.float32), found)
