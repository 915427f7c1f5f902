"""PartTracker: what the network says of each frame, to tracks over time in pixels of the displayed frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamparts.data import ByteArray, FloatArray, Frame, Parts, Tracks
from streamparts.geometry import Letterbox


@dataclass(frozen=True, slots=True)
class Visibility:
    """When a part counts as seen. The two levels differ so that a part near one of them does not flicker."""

    appear_score: float = 0.5
    """A hidden part is seen once its score reaches this ..."""
    appear_area: float = 4e-4
    """... and its area this share of the frame."""
    vanish_score: float = 0.3
    """A seen part is hidden once its score is below this ..."""
    vanish_area: float = 1e-4
    """... or its area below this share of the frame."""

    def __post_init__(self) -> None:
        if not (self.vanish_score <= self.appear_score and self.vanish_area <= self.appear_area):
            raise ValueError(f"a part must vanish at a lower level than it appears at, got {self}")


class PartTracker:
    """The memory of one video; make one per video. The same frames in the same order give the same tracks."""

    def __init__(self, names: tuple[str, ...], visibility: Visibility | None = None, undirected: bool = False) -> None:
        """`names` (K,) are the model's parts; `visibility` None takes the defaults. `undirected` says that the model
        gives axes without a direction (method "scops"): each keeps the direction it was last seen with."""
        self._names = names
        self._rule = visibility or Visibility()
        self._visible = np.zeros(len(names), np.bool_)
        self._undirected = undirected
        self._first_axes = np.zeros((len(names), 2), np.float32)

    def update(self, frame: Frame, letterbox: Letterbox, parts: Parts) -> Tracks:
        """Tracks of the next frame of the video. Raises ValueError if `parts` has another number of parts."""
        labels = _without_padding(parts.labels, letterbox)
        counts = np.bincount(labels.ravel(), minlength=len(self._names) + 1)[1:]
        areas = letterbox.areas_to_frame(counts.astype(np.float32))
        self._visible = self._see(parts, areas / (frame.height * frame.width))
        affines = letterbox.affines_to_frame(parts.affines)
        if self._undirected:
            affines = turn_back(affines, self._first_axes)
            self._first_axes = np.where(self._visible[:, None], affines[:, :, 0], self._first_axes)
        return Tracks(
            frame=frame,
            letterbox=letterbox,
            names=self._names,
            labels=labels,
            affines=affines,
            scores=parts.scores,
            areas=areas,
            visible=self._visible,
        )

    def _see(self, parts: Parts, shares: NDArray[np.floating]) -> NDArray[np.bool_]:
        rule = self._rule
        appears = (parts.scores >= rule.appear_score) & (shares >= rule.appear_area)
        stays = (parts.scores >= rule.vanish_score) & (shares >= rule.vanish_area)
        return np.where(self._visible, stays, appears)


def turn_back(affines: FloatArray, before: FloatArray) -> FloatArray:
    """Affines (K, 2, 3) whose axes have no direction, each turned by half a turn where its first axis thereby comes
    nearer to the one of `before` (K, 2); zeros there leave a part as it is."""
    away = (affines[:, :, 0] * before).sum(axis=1) < 0
    turned = affines.copy()
    turned[away, :, :2] *= -1
    return turned


def _without_padding(labels: ByteArray, letterbox: Letterbox) -> ByteArray:
    """What the network sees in the borders of its input is no part of the video."""
    if letterbox.inner_hw == letterbox.model_hw:
        return labels
    clean = np.zeros_like(labels)
    clean[letterbox.inner_slices] = labels[letterbox.inner_slices]
    return clean
