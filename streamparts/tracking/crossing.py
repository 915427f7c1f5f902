"""Subjects of one kind that come close to each other: which pixels are whose, and whether they were mixed up."""

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
"""Squared distance of two subjects, in their joint standard deviations, from which they do not cover each other: two
like ellipses that touch have 8."""
REACH = 7.0
"""Squared standard deviations up to which pixels are a subject's."""
MET = 0.1
"""Subjects whose boxes overlap by this share of the smaller one may be mixed up from then on ..."""
FRAMES_APART = 5
"""... until they were apart in so many frames, in which they are compared with what each looked like."""
SURE = 0.1
"""By how much the other one must be more alike, in the mean of these frames, for an exchange."""
AT_ONCE = 1.0
"""Sum of that at which no more frames are waited for."""
ONE_AREA = 1.15
"""Two subjects that together show less than this many times the larger one's usual area are one ..."""
ONE_SECONDS = 1.5
"""... if that lasts so long."""


class Shape(NamedTuple):
    """Where a subject's pixels are: their mean (2,) and covariance (2, 2) in displayed pixels."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    def turned_like(self, seen: NDArray[np.float64]) -> NDArray[np.float64]:
        """(2, 2) a covariance of this one's size and of the direction of another one."""
        sizes = np.linalg.eigvalsh(self.covariance)
        axes = np.linalg.eigh(seen).eigenvectors
        turned: NDArray[np.float64] = (axes * sizes) @ axes.T
        return turned


def apart(own: Shape, others: Sequence[Shape]) -> float:
    """1 where no other subject covers this one, 0 where one lies at the same place."""
    ways = [(own.mean - other.mean, own.covariance + other.covariance) for other in others]
    nearest = min((float(way @ np.linalg.solve(both, way)) for way, both in ways), default=TOUCHING)
    return min(1.0, nearest / TOUCHING)


def of_others(own: Shape, others: Sequence[Shape], letterbox: Letterbox) -> Mask | None:
    """(H, W) the pixels of the model input that are within reach of another shape and nearer to it, in its own standard
    deviations, than to the subject's own. None where there is none."""
    points = _pixel_centers(letterbox)
    own_distances = _distances(own, points)
    theirs = np.zeros(letterbox.model_hw, np.bool_)
    for other in others:
        distances = _distances(other, points)
        theirs |= (distances < REACH) & (distances < own_distances)
    return theirs if theirs.any() else None


def painted_out(prepared: Prepared, mask: Mask) -> Prepared:
    """With the median colour of the picture's border in place of the pixels under the mask."""
    image = prepared.image.copy()
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    free = ~np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    image[mask] = np.median(border[free], axis=0) if free.any() else 0
    return replace(prepared, image=image)


@dataclass(slots=True)
class _Meeting:
    apart_frames: int = 0
    evidence: float = 0.0
    """Sum over these frames of how much better the exchange would fit."""
    one_since: float | None = None
    """Since when both together look like one."""


class Crossings:
    """Which pairs of subjects may have been mixed up."""

    def __init__(self) -> None:
        self._meetings: dict[tuple[int, int], _Meeting] = {}

    def is_open(self, number: int) -> bool:
        """Whether it is not sure who this subject is."""
        return any(number in pair for pair in self._meetings)

    def forget(self, number: int) -> None:
        """The subject was lost, or found anew."""
        self._meetings = {pair: meeting for pair, meeting in self._meetings.items() if number not in pair}

    def overlapping(self, pair: tuple[int, int], areas: float, largest: float, seconds: float) -> bool:
        """The pair overlaps and shows so much area in all, of which the larger one alone has `largest` as a rule.
        Whether this has been one subject for too long to be two."""
        meeting = self._meetings.setdefault(pair, _Meeting())
        meeting.apart_frames, meeting.evidence = 0, 0.0
        if areas >= ONE_AREA * largest:
            meeting.one_since = None
        elif meeting.one_since is None:
            meeting.one_since = seconds
        return meeting.one_since is not None and seconds - meeting.one_since >= ONE_SECONDS

    def apart(self, pair: tuple[int, int], straight: float, crossed: float) -> bool:
        """The pair is apart, and so unlike what each looked like, as it is and if exchanged. Whether to exchange."""
        meeting = self._meetings.get(pair)
        if meeting is None:
            return False
        meeting.apart_frames += 1
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
    (a, b), (_, d) = np.linalg.inv(shape.covariance)
    x, y = off[..., 0], off[..., 1]
    squared: NDArray[np.float64] = a * x * x + 2 * b * x * y + d * y * y
    return squared
