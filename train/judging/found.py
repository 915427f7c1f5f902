"""The parts that a network finds in one image, as values for evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray, FloatArray, require_shape
from streamparts.data import Frame, Tracks
from streamparts.geometry import Letterbox, normalised_grid
from streamparts.sources.rescale import Rescaler

from .metrics import mask_centers

CERTAIN_BACKGROUND = 0.8
"""Probability above which Gao et al. count a pixel as background, in evaluation only."""
FACTORS = "factors.json"
"""The file that identifies a folder of train.dff."""


class RawParts(NamedTuple):
    """Output of a network, at the size of its input."""

    labels: ByteArray
    """(h, w)"""
    affines: FloatArray
    """(K, 2, 3) canonical -> normalised coordinates."""
    masks: FloatArray | None
    """(1 + K, h, w) probabilities, background first, if the network gives them; exported graphs have only hard labels.
    """


@dataclass(frozen=True)
class FoundParts:
    """The parts of one frame."""

    frame_hw: tuple[int, int]
    labels: ByteArray
    """(h, w) labels of the frame, without letterbox borders, at the model's resolution."""
    affines: FloatArray
    """(K, 2, 3) canonical -> pixels of the frame."""
    masks: FloatArray | None = None
    """(1 + K, h, w) probabilities, background first."""

    def __post_init__(self) -> None:
        if self.masks is not None:
            require_shape("masks", self.masks, (1 + len(self.affines), *self.labels.shape))

    @classmethod
    def of_tracks(cls, tracks: Tracks) -> FoundParts:
        """Convert tracks of the runtime, whether the network saw the whole frame or a crop."""
        hw = (tracks.frame.height, tracks.frame.width)
        return cls(hw, labels_over_frame(tracks.labels, tracks.letterbox, hw), tracks.affines)

    def labels_at_frame(self) -> ByteArray:
        """(H, W) labels at the frame's size."""
        return np.asarray(cv2.resize(self.labels, self.frame_hw[::-1], interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)

    def hard_centers(self) -> FloatArray:
        """(K, 2) pixels of the frame, from the masks; a missing part is at the frame's centre."""
        centers, _ = mask_centers(self.labels, len(self.affines))
        return np.asarray((centers + 1) * np.array(self.frame_hw[::-1]) / 2, np.float32)

    def soft_centers(self) -> FloatArray | None:
        """(K, 2) pixels of the frame: each soft mask's centre of mass, Eq. 1 of Hung et al. 2019; None without them."""
        if self.masks is None:
            return None
        parts = self.masks[1:].reshape(len(self.affines), -1)
        grid = normalised_grid(*self.labels.shape).reshape(-1, 2)
        centers = parts @ grid / np.maximum(parts.sum(axis=1), np.float32(1e-6))[:, None]
        return np.asarray((centers + 1) * np.array(self.frame_hw[::-1]) / 2, np.float32)

    def foreground(self) -> FloatArray:
        """(H, W) in [0, 1]: the union of all parts, upscaled bilinearly."""
        return self._scaled(self.labels > 0)

    def uncertain_foreground(self) -> FloatArray | None:
        """(H, W) in [0, 1]: all pixels except those with a background probability above CERTAIN_BACKGROUND; None
        without soft masks."""
        if self.masks is None:
            return None
        return self._scaled((self.labels > 0) | (self.masks[0] <= CERTAIN_BACKGROUND))

    def _scaled(self, subject: NDArray[np.bool_]) -> FloatArray:
        scaled = cv2.resize(subject.astype(np.float32), self.frame_hw[::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(scaled, np.float32)


def labels_over_frame(labels: ByteArray, box: Letterbox, frame_hw: tuple[int, int]) -> ByteArray:
    """Crop labels at the network's input to the frame: without borders if the network saw the whole frame, otherwise at
    the frame's size, with background outside the region."""
    rows, columns = box.inner_slices
    corners = box.frame_to_model(np.array([[0, 0], frame_hw[::-1]], np.float64))
    if np.allclose(corners, [[columns.start, rows.start], [columns.stop, rows.stop]], atol=1e-3):
        return labels[rows, columns]
    down, across = (np.repeat((np.arange(n) + 0.5)[:, None], 2, axis=1) for n in frame_hw)
    y, x = box.frame_to_model(down)[:, 1], box.frame_to_model(across)[:, 0]
    seen_y, seen_x = (y >= rows.start) & (y < rows.stop), (x >= columns.start) & (x < columns.stop)
    out = np.zeros(frame_hw, np.uint8)
    taken = labels[np.floor(y[seen_y]).astype(int)][:, np.floor(x[seen_x]).astype(int)]
    out[np.ix_(seen_y, seen_x)] = taken
    return out


@dataclass(frozen=True)
class Finder:
    """A network ready to run."""

    description: dict[str, object]
    """Description for the report."""
    part_names: tuple[str, ...]
    input_hw: tuple[int, int]
    run: Callable[[ByteArray], RawParts]
    """Runs an image of the input's size."""

    def __call__(self, image: ByteArray) -> FoundParts:
        """Find the parts of an (H, W, 3) RGB image of any size, letterboxed as in the runtime."""
        hw = height, width = image.shape[:2]
        box = Letterbox.fit(hw, self.input_hw)
        frame = Frame(0, 0, Fraction(1), image, 0, height, width, decoded_at=0.0)
        raw = self.run(box.pad(Rescaler().rgb(frame, box.inner_hw)))
        masks = None if raw.masks is None else raw.masks[:, *box.inner_slices]
        return FoundParts(hw, raw.labels[box.inner_slices], box.affines_to_frame(raw.affines), masks)
