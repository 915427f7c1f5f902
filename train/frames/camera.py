"""Estimates the camera's motion in a clip from the motion shared by most of the frame.

Matrices map OpenCV's pixel indices (pixel centres at whole numbers) of the frames without letterbox.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray

from .spread import spread

MEDIAN_FRAMES = 49
"""Number of frames, spread over the clip, whose median is the background of a still camera."""
MIN_POINTS = 12
"""Minimum number of points that must agree on a motion."""
MIN_AGREEING = 0.35
"""Minimum share of the points that must agree."""

Matrix = NDArray[np.float64]
Pixel = TypeVar("Pixel", np.uint8, np.bool_)


class Box(NamedTuple):
    """Rows and columns of the image inside its letterbox."""

    top: int
    bottom: int
    left: int
    right: int

    def crop(self, image: NDArray[Pixel]) -> NDArray[Pixel]:
        """(S, S, ...) -> (h, w, ...)."""
        return image[self.top : self.bottom, self.left : self.right]


def view(picture: ByteArray, matrix: Matrix, hw: Sequence[int]) -> ByteArray:
    """Render the part of the image that a frame of size `hw` shows; black outside."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpPerspective(picture, matrix, (hw[1], hw[0]), flags=flags), np.uint8)


def grey(image: ByteArray) -> ByteArray:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def blurred(picture: ByteArray) -> ByteArray:
    return np.asarray(cv2.blur(picture, (3, 3)), np.uint8)


def corners(box: Box) -> NDArray[np.float64]:
    """(3, 4) homogeneous corners of the inner box."""
    right, bottom = box.right - box.left - 1, box.bottom - box.top - 1
    return np.array([[0, right, right, 0], [0, 0, bottom, bottom], [1, 1, 1, 1]], np.float64)


def projected(path: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply (..., 3, 3) to (3, N) homogeneous points: (..., 2, N)."""
    # (..., 3, N), divided by the third row
    moved = path @ points
    return np.asarray(moved[..., :2, :] / moved[..., 2:, :])


def largest_shift(path: NDArray[np.float64], box: Box) -> float:
    """Return the largest shift of the corners over the clip, in pixels, without the 5 % of frames that move most; 0 if
    tracking failed."""
    placed = path[~np.isnan(path).any((1, 2))]
    # (F,) the corners move most in a similarity
    shift = np.abs(projected(placed, corners(box)) - corners(box)[:2]).max((1, 2))
    return float(np.quantile(shift, 0.95))


class Change(NamedTuple):
    """Difference to the middle frame in grey levels: medians over the pixels, robust against the subject, averaged over
    some frames."""

    before: float
    after: float
    """The difference with the camera's motion compensated."""


def change_of(pictures: Sequence[ByteArray], path: NDArray[np.float64]) -> Change:
    """Measure how much of the change between grey images (h, w) the camera's motion explains."""
    middle = blurred(pictures[len(pictures) // 2])
    before, after = [], []
    for index in spread(len(pictures), MEDIAN_FRAMES):
        picture, hw = blurred(pictures[index]), middle.shape
        before.append(np.median(cv2.absdiff(picture, middle)))
        after.append(before[-1])
        if not np.isnan(path[index]).any():
            matrix = np.linalg.inv(path[index])
            # only pixels that both frames show are compared
            covered = view(np.full(hw, 255, np.uint8), matrix, hw) == 255
            if covered.mean() > 0.2:
                after[-1] = np.median(cv2.absdiff(view(picture, matrix, hw), middle)[covered])
    return Change(float(np.mean(before)), float(np.mean(after)))


def follow_camera(frames: Sequence[ByteArray]) -> NDArray[np.float64]:
    """Estimate (F, 3, 3) similarities from every grey frame to the middle one; NaN from the frame at which tracking
    fails."""
    path = np.full((len(frames), 3, 3), np.nan)
    middle = len(frames) // 2
    path[middle] = np.eye(3)
    # away from the middle in both directions; errors add up along half the clip only
    for order in (range(middle + 1, len(frames)), range(middle - 1, -1, -1)):
        key, motion = middle, np.eye(3)
        for index in order:
            before = index - 1 if index > middle else index + 1
            found = motion_between(frames[key], frames[index], motion)
            if found is None and key != before:
                # the key frame is too far away: compare with the frame next to this one
                key, motion = before, np.eye(3)
                found = motion_between(frames[key], frames[index], motion)
            if found is None:
                break
            motion = found.motion
            # frame -> key -> middle
            path[index] = path[key] @ np.linalg.inv(motion)
            if found.agreeing < 0.6:
                key, motion = index, np.eye(3)
    return path


class CameraMotion(NamedTuple):
    """Motion of the image between two frames."""

    motion: Matrix
    """(3, 3) similarity from the first frame to the second."""
    agreeing: float
    """Share of all points, including lost ones, that follow this motion."""


def motion_between(first: ByteArray, second: ByteArray, guess: Matrix) -> CameraMotion | None:
    """Estimate the similarity that most points of the first grey image follow, near `guess`; None if too few agree."""
    side = min(first.shape)
    start = cv2.goodFeaturesToTrack(first, 300, 0.002, max(3.0, side / 18), blockSize=5)
    if start is None or len(start) < MIN_POINTS:
        return None
    expected = cv2.perspectiveTransform(start.astype(np.float64), guess).astype(np.float32)
    window, flags = (2 * max(5, side // 16) + 1,) * 2, cv2.OPTFLOW_USE_INITIAL_FLOW
    end, there, _ = cv2.calcOpticalFlowPyrLK(first, second, start, expected, winSize=window, maxLevel=2, flags=flags)
    again, back, _ = cv2.calcOpticalFlowPyrLK(second, first, end, start.copy(), winSize=window, maxLevel=2, flags=flags)
    # a point is kept if it is tracked forth and back to within half a pixel
    kept = (np.asarray(there) + np.asarray(back) == 2)[:, 0] & (np.abs(again - start).max(axis=(1, 2)) < 0.5)
    if kept.sum() < MIN_POINTS:
        return None
    cv2.setRNGSeed(0)
    affine, inliers = cv2.estimateAffinePartial2D(start[kept], end[kept], ransacReprojThreshold=0.6, maxIters=500)
    if affine is None or inliers.sum() < max(MIN_POINTS, MIN_AGREEING * kept.sum()):
        return None
    return CameraMotion(np.vstack([affine, [0, 0, 1]]), float(inliers.sum() / len(start)))
