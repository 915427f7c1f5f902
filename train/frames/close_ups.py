"""Crops that follow the subject, with its mask in each. The trainers use them if train/subject found the subject; they
form a ClipFolder like any other, with the subject's masks as silhouettes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray

if TYPE_CHECKING:
    from .readers import Frames

NEAR_REACH = 1.5
"""Width of the image that a training crop may be cut from, relative to the subject's crop."""
FAR_REACH = 4.0
"""Width of the image that shows the subject in its surroundings, relative to the subject's crop."""
FILL = 1 / 8
"""Radius of the surroundings that the background behind the subject is estimated from, as a share of the image's side.
"""


@dataclass(frozen=True)
class ChosenRows:
    """Some rows of an array of frames, in place."""

    frames: Frames
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> ByteArray:
        return self.frames[int(self.rows[index])]


@dataclass(frozen=True)
class Middle:
    """The centre of wider frames: the subject's crop within an image NEAR_REACH times as wide."""

    frames: Frames
    side: int
    """S in pixels."""

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> ByteArray:
        frame = self.frames[index]
        edge = (len(frame) - self.side) // 2
        return frame[edge : edge + self.side, edge : edge + self.side]


@dataclass(frozen=True)
class CloseUp:
    """Position of the subject in the frames of a clip, each of which is a crop around it."""

    masks: Frames
    """(F, M, M) uint8: probability of the subject, 255 is certain."""
    known: Frames
    """(F, M, M) uint8 or bool: where the mask is reliable."""
    near: Frames | None = None
    """(F, C, C, 3) the crop with its surroundings, NEAR_REACH times as wide; only for the student."""
    far: Frames | None = None
    """(F, S, S, 3) the same, FAR_REACH times as wide."""
    alone: bool = True
    """False if the clip has other subjects: nothing is known outside the crop."""

    def maps(self, index: int, side: int) -> ByteArray:
        """Return (S, S, 3) of frame `index`: the mask, 255 where it is known, and zeros, as an image that can be warped
        like the frame."""
        out = np.zeros((side, side, 3), np.uint8)
        for channel, values in enumerate((self.masks[index], self.known[index])):
            stored = np.asarray(values, np.uint8) * np.uint8(255 if channel and values.dtype == np.bool_ else 1)
            shrinks = side < len(stored)
            method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            out[..., channel] = cv2.resize(stored, (side, side), interpolation=method)
        return out

    def behind(self, index: int, frame: ByteArray) -> tuple[ByteArray, NDArray[np.bool_]]:
        """Return the (S, S, 3) background estimated from the surroundings, and (S, S) where the mask is known."""
        maps = self.maps(index, len(frame))
        return filled(frame, maps[..., 0]), maps[..., 1] > KNOWN


KNOWN = 250
"""Value, of 255, from which a pixel of a warped map counts as known."""


def filled(frame: ByteArray, mask: ByteArray) -> ByteArray:
    """Return (S, S, 3) `frame` with its subject, by `mask` (S, S), painted over with a blur of the surroundings."""
    weight = 1 - mask.astype(np.float32)[..., None] / 255
    sigma = FILL * len(frame)
    around = cv2.GaussianBlur(frame * weight, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    share = cv2.GaussianBlur(weight, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)[..., None]
    blurred = around / np.maximum(share, 1e-3)
    return np.asarray(np.clip(weight * frame + (1 - weight) * blurred, 0, 255), np.uint8)


def widened(regions: NDArray[np.float32], reach: float) -> NDArray[np.float32]:
    """Return (F, 4) left, top, width, height of regions with the same centre, `reach` times as large."""
    corner, size = regions[:, :2], regions[:, 2:]
    return np.concatenate([corner - size * np.float32((reach - 1) / 2), size * np.float32(reach)], axis=1)


def stacked_maps(close_ups: Sequence[CloseUp | None], indices: Sequence[int], side: int) -> ByteArray | None:
    """Stack the (B, S, S, 3) maps of a batch; None if its clips are not crops."""
    maps = [one.maps(index, side) for one, index in zip(close_ups, indices, strict=True) if one is not None]
    return np.stack(maps) if len(maps) == len(close_ups) else None
