"""Scores motion against the rest of the image: optical flow over several spans of time, minus the camera's motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray, FloatArray

from ..frames.camera import grey
from ..frames.spread import spread
from .footage import ClipShot

SPANS = (4, 10, 20, 40, 80, 140)
"""Distances between the frames of a pair, in frames of the file, in both directions."""
MORE_SPANS = (1, 2, *SPANS)
"""The same for shots with a moving camera, whose scene passes by within a few frames."""
CAMERA_MOVES = 1.5
"""Motion of a camera, in pixels of the working images over SPANS[0] frames, from which it counts as moving."""
SAMPLE = 8
"""Number of frames by which the spans of a shot are chosen."""
SHORT = 20
"""Number of frames up to which a shot's first and last frame are used, too."""
WORKING_AREA = 128 * 128
"""Number of pixels of the images between which flow is computed."""
MOST_MOTION = 3.0
"""Motion, in those pixels, from which the score is saturated."""
MOST_CHANGE = 40.0
"""Change, in grey levels, from which the score is saturated."""
NOISE = 2.0
"""Change, in grey levels, that is ignored: noise of camera and codec."""
STRIDE = 4
"""Spacing of the flow vectors to which the camera's motion is fitted."""
SAME = 1.0
"""Maximum deviation, in pixels, of a point that moves with the camera."""
LOST = 0.35
"""Minimum share of points that move with the camera; pairs below it are ignored."""


@dataclass(frozen=True)
class Evidence:
    """Motion around one frame."""

    score: FloatArray
    """(h, w) in [0, 1]: square root of the product of the shares of MOST_MOTION and MOST_CHANGE, averaged over the
    spans."""
    agreeing: float
    """Share of the image that moves with the camera, averaged over the spans."""


@cache
def flow_method() -> Any:
    """OpenCV's DIS optical flow: `calc(first, second, None)` of grey (h, w) uint8 gives (h, w, 2) pixels."""
    create = cv2.DISOpticalFlow_create  # type: ignore[attr-defined]  # not in OpenCV's stubs
    return create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)


def working_hw(hw: tuple[int, int]) -> tuple[int, int]:
    scale = float(np.sqrt(WORKING_AREA / (hw[0] * hw[1])))
    return max(16, round(hw[0] * scale)), max(16, round(hw[1] * scale))


def working_picture(picture: ByteArray) -> ByteArray:
    height, width = working_hw(picture.shape[:2])
    smaller = height < picture.shape[0]
    return np.asarray(
        cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR), np.uint8
    )


def spans_of(shot: ClipShot, rows: Sequence[int]) -> tuple[int, ...]:
    """Return MORE_SPANS if the camera moves in most of the frames `rows`, otherwise SPANS."""
    moved = []
    for row in [rows[i] for i in spread(len(rows), SAMPLE)]:
        here = working_picture(shot.picture(row))
        for other in partners(shot, row, SPANS[:1]):
            camera, _ = camera_flow(flow_to(here, working_picture(shot.picture(other))))
            moved.append(float(np.median(np.linalg.norm(camera, axis=2))))
    return MORE_SPANS if moved and np.median(moved) >= CAMERA_MOVES else SPANS


def flow_to(here: ByteArray, there: ByteArray) -> FloatArray:
    """Return (h, w, 2) optical flow from `here` to `there`, in pixels."""
    return np.asarray(flow_method().calc(grey(here), grey(there), None), np.float32)


def motion_evidence(shot: ClipShot, row: int, spans: Sequence[int] = SPANS) -> Evidence:
    """Score the frame `row` of a shot; the score is 0 if the camera could not be followed in any pair of frames."""
    here = working_picture(shot.picture(row))
    scores, agreeing = [], []
    for other in partners(shot, row, spans):
        there = lit_alike(working_picture(shot.picture(other)), here)
        flow = flow_to(here, there)
        camera, share = camera_flow(flow)
        agreeing.append(share)
        if share >= LOST:
            scores.append(pair_score(here, there, flow, camera))
    height, width = shot.picture(row).shape[:2]
    if not scores:
        return Evidence(np.zeros((height, width), np.float32), float(np.mean(agreeing)))
    # a mean over spans of time: slow subjects move only over long ones, and fast ones leave the image there
    score, size = np.asarray(np.mean(scores, axis=0), np.float32), (width, height)
    return Evidence(np.asarray(cv2.resize(score, size), np.float32), float(np.mean(agreeing)))


