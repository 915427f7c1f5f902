"""Compares followed subjects with labelled ones: detection and identity, counted as in CLEAR MOT (Bernardin and
Stiefelhagen 2008)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from streamparts.arrays import require_shape

Numbers = NDArray[np.float32] | NDArray[np.float64]
LOST = -1


@dataclass
class SubjectMatcher:
    """Matches subjects frame by frame and counts."""

    frames: int = 0
    """Frames of the video, including skipped ones."""
    labelled: int = 0
    """Labelled subjects over all evaluated frames."""
    found: int = 0
    """Labelled subjects matched with a followed one."""
    switches: int = 0
    """Number of times a labelled subject is matched with another followed one than in its last match."""
    _last: dict[int, int] = field(default_factory=dict)

    def update(self, truth: Numbers, found: Mapping[int, Numbers], limit: Numbers, steps: int = 1) -> list[int]:
        """Return the identity in `found`, centres (2,) by identity, of each labelled subject, LOST without one; `truth`
        (N, 2) are centres, nan if not in the frame, `limit` (N,) the largest distance that counts, and `steps` the
        number of frames since the last update.

        A match is kept while it is within the limit; the rest is matched with the smallest total distance.
        """
        require_shape("truth", truth, (None, 2))
        present = np.asarray(np.isfinite(truth).all(axis=1))
        out = [LOST] * len(truth)
        for number, identity in self._last.items():
            if present[number] and identity in found and _distance(truth[number], found[identity]) <= limit[number]:
                out[number] = identity
        self._match_rest(out, truth, found, limit, present)
        self.frames += steps
        self.labelled += int(present.sum())
        for number, identity in enumerate(out):
            if identity != LOST:
                self.found += 1
                self.switches += self._last.get(number, identity) != identity
                self._last[number] = identity
        return out

    def _match_rest(
        self, out: list[int], truth: Numbers, found: Mapping[int, Numbers], limit: Numbers, present: NDArray[np.bool_]
    ) -> None:
        rows = [number for number, identity in enumerate(out) if identity == LOST and present[number]]
        free = [identity for identity in found if identity not in out]
        if not rows or not free:
            return
        costs = np.array([[_distance(truth[number], found[identity]) for identity in free] for number in rows])
        far = costs > np.asarray(limit)[rows][:, None]
        for row, column in zip(*linear_sum_assignment(np.where(far, 1e9, costs)), strict=True):
            if not far[row, column]:
                out[rows[row]] = free[column]

    def section(self) -> dict[str, Any]:
        """Figures for the report."""
        return {
            "frames": self.frames,
            "found": self.found / self.labelled if self.labelled else None,
            "switches": self.switches,
            "switches_per_10000_frames": 10_000 * self.switches / self.frames if self.frames else None,
        }


def _distance(one: Numbers, other: Numbers) -> float:
    return float(np.hypot(*(np.asarray(one, np.float64) - other)))


def middle_and_size(points: Numbers) -> tuple[Numbers, float]:
    """Centre (2,) of the labelled points (L, 2) of one subject, and the longer side of their box; nan and 0 without
    points."""
    known = points[np.isfinite(points).all(1)]
    if not len(known):
        return np.full(2, np.nan), 0.0
    return known.mean(0), float(np.ptp(known, axis=0).max())
