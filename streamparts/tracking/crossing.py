"""Subjects of one kind near each other: assigns pixels, and detects swapped identities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamparts.geometry import Letterbox
from streamparts.tracking.extent import Mask
from streamparts.tracking.segment import Prepared

TOUCHING = 6.0
"""Squared distance of two subjects, in their joint standard deviations, from which they do not overlap: two equal
ellipses that touch have 8."""
REACH = 7.0
"""Squared standard deviations within which pixels belong to a subject."""
MET = 0.1
"""Overlap of two subjects' boxes, as a share of the smaller one, from which they may be swapped."""
FRAMES_APART = 5
"""Number of frames apart in which they are compared with their earlier appearance, before they count as distinct."""
SURE = 0.1
"""Mean advantage of the swapped assignment over these frames that is required for a swap."""
AT_ONCE = 1.0
"""Total advantage at which the decision is made early."""
ONE_AREA = 1.15
"""Two subjects are merged if together they show less than this multiple of the larger one's usual area."""
ONE_SECONDS = 1.5
"""Seconds for which that must hold."""


class Shape(NamedTuple):
    """Mean (2,) and covariance (2, 2) of a subject's pixels, in displayed pixels."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    def turned_like(self, seen: NDArray[np.float64]) -> NDArray[np.float64]:
        """(2, 2) a covariance with this one's size and another one's direction."""
        # (2,) ascending, like the axes: V diag(sizes) V^T
        sizes = np.linalg.eigvalsh(self.covariance)
        axes = np.linalg.eigh(seen).eigenvectors
        turned: NDArray[np.float64] = (axes * sizes) @ axes.T
        return turned


def apart(own: Shape, others: Sequence[Shape]) -> float:
    """1 if no other subject covers this one, 0 if one is at the same position."""
    # squared distance d^T (S + S')^-1 d
    ways = [(own.mean - other.mean, own.covariance + other.covariance) for other in others]
    nearest = min((float(way @ np.linalg.solve(both, way)) for way, both in ways), default=TOUCHING)
    return min(1.0, nearest / TOUCHING)


def of_others(own: Shape, others: Sequence[Shape], letterbox: Letterbox) -> Mask | None:
    """(H, W) the pixels of the model input within reach of another shape and nearer to it, in its standard deviations,
    than to the subject's own. None without any."""
    # (H, W, 2) in displayed pixels
    points = _pixel_centers(letterbox)
    own_distances = _distances(own, points)
    theirs = np.zeros(letterbox.model_hw, np.bool_)
    for other in others:
        distances = _distances(other, points)
        # (H, W) a pixel belongs to the subject whose ellipse it lies deeper in
        theirs |= (distances < REACH) & (distances < own_distances)
    return theirs if theirs.any() else None


def painted_out(prepared: Prepared, mask: Mask) -> Prepared:
    """Replace the pixels under the mask with the median colour of the image's border."""
    image = prepared.image.copy()
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    free = ~np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    image[mask] = np.median(border[free], axis=0) if free.any() else 0
    return replace(prepared, image=image)


@dataclass(slots=True)
class _Meeting:
    apart_frames: int = 0
    evidence: float = 0.0
    """Total advantage of the swapped assignment over these frames."""
    one_since: float | None = None
    """Time since which both together look like one."""


class Crossings:
    """Pairs of subjects that may have been swapped."""

    def __init__(self) -> None:
        self._meetings: dict[tuple[int, int], _Meeting] = {}

    def is_open(self, number: int) -> bool:
        """True if this subject's identity is uncertain."""
        return any(number in pair for pair in self._meetings)

    def forget(self, number: int) -> None:
        """The subject was lost, or found again."""
        self._meetings = {pair: meeting for pair, meeting in self._meetings.items() if number not in pair}

    def overlapping(self, pair: tuple[int, int], areas: float, largest: float, seconds: float) -> bool:
        """The pair overlaps and shows this total area, of which the larger one alone usually has `largest`. Returns
        True if this has been one subject for too long to be two."""
        meeting = self._meetings.setdefault(pair, _Meeting())
        meeting.apart_frames, meeting.evidence = 0, 0.0
        if areas >= ONE_AREA * largest:
            meeting.one_since = None
        elif meeting.one_since is None:
            meeting.one_since = seconds
        return meeting.one_since is not None and seconds - meeting.one_since >= ONE_SECONDS

    def apart(self, pair: tuple[int, int], straight: float, crossed: float) -> bool:
        """The pair is apart; given its dissimilarity to the earlier appearances, direct and swapped, return True to
        swap."""
        meeting = self._meetings.get(pair)
        if meeting is None:
            return False
        meeting.apart_frames += 1
        # positive: after a swap, both look more like themselves
        meeting.evidence += straight - crossed
        if meeting.apart_frames < FRAMES_APART and abs(meeting.evidence) < AT_ONCE:
            return False
        del self._meetings[pair]
        return meeting.evidence > SURE * FRAMES_APART

    def have_met(self, pair: tuple[int, int]) -> bool:
        return pair in self._meetings


def _pixel_centers(letterbox: Letterbox) -> NDArray[np.float64]:
    height, width = letterbox.model_hw
    y, x = np.mgrid[:height, :width] + 0.5
    return letterbox.model_to_frame(np.stack([x, y], axis=-1)).astype(np.float64)


def _distances(shape: Shape, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared, in standard deviations."""
    off = points - shape.mean
    # x^T S^-1 x written out, which is faster for (H, W, 2) points
    (a, b), (_, d) = np.linalg.inv(shape.covariance)
    x, y = off[..., 0], off[..., 1]
    squared: NDArray[np.float64] = a * x * x + 2 * b * x * y + d * y * y
    return squared
