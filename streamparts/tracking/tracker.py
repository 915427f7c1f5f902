"""PartTracker: from the network's output for each frame to tracks over time, in pixels of the displayed frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray, FloatArray, require_shape
from streamparts.data import Frame, Parts, Tracks
from streamparts.geometry import Letterbox
from streamparts.tracking.pose_filter import PoseFilter
from streamparts.tracking.sides import Sides
from streamparts.tracking.skeleton import Skeleton
from streamparts.tracking.smoothing import Smoothing
from streamparts.tracking.swaps import SwapResolver

MEDIAN_PACE = 0.03
"""Relative step of the running median of a part's area per frame."""


@dataclass(frozen=True, slots=True)
class Visibility:
    """When a part counts as visible. Two levels prevent flicker."""

    appear_score: float = 0.5
    """Score from which a hidden part becomes visible."""
    appear_area: float = 4e-4
    """Area from which a hidden part becomes visible, as a share of the region that the network saw."""
    vanish_score: float = 0.3
    """Score below which a visible part becomes hidden."""
    vanish_area: float = 1e-4
    """Area below which a visible part becomes hidden, as a share of that region."""

    def __post_init__(self) -> None:
        if not (self.vanish_score <= self.appear_score and self.vanish_area <= self.appear_area):
            raise ValueError(f"the levels for hiding a part must be below those for showing it, got {self}")


