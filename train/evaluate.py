"""Compare found parts with exact truth: foreground IoU, part IoU after Hungarian matching, and centre error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from streamparts.data import FloatArray, require_shape


@dataclass(frozen=True)
class Confusion:
    """Pixel counts over a whole test set, true parts against found ones; index 0 is background on both axes."""

    counts: NDArray[np.int64]
    """(1 + true parts, 1 + found parts)"""

    @classmethod
    def of(cls, truth: NDArray[np.uint8], found: NDArray[np.uint8], num_true: int, num_found: int) -> Confusion:
        """Count two label arrays of equal shape."""
        require_shape("found", found, truth.shape)
        joint = truth.astype(np.int64) * (num_found + 1) + found
        counts = np.bincount(joint.ravel(), minlength=(num_true + 1) * (num_found + 1))
        return cls(counts.reshape(num_true + 1, num_found + 1))

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.counts + other.counts)

    def foreground_iou(self) -> float:
        """Everything but background as one class."""
        both = self.counts[1:, 1:].sum()
        return float(both / max(self.counts.sum() - self.counts[0, 0], 1))

    def iou(self) -> NDArray[np.float64]:
        """(true parts, found parts) intersection over union."""
        union = self.counts.sum(1)[1:, None] + self.counts.sum(0)[None, 1:] - self.counts[1:, 1:]
        return np.asarray(self.counts[1:, 1:] / np.maximum(union, 1))

    def match(self) -> NDArray[np.int64]:
        """(true parts,) the found part, counted from 0, of each true one; -1 where there are too few. One to one,
        the sum of IoUs at its largest."""
        rows, columns = linear_sum_assignment(-self.iou())
        out = np.full(len(self.counts) - 1, -1)
        out[rows] = columns
        return out

    def part_ious(self) -> NDArray[np.float64]:
        """(true parts,) IoU with the matched part, 0 without one."""
        match, iou = self.match(), self.iou()
        return np.array([iou[i, j] if j >= 0 else 0.0 for i, j in enumerate(match)])


def center_errors(
    truth: FloatArray, found: FloatArray, match: NDArray[np.int64], seen: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Distances between matched centres, as a fraction of the image side (normalised units are halves of it).

    `truth` (F, true, 2) and `found` (F, found, 2) normalised x, y; `seen` (F, true) chooses what counts.
    """
    matched = match >= 0
    distance = np.linalg.norm(truth[:, matched] - found[:, match[matched]], axis=-1) / 2
    return np.asarray(distance[seen[:, matched]], np.float64)
