"""Estimates the background of every frame of a clip, also if the camera moves.

The camera is tracked (camera.py). The frames, overlaid in the coordinates of the middle frame, give a large median
image. Each frame is then aligned with that image directly, so that errors do not accumulate over the clip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray

from .camera import (
    MEDIAN_FRAMES,
    Box,
    Matrix,
    change_of,
    corners,
    follow_camera,
    grey,
    largest_shift,
    projected,
    view,
)
from .spread import spread

MOSAIC_FRAMES = 150
"""Number of frames overlaid if the camera moves; each position is visible in only a few of them."""
MIN_SEEN = 5
"""A position visible in fewer frames is unknown: a median of so few may show the subject."""
MAX_AREA = 16.0
"""Maximum area of the large image relative to a frame; a camera that turns further is not tracked."""
DIFFERENT = 18
"""Difference in grey levels from which a pixel is not explained by its background."""
STILL = 0.01
"""A camera whose images shift by less than this share of their shorter side, in 19 of 20 frames, is still."""
MIN_CHANGE = 1.5
"""Median change in grey levels over the clip below which the camera is assumed to be still."""
MAX_REST = 0.92
"""Upper bound of the remaining share of that change after compensating the camera's motion, if the camera moves."""
MIN_GAIN = 0.2
"""Alternative criterion for a moving camera: how much more of the pixels its background explains than a still
camera's."""
MAX_UNEXPLAINED = 0.5
"""A frame with a larger unexplained share has no known background."""

NO_BOX = Box(0, 0, 0, 0)

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Scenery:
    """The background of every frame of a clip. `to_picture` is None for a still camera."""

    picture: ByteArray
    """(S, S, 3) median over time; for a moving camera (H, W, 3), everything it saw."""
    trusted: bool = True
    """False if the whole image moves in a way that could not be tracked."""
    seen: Mask | None = None
    """(H, W) True where enough frames show the position."""
    to_picture: NDArray[np.float32] | None = None
    """(F, 3, 3) from a frame's inner box to `picture`; NaN for frames that could not be placed."""
    box: Box = NO_BOX

    @property
    def moves(self) -> bool:
        return self.to_picture is not None

    def behind(self, index: int, frame: ByteArray) -> tuple[ByteArray, Mask]:
        """(S, S, 3) background of frame `index`, which is `frame`, and (S, S) True where it is known.

        If the camera moves, edges are slightly displaced: of the background's values within a 64th of the image, the
        one nearest to the frame's is used.
        """
        known = np.full(frame.shape[:2], self.trusted)
        if self.to_picture is None or self.seen is None:
            return self.picture, known
        background, matrix = frame.copy(), self.to_picture[index].astype(np.float64)
        inner, inner_known = self.box.crop(background), self.box.crop(known)
        if np.isnan(matrix).any():
            inner_known[:] = False
            return background, known
        # (h, w) True where all pixels that are interpolated were seen often enough
        inner_known &= view(self.seen.astype(np.uint8) * 255, matrix, inner.shape[:2]) == 255
        picture = view(self.picture, matrix, inner.shape[:2])
        near = np.ones((2 * max(1, round(len(frame) / 64)) + 1,) * 2, np.uint8)
        # minimum and maximum over the neighbourhood: clipping takes the nearest value between them
        inner[:] = np.clip(inner, cv2.erode(picture, near), cv2.dilate(picture, near))
        return background, known


def inner_box(frames: ByteArray) -> Box:
    """The part of (F, S, S, 3) that is not always black."""
    lit = np.asarray(frames.max(axis=(0, 3)) > 16)
    rows, columns = np.flatnonzero(lit.any(1)), np.flatnonzero(lit.any(0))
    if not len(rows):
        return Box(0, frames.shape[1], 0, frames.shape[2])
    return Box(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)


def find_scenery(frames: ByteArray, *, follow: bool = True) -> Scenery:
    """Determine whether the camera moves, and the background of (F, S, S, 3) frames in either case; without `follow`,
    that of a moving camera is not estimated."""
    sample = frames[spread(len(frames), MEDIAN_FRAMES)]
    median = np.median(sample, axis=0).astype(np.uint8)
    box = inner_box(sample)
    still = Scenery(median, box=box)
    if min(box.bottom - box.top, box.right - box.left) < 16:
        return still
    rest = unexplained(still, frames)
    if not follow:
        return replace(still, trusted=rest < MAX_UNEXPLAINED)
    pictures = [grey(box.crop(frame)) for frame in frames]
    path = follow_camera(pictures)
    change = change_of(pictures, path)
    if largest_shift(path, box) < STILL * min(pictures[0].shape) or change.before < MIN_CHANGE:
        return replace(still, trusted=rest < MAX_UNEXPLAINED)
    moving = lay_out(frames, path, box)
    left = 1.0 if moving is None else unexplained(moving, frames)
    if change.after > MAX_REST * change.before and left > rest - MIN_GAIN:
        return replace(still, trusted=rest < MAX_UNEXPLAINED)
    return moving if moving is not None and left < MAX_UNEXPLAINED else replace(still, trusted=False)


