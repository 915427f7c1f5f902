"""Agreement of found parts with true ones: small functions of label counts, centres and poses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.special import comb, xlogy

from streamparts.arrays import FloatArray, require_shape
from streamparts.geometry import normalised_grid

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Confusion:
    """Pixel counts over a test set, true parts by found ones; index 0 is the background on both axes."""

    counts: NDArray[np.int64]
    """(1 + true parts, 1 + found parts)"""

    @classmethod
    def of(cls, truth: NDArray[np.uint8], found: NDArray[np.uint8], num_true: int, num_found: int) -> Confusion:
        """Count two label arrays of equal shape."""
        require_shape("found", found, truth.shape)
        # one number per pair (true, found), so that a single bincount fills the table
        joint = truth.astype(np.int64) * (num_found + 1) + found
        counts = np.bincount(joint.ravel(), minlength=(num_true + 1) * (num_found + 1))
        return cls(counts.reshape(num_true + 1, num_found + 1))

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.counts + other.counts)

    def foreground_iou(self) -> float:
        """IoU of everything except background as one class."""
        both = self.counts[1:, 1:].sum()
        return float(both / max(self.counts.sum() - self.counts[0, 0], 1))

    def iou(self) -> Numbers:
        """(true parts, found parts) intersection over union."""
        # |A| + |B| - |A and B|, for all pairs at once
        union = self.counts.sum(1)[1:, None] + self.counts.sum(0)[None, 1:] - self.counts[1:, 1:]
        return np.asarray(self.counts[1:, 1:] / np.maximum(union, 1))

    def match(self) -> NDArray[np.int64]:
        """(true parts,) the found part, counted from 0, matched to each true one; -1 if there are too few. One-to-one,
        with the largest sum of IoUs."""
        rows, columns = linear_sum_assignment(-self.iou())
        out = np.full(len(self.counts) - 1, -1)
        out[rows] = columns
        return out

    def part_ious(self) -> Numbers:
        """(true parts,) IoU with the matched part, 0 without one."""
        match, iou = self.match(), self.iou()
        return np.array([iou[i, j] if j >= 0 else 0.0 for i, j in enumerate(match)])

    def merged_ious(self) -> Numbers:
        """(true parts,) IoU with the union of the found parts that overlap most with it: many to one."""
        parts = self.counts[1:, 1:]
        # (found parts,) the true part that each overlaps most; (true, found) whether it owns it
        owner = np.where(parts.any(0), parts.argmax(0), -1)
        owned = owner[None] == np.arange(len(parts))[:, None]
        both = (parts * owned).sum(1)
        union = self.counts[1:].sum(1) + (self.counts.sum(0)[None, 1:] * owned).sum(1) - both
        return np.asarray(both / np.maximum(union, 1))

    def best_found(self) -> NDArray[np.int64]:
        """(true parts,) the found part, counted from 0, with the highest IoU; -1 if none overlaps."""
        iou = self.iou()
        return np.where(iou.any(1), iou.argmax(1), -1)

    def nmi(self) -> float:
        """Normalised mutual information of the two labellings of all pixels, by the arithmetic mean of entropies."""
        return normalised_mutual_information(self.counts)

    def ari(self) -> float:
        """Adjusted Rand index of the two labellings of all pixels."""
        return adjusted_rand_index(self.counts)


def normalised_mutual_information(counts: NDArray[np.int64]) -> float:
    """2 I / (H + H') of a contingency table, as in scikit-learn, without an array of all pixels."""
    joint = counts / counts.sum()
    rows, columns = joint.sum(1), joint.sum(0)
    entropies = -xlogy(rows, rows).sum() - xlogy(columns, columns).sum()
    if entropies == 0:
        return 1.0
    # I = H + H' - H(joint); xlogy is 0 at 0
    information = xlogy(joint, joint).sum() + entropies
    return float(2 * information / entropies)


def adjusted_rand_index(counts: NDArray[np.int64]) -> float:
    """Adjusted Rand index of a contingency table: agreement of both labellings on pixel pairs, 0 for chance, 1 for
    equal."""
    together, rows, columns = (float(comb(n, 2).sum()) for n in (counts, counts.sum(1), counts.sum(0)))
    # the expected number of pairs together in both, if the labellings were independent
    chance = rows * columns / float(comb(counts.sum(), 2))
    most = (rows + columns) / 2
    return 1.0 if most == chance else (together - chance) / (most - chance)


def soft_iou(truth: NDArray[np.bool_], found: FloatArray) -> float:
    """IoU of a mask and one with values in [0, 1]: intersection by product; 1 when both are empty."""
    both = float(found[truth].sum())
    union = float(truth.sum()) + float(found.sum()) - both
    return both / union if union > 0 else 1.0


def mask_centers(labels: NDArray[np.uint8], num_parts: int) -> tuple[FloatArray, NDArray[np.bool_]]:
    """(K, 2) centres of the hard masks in normalised coordinates, and (K,) whether a part owns a pixel.

    A missing part has the image's centre, 0, as in the papers' evaluation.
    """
    height, width = labels.shape
    flat, size = labels.ravel(), num_parts + 1
    mass = np.bincount(flat, minlength=size)[1:]
    grid = normalised_grid(height, width).reshape(-1, 2)
    # (K,) sums of x and of y over each part's pixels
    sums = [np.bincount(flat, values, size)[1:] for values in grid.T]
    centers = np.stack(sums, axis=1) / np.maximum(mass, 1)[:, None]
    return centers.astype(np.float32), mass > 0


def center_errors(truth: FloatArray, found: FloatArray, match: NDArray[np.int64], seen: NDArray[np.bool_]) -> Numbers:
    """Distances between matched centres, as a fraction of the image side (normalised units are halves of it).

    `truth` (F, true, 2) and `found` (F, found, 2) normalised x, y; `seen` (F, true) chooses what counts.
    """
    matched = match >= 0
    distance = np.linalg.norm(truth[:, matched] - found[:, match[matched]], axis=-1) / 2
    return np.asarray(distance[seen[:, matched]], np.float64)


def angle_errors(truth: FloatArray, found: FloatArray) -> Numbers:
    """(...) degrees in [-90, 90) from the first axis of `truth` to that of `found`, both (..., 2, 3): an axis has no
    direction, so half a turn is no error."""
    angles = [np.arctan2(a[..., 1, 0], a[..., 0, 0]).astype(np.float64) for a in (truth, found)]
    return np.asarray((np.degrees(angles[1] - angles[0]) + 90) % 180 - 90)


def without_offset(degrees: Numbers) -> Numbers:
    """(F,) angles of axes in [-90, 90) relative to their own mean direction."""
    if not len(degrees):
        return degrees
    # the mean of doubled angles, halved: 89 and -89 degrees average to 90, not to 0
    mean = np.degrees(np.angle(np.exp(2j * np.radians(degrees)).mean())) / 2
    return np.asarray((degrees - mean + 90) % 180 - 90)


def log_scale_errors(truth: FloatArray, found: FloatArray) -> Numbers:
    """(..., 2) natural logarithm of found over true length of both axes of (..., 2, 3)."""
    lengths = [np.linalg.norm(a[..., :2].astype(np.float64), axis=-2) for a in (truth, found)]
    return np.asarray(np.log(np.maximum(lengths[1], 1e-9) / np.maximum(lengths[0], 1e-9)))


def rest_jitter(truth: FloatArray, found: FloatArray, threshold_px: float, min_frames: int = 5) -> list[float]:
    """Standard deviation in pixels of a found centre around the true one, for every stretch of at least `min_frames`
    frames in which the true centre moves by less than `threshold_px` per frame.

    `truth` and `found` (F, 2) are pixels of one part in consecutive frames, nan where excluded. The standard deviation
    is that of the distance: the root of the sum of both coordinates' variances.
    """
    steps = np.linalg.norm(np.diff(truth, axis=0), axis=1)
    # (F + 1,) whether the step into a frame is small; its changes are the starts and ends of stretches
    still = np.concatenate([[False], steps < threshold_px, [False]])
    edges = np.flatnonzero(np.diff(still.astype(np.int8)))
    stretches = [(start, end + 1) for start, end in edges.reshape(-1, 2).tolist()]
    deviation = (found - truth).astype(np.float64)
    return [float(np.sqrt(deviation[a:b].var(0).sum())) for a, b in stretches if b - a >= min_frames]


def identity_switches(best: NDArray[np.int64], clips: NDArray[np.int64]) -> tuple[int, int]:
    """Count how often a true part's best found part differs in the next frame, and the number of chances.

    `best` (F, true) is the found part, -1 if there is none or the part is hidden; `clips` (F,) is the clip of each
    frame. A chance is a part with a best one in two consecutive frames.
    """
    chances = (clips[1:] == clips[:-1])[:, None] & (best[1:] >= 0) & (best[:-1] >= 0)
    return int((chances & (best[1:] != best[:-1])).sum()), int(chances.sum())