def partners(shot: ClipShot, row: int, spans: Sequence[int]) -> list[int]:
    """Return the rows of the frames that lie about `spans` frames before and after, each once."""
    numbers, found = shot.rows, set()
    for span in spans:
        for wanted in (numbers[row] - span, numbers[row] + span):
            if numbers[0] <= wanted <= numbers[-1]:
                found.add(int(np.abs(numbers - wanted).argmin()))
    found |= {0, len(numbers) - 1} if len(numbers) <= SHORT else set()
    return sorted(found - {row})


def pair_score(here: ByteArray, there: ByteArray, flow: FloatArray, camera: FloatArray) -> FloatArray:
    """Return (h, w) scores in [0, 1] of places that move against the camera and also look different from where the
    camera's motion predicts them. Each cue alone has errors of its own: flow spreads around a subject, and brightness
    changes anywhere."""
    motion = np.minimum(np.linalg.norm(flow - camera, axis=2), MOST_MOTION) / MOST_MOTION
    y, x = np.indices(motion.shape, np.float32)
    expected = cv2.remap(
        there, x + camera[..., 0], y + camera[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    # `there`, as the camera's motion alone would show it from `here`
    lit = lit_alike(np.asarray(expected, np.uint8), here)
    difference = np.maximum(cv2.absdiff(here, lit).max(2).astype(np.float32) - NOISE, 0)
    # the geometric mean: both cues must agree
    return np.asarray(np.sqrt(motion * np.minimum(difference, MOST_CHANGE) / MOST_CHANGE), np.float32)


def lit_alike(picture: ByteArray, model: ByteArray) -> ByteArray:
    """Scale the brightness of each channel to that of the model image, by the ratio of most pixels: lamps flicker,
    cameras adapt."""
    ratio = (model.astype(np.float32) + 4) / (picture.astype(np.float32) + 4)
    gain = np.clip(np.median(ratio, axis=(0, 1)), 0.5, 2.0)
    return np.asarray(np.clip(np.round(picture * gain), 0, 255), np.uint8)


def camera_flow(flow: FloatArray) -> tuple[FloatArray, float]:
    """Return (h, w, 2) the affine motion of most of the image, and the share of its points that follow it."""
    height, width = flow.shape[:2]
    y, x = np.indices((height, width))
    # (h, w, 3): an affine motion is linear in these
    basis = np.stack([x / width - 0.5, y / height - 0.5, np.ones((height, width))], -1)
    points = basis[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE].reshape(-1, 3)
    moved = flow[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE].reshape(-1, 2)
    weights = first_guess(points, moved)
    for _ in range(4):
        # (3, 2): x, y and 1 -> motion along x and along y, from the points that follow the camera
        fit = np.linalg.lstsq(points * weights[:, None], moved * weights[:, None], rcond=None)[0]
        distance = np.linalg.norm(moved - points @ fit, axis=1)
        # reweighted least squares with a Cauchy loss: the subject's points count less in each round
        weights = 0.5 / (0.5 + distance**2)
    return np.asarray(basis @ fit, np.float32), float((distance < SAME).mean())


def first_guess(points: NDArray[np.float64], moved: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return weights (N,) of the points that follow the best of many affine motions, each fitted to three points."""
    place = points[:, :2].astype(np.float32) * 100
    cv2.setRNGSeed(0)
    scaled = moved / max(1.0, float(np.abs(moved).max())) * 10
    threshold = 10 * SAME / max(1.0, float(np.abs(moved).max()))
    affine, inliers = cv2.estimateAffine2D(place, place + scaled, ransacReprojThreshold=threshold, maxIters=300)
    if affine is None or inliers.sum() < 3:
        return np.ones(len(points))
    return np.asarray(inliers[:, 0], np.float64)
