"""PartTracker: what the network says of each frame, to tracks over time in pixels of the displayed frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamparts.data import ByteArray, Frame, Parts, Tracks
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

    def __init__(self, names: tuple[str, ...], visibility: Visibility | None = None) -> None:
        """`names` (K,) are the model's parts; `visibility` None takes the defaults."""
        self._names = names
        self._rule = visibility or Visibility()
        self._visible = np.zeros(len(names), np.bool_)

    def update(self, frame: Frame, letterbox: Letterbox, parts: Parts) -> Tracks:
        """Tracks of the next frame of the video. Raises ValueError if `parts` has another number of parts."""
        labels = _without_padding(parts.labels, letterbox)
        counts = np.bincount(labels.ravel(), minlength=len(self._names) + 1)[1:]
        areas = letterbox.areas_to_frame(counts.astype(np.float32))
        self._visible = self._see(parts, areas / (frame.height * frame.width))
        return Tracks(
            frame=frame,
            letterbox=letterbox,
            names=self._names,
            labels=labels,
            affines=letterbox.affines_to_frame(parts.affines),
            scores=parts.scores,
            areas=areas,
            visible=self._visible,
        )

    def _see(self, parts: Parts, shares: NDArray[np.floating]) -> NDArray[np.bool_]:
        rule = self._rule
        appears = (parts.scores >= rule.appear_score) & (shares >= rule.appear_area)
        stays = (parts.scores >= rule.vanish_score) & (shares >= rule.vanish_area)
        return np.where(self._visible, stays, appears)


def _without_padding(labels: ByteArray, letterbox: Letterbox) -> ByteArray:
    """What the network sees in the borders of its input is no part of the video."""
    if letterbox.inner_hw == letterbox.model_hw:
        return labels
    clean = np.zeros_like(labels)
    clean[letterbox.inner_slices] = labels[letterbox.inner_slices]
    return clean