class PartTracker:
    """The memory of one video; use one per video. The same frames in the same order give the same tracks."""

    def __init__(
        self,
        names: tuple[str, ...],
        visibility: Visibility | None = None,
        undirected: bool = False,
        *,
        smoothing: Smoothing | None = None,
        pairs: Sequence[tuple[int, int]] = (),
        skeleton: Skeleton | None = None,
    ) -> None:
        """`names` (K,) are the model's parts; `visibility` None is the default. `undirected` means that the model's
        axes have no direction (ModelSpec.undirected): each keeps the direction of its last visible pose.

        `smoothing` filters the poses over time; None leaves them unfiltered. `pairs` of parts that the network may
        confuse are kept apart, which needs smoothing. A `skeleton` places hidden parts, and adds joints.

        Raises SkeletonError if the skeleton has other parts, ValueError for pairs without smoothing.
        """
        if skeleton is not None:
            skeleton.require_parts(names)
        if pairs and smoothing is None:
            raise ValueError("mirrored pairs are kept apart by smoothing: also give smoothing")
        self._names = names
        self._rule = visibility or Visibility()
        self._undirected = undirected
        self._smoothing, self._pairs, self._skeleton = smoothing, tuple(pairs), skeleton
        self._segment: int | None = None
        self.forget()

    def forget(self) -> None:
        """Start over, as with a video's next segment: the following frames do not continue the previous ones."""
        self._visible = np.zeros(len(self._names), np.bool_)
        self._first_axes = np.zeros((len(self._names), 2), np.float32)
        self._typical_areas = np.zeros(len(self._names), np.float32)
        needed = self._smoothing or self._skeleton
        self._filter = PoseFilter(len(self._names), self._smoothing, self._skeleton) if needed else None
        self._swaps = SwapResolver(self._pairs)
        memory = self._smoothing.side_seconds if self._smoothing and self._pairs else 0.0
        self._sides = Sides(len(self._names), self._pairs, memory) if memory else None

    def update(self, frame: Frame, letterbox: Letterbox, parts: Parts, here: bool = True) -> Tracks:
        """Return the tracks of the next frame of the video. If the subject is not `here`, or the frame is damaged, no
        part is visible. Raises ValueError if `parts` has another number of parts, or, with smoothing, if the frame's
        time is not after the last one's of its segment."""
        require_shape("affines", parts.affines, (len(self._names), 2, 3))
        if frame.segment != self._segment:
            self.forget()
            self._segment = frame.segment
        labels, scores = _without_padding(parts.labels, letterbox), parts.scores
        affines, evidence = letterbox.affines_to_frame(parts.affines), parts.evidence
        # (K,) network's part of each part; the inverse permutation renames the labels
        order = self._assignment(frame, affines, scores)
        if (order != np.arange(len(order))).any():
            # a table of 1 + K entries, applied to every pixel; 0 stays background
            labels = np.concatenate([[0], np.argsort(order) + 1]).astype(np.uint8)[labels]
            affines, scores = affines[order], scores[order]
            evidence = None if evidence is None else evidence[order]
        # sides may be exchanged as a whole above, or pixel by pixel here
        is_told, certainty = here and not frame.damaged, None
        if self._sides:
            sided = self._sides.update(labels, letterbox, frame.pts_seconds, is_told)
            labels, source, certainty = sided.labels, sided.source, sided.certainty
            affines, scores = affines[source], scores[source]
            affines[:, :, 2] += sided.shift * letterbox.scale_xy
            evidence = None if evidence is None else evidence[source]
        areas = self._areas(labels, letterbox)
        height, width = letterbox.shown_hw
        self._visible = self._see(scores, areas / (height * width)) & is_told
        if self._undirected:
            # an ellipse turned by 180 degrees is the same ellipse
            affines = turn_back(affines, self._first_axes)
            self._first_axes = np.where(self._visible[:, None], affines[:, :, 0], self._first_axes)
        filled = np.zeros_like(self._visible)
        if self._filter:
            side_px = min(frame.height, frame.width)
            confidence = self._confidence(areas, scores if evidence is None else evidence[:, 1])
            found = self._filter.update(frame.pts_seconds, affines, confidence, self._visible, side_px)
            filled = self._filter.filled
            affines = found if self._smoothing else np.where(filled[:, None, None], found, affines)
        return Tracks(
            frame=frame,
            letterbox=letterbox,
            names=self._names,
            labels=labels,
            affines=affines,
            scores=scores,
            areas=areas,
            visible=self._visible,
            filled=filled if self._skeleton else None,
            joints=self._skeleton.joints_of(affines, scores, self._visible, filled) if self._skeleton else None,
            side_certainty=certainty,
        )

    def _areas(self, labels: ByteArray, letterbox: Letterbox) -> FloatArray:
        counts = np.bincount(labels.ravel(), minlength=len(self._names) + 1)[1:]
        return letterbox.areas_to_frame(counts.astype(np.float32))

    def _assignment(self, frame: Frame, affines: FloatArray, scores: FloatArray) -> NDArray[np.intp]:
        """(K,) the network's part for each part."""
        if frame.damaged or self._sides or not (self._pairs and self._filter):
            return np.arange(len(scores))
        expected, spread = self._filter.expected(frame.pts_seconds, min(frame.height, frame.width))
        order = self._swaps.resolve(affines[:, :, 2], expected, spread, scores >= self._rule.vanish_score)
        if len(self._swaps.mistaken):
            exchanged = np.arange(len(scores))
            exchanged[self._swaps.mistaken] = self._swaps.mistaken[:, ::-1]
            self._filter.exchange(exchanged)
            self._visible, self._typical_areas = self._visible[exchanged], self._typical_areas[exchanged]
            self._first_axes = self._first_axes[exchanged]
        return order

    def _confidence(self, areas: FloatArray, peaks: FloatArray) -> FloatArray:
        """(K,) in [0, 1]: a part's area relative to its running median, at most 1, times its largest probability. A
        part that is half hidden or uncertain has an unreliable measurement."""
        first = self._visible & (self._typical_areas == 0)
        self._typical_areas = np.where(first, areas, self._typical_areas)
        # a step up or down by a fixed share: settles where both are equally frequent, at the median
        nearer = np.exp(MEDIAN_PACE * np.sign(areas - self._typical_areas))
        self._typical_areas = np.where(self._visible, self._typical_areas * nearer, self._typical_areas)
        # (K,) 1 for a part that is as large as usual
        shares = np.minimum(1, areas / np.maximum(self._typical_areas, 1e-9))
        confidence: FloatArray = (shares * peaks).astype(np.float32)
        return confidence

    def _see(self, scores: FloatArray, shares: NDArray[np.floating]) -> NDArray[np.bool_]:
        rule = self._rule
        appears = (scores >= rule.appear_score) & (shares >= rule.appear_area)
        stays = (scores >= rule.vanish_score) & (shares >= rule.vanish_area)
        return np.where(self._visible, stays, appears)


def turn_back(affines: FloatArray, before: FloatArray) -> FloatArray:
    """For affines (K, 2, 3) whose axes have no direction: turn each by half a turn if that brings its first axis closer
    to `before` (K, 2); zeros there leave a part unchanged."""
    # (K,) the first axes point to opposite sides
    away = (affines[:, :, 0] * before).sum(axis=1) < 0
    turned = affines.copy()
    turned[away, :, :2] *= -1
    return turned


def _without_padding(labels: ByteArray, letterbox: Letterbox) -> ByteArray:
    """The borders of the network's input are not part of the video."""
    if letterbox.inner_hw == letterbox.model_hw:
        return labels
    clean = np.zeros_like(labels)
    clean[letterbox.inner_slices] = labels[letterbox.inner_slices]
    return clean
