"""Figures of found parts against exact ones: areas, sides, and how often a side changes over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray
from streamparts.bundle.spec import pairs_by_name
from train.judging.metrics import Confusion

Counts = NDArray[np.int64]
LEAST_SEEN = 0.3
"""Visible share from which a limb counts for switches of side."""


def named(found: Sequence[str], true: Sequence[str]) -> NDArray[np.int64]:
    """(T,) the found part with the name of each true one; -1 without one."""
    return np.array([list(found).index(name) if name in found else -1 for name in true], np.int64)


def as_true(labels: ByteArray, match: NDArray[np.int64], num_found: int) -> ByteArray:
    """Labels of found parts as those of the true ones they are matched with; T + 1 for the rest."""
    table = np.full(num_found + 1, len(match) + 1, np.uint8)
    table[0] = 0
    known = np.flatnonzero(match >= 0)
    table[match[known] + 1] = known + 1
    return table[labels]


@dataclass
class Tally:
    """Counts over all frames of a set."""

    parts: tuple[str, ...]
    counts: Counts = field(init=False)
    """(1 + T, 2 + T) pixels, true labels by found ones as true ones; the last column has parts without a match."""
    frames: int = 0
    steps: int = 0
    """Pairs of consecutive frames of a clip."""
    switches: int = 0
    _sides: dict[tuple[int, int], bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.counts = np.zeros((len(self.parts) + 1, len(self.parts) + 2), np.int64)

    def begin_clip(self) -> None:
        """Forget sides; the first frame of a clip is no step."""
        self._sides.clear()
        self.steps -= 1

    def add(self, truths: Sequence[ByteArray], seen: Sequence[NDArray[np.floating]], found: ByteArray) -> None:
        """Add a frame: for each subject its labels (H, W) and visible shares (T,), and the found labels (H, W) of all
        subjects, as true ones."""
        size = len(self.parts)
        self.counts += Confusion.of(np.max(truths, axis=0), found, size, size + 1).counts
        self.frames, self.steps = self.frames + 1, self.steps + 1
        for subject, (truth, shares) in enumerate(zip(truths, seen, strict=True)):
            own = Confusion.of(truth, found, size, size + 1).counts
            for number, (left, right) in enumerate(pairs_by_name(self.parts)):
                if min(shares[left], shares[right]) >= LEAST_SEEN:
                    self._see(subject, number, own[np.ix_((left + 1, right + 1), (left + 1, right + 1))])

    def _see(self, subject: int, number: int, own: Counts) -> None:
        """Note whether a pair has its own sides, by its (2, 2) pixels; a tie leaves it as it was."""
        right, wrong = int(np.trace(own)), int(own.sum() - np.trace(own))
        if right == wrong:
            return
        before = self._sides.get((subject, number))
        self.switches += before is not None and before != (right > wrong)
        self._sides[subject, number] = right > wrong

    def figures(self) -> dict[str, float | int]:
        """All figures of the set."""
        square = self.counts[:, :-1]
        pairs = pairs_by_name(self.parts)
        joined = _joined(self.counts, pairs)
        limbs = [square[np.ix_((one + 1, other + 1), (one + 1, other + 1))] for one, other in pairs]
        right, whole = sum(int(np.trace(limb)) for limb in limbs), sum(int(limb.sum()) for limb in limbs)
        background = self.counts[0]
        return {
            "frames": self.frames,
            "foreground IoU": round(Confusion(self.counts).foreground_iou(), 3),
            "part IoU": round(_mean_iou(self.counts), 3),
            "part IoU, sides merged": round(_mean_iou(joined), 3),
            "side right": round(right / max(whole, 1), 3),
            "switches of side per 10,000 frames": round(10_000 * self.switches / max(self.steps, 1)),
            "false parts, % of the background": round(100 * float(background[1:].sum() / max(background.sum(), 1)), 2),
        }


def _joined(counts: Counts, pairs: Sequence[tuple[int, int]]) -> Counts:
    """Counts with the rows and columns of right parts added to those of left ones and removed."""
    rows, columns = (np.arange(n) for n in counts.shape)
    for one, other in pairs:
        rows[other + 1] = columns[other + 1] = one + 1
    out = np.zeros_like(counts)
    np.add.at(out, (rows[:, None], columns[None, :]), counts)
    return out[np.unique(rows)][:, np.unique(columns)]


def _mean_iou(counts: Counts) -> float:
    """Mean over true parts of the IoU with the found part of the same number."""
    iou = Confusion(counts).iou()
    return float(iou.diagonal().mean())
