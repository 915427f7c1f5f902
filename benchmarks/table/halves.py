"""A published system's masks of the tai-chi clips: the lower half of each frame shows its parts in colours on white."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray
from train.judging.found import FoundParts
from train.labels.pictures import video_frames
from train.labels.values import EvaluationSet, LabelledFrame, LabelsError

WHITE = 200
"""A pixel is background if its darkest channel is brighter than this: the video's compression blurs borders."""
NUM_HUES = 10
"""Parts of the published model; their colours are evenly spaced hues."""


def published_parts(half: ByteArray) -> ByteArray:
    """(H, W) labels of (H, W, 3): 0 for white, else 1 + the tenth of the circle that the hue is nearest to."""
    hue = cv2.cvtColor(half, cv2.COLOR_RGB2HSV)[..., 0].astype(np.int64)  # 0 to 179
    part = np.rint(hue * NUM_HUES / 180).astype(np.int64) % NUM_HUES
    subject: NDArray[np.bool_] = half.min(axis=2) <= WHITE
    return np.where(subject, part + 1, 0).astype(np.uint8)


def published_pairs(labelled: EvaluationSet) -> Iterator[tuple[LabelledFrame, FoundParts]]:
    """Every labelled frame of stacked clips with the published masks of that frame. Raises LabelsError if the clips are
    not twice as high as their labelled part."""
    wanted: dict[int, list[LabelledFrame]] = {}
    for frame in labelled.read():
        wanted.setdefault(frame.clip, []).append(frame)
    for clip, frames in wanted.items():
        pictures = video_frames(labelled.sources[clip], [frame.index for frame in frames])
        for frame, (_, picture) in zip(frames, pictures, strict=True):
            height = len(frame.image)
            if len(picture) != 2 * height:
                raise LabelsError(f"{labelled.sources[clip].name} has no lower half with published masks")
            yield frame, as_found(published_parts(picture[height:]))


def as_found(labels: ByteArray) -> FoundParts:
    """Labels as parts; their poses are not known, and stand in the frame's middle."""
    height, width = labels.shape
    affine = np.array([[1, 0, width / 2], [0, 1, height / 2]], np.float32)
    return FoundParts((height, width), labels, np.repeat(affine[None], NUM_HUES, axis=0))