def unexplained_share(scenery: Scenery, index: int, frame: ByteArray) -> float:
    """Share of a frame's known pixels that differ from their background; 1 if too few are known."""
    background, known = scenery.behind(index, frame)
    background, known = scenery.box.crop(background), scenery.box.crop(known)
    different = cv2.absdiff(scenery.box.crop(frame), background).max(axis=-1) > DIFFERENT
    return float(different[known].mean()) if known.mean() > 0.2 else 1.0


def unexplained(scenery: Scenery, frames: ByteArray) -> float:
    """Mean of `unexplained_share` over some frames."""
    return float(np.mean([unexplained_share(scenery, i, frames[i]) for i in spread(len(frames), MEDIAN_FRAMES)]))


def lay_out(frames: ByteArray, path: NDArray[np.float64], box: Box) -> Scenery | None:
    """Compute the size of the large image and each frame's position in it; None if it would be too large."""
    scenery = mosaic(frames, path, box)
    for _ in range(2):
        if scenery is None or scenery.to_picture is None:
            return None
        # each round aligns to a sharper image
        aligned = [align(scenery, i, frames[i]) for i in range(len(frames))]
        scenery = mosaic(frames, np.stack(aligned), box)
    return scenery


def mosaic(frames: ByteArray, path: NDArray[np.float64], box: Box) -> Scenery | None:
    """Overlay the frames by `path` (F, 3, 3), in an image that contains them all."""
    placed = np.flatnonzero(~np.isnan(path).any((1, 2)))
    if not len(placed):
        return None
    reach = projected(path[placed], corners(box))
    low, high = np.floor(reach.min((0, 2))), np.ceil(reach.max((0, 2))) + 1
    width, height = (high - low).astype(int).tolist()
    if not 0 < width * height < MAX_AREA * (box.bottom - box.top) * (box.right - box.left):
        return None
    # so that the top-left corner of everything seen is (0, 0)
    path = np.array([[1, 0, -low[0]], [0, 1, -low[1]], [0, 0, 1]]) @ path
    chosen = placed[spread(len(placed), MOSAIC_FRAMES)]
    # (N, H, W, 3): frames that do not show a position stay white there, and sort behind the others
    layers = np.full((len(chosen), height, width, 3), 255, np.uint8)
    count = np.zeros((height, width), np.intp)
    for layer, index in zip(layers, chosen, strict=True):
        image = box.crop(frames[index])
        covered = cv2.warpPerspective(np.full(image.shape[:2], 255, np.uint8), path[index], (width, height)) == 255
        layer[covered] = cv2.warpPerspective(image, path[index], (width, height))[covered]
        count += covered
    layers.sort(axis=0)
    # (H, W) the median's index among the `count` lowest layers
    middle = np.maximum(count - 1, 0) // 2
    picture = np.take_along_axis(layers, middle[None, :, :, None], axis=0)[0]
    return Scenery(picture, seen=count >= MIN_SEEN, to_picture=path.astype(np.float32), box=box)


def align(scenery: Scenery, index: int, frame: ByteArray) -> Matrix:
    """(3, 3) frame -> large image: the homography that explains the frame best, found near the known one from pixels
    outside the subject. NaN if the frame is not explained, the same matrix if no better one is found."""
    assert scenery.to_picture is not None and scenery.seen is not None
    matrix: Matrix = scenery.to_picture[index].astype(np.float64)
    if np.isnan(matrix).any():
        return matrix
    background, known = scenery.behind(index, frame)
    subject = (cv2.absdiff(frame, background).max(axis=-1) > DIFFERENT) & known
    if unexplained_share(scenery, index, frame) > MAX_UNEXPLAINED:
        return np.full((3, 3), np.nan)
    # the subject and its rim do not take part
    spot = cv2.dilate(scenery.box.crop(subject.astype(np.uint8)), np.ones((5, 5), np.uint8))
    hidden = cv2.warpPerspective(spot, matrix, scenery.seen.shape[::-1])
    usable = (scenery.seen & (hidden == 0)).astype(np.uint8)
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 1e-4)
    try:
        _, better = cv2.findTransformECC(
            grey(scenery.box.crop(frame)), grey(scenery.picture), matrix.astype(np.float32),
            cv2.MOTION_HOMOGRAPHY, criteria, usable, 3,
        )  # fmt: skip
    except cv2.error:
        return matrix
    # a jump of the corners by a tenth of the frame is a wrong optimum
    moved = projected(better.astype(np.float64), corners(scenery.box)) - projected(matrix, corners(scenery.box))
    return np.asarray(better, np.float64) if np.abs(moved).max() < 0.1 * min(frame.shape[:2]) else matrix
