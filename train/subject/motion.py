"""What moves against the rest of the picture: optical flow over many spans of time, the camera's motion taken out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray, FloatArray

from ..frames.camera import grey
from .footage import ClipShot

SPANS = (4, 10, 20, 40, 80, 140)
"""Frames of the file by which the pictures of a pair lie apart, in both directions."""
WORKING_AREA = 128 * 128
"""Pixels of the pictures whose flow is taken."""
MOST_MOTION = 3.0
"""Pixels of those from which more motion says no more."""
MOST_CHANGE = 40.0
"""Grey levels, the same of change."""
NOISE = 2.0
"""Grey levels of change that say nothing: the camera's noise and the codec's."""
STRIDE = 4
"""The camera is fitted to the flow of every fourth pixel in both directions."""
SAME = 1.0
"""Pixels within which a point moves as the camera says."""
LOST = 0.35
"""A pair of which fewer points than this share move as one says nothing."""


@dataclass(frozen=True)
class Evidence:
    """What the motion around one frame says."""

    score: FloatArray
    """(h, w) in [0, 1]: root of (share of MOST_MOTION) times (share of MOST_CHANGE), mean over the spans."""
    agreeing: float
    """Share of the picture that moves with the camera, mean over the spans."""


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


def motion_evidence(shot: ClipShot, row: int) -> Evidence:
    """Of the frame `row` of a shot; the score is 0 where no pair of frames has a camera that could be followed."""
    here = working_picture(shot.picture(row))
    scores, agreeing = [], []
    for other in partners(shot, row):
        there = lit_alike(working_picture(shot.picture(other)), here)
        flow = np.asarray(flow_method().calc(grey(here), grey(there), None), np.float32)
        camera, share = camera_flow(flow)
        agreeing.append(share)
        if share >= LOST:
            scores.append(pair_score(here, there, flow, camera))
    height, width = shot.picture(row).shape[:2]
    if not scores:
        return Evidence(np.zeros((height, width), np.float32), float(np.mean(agreeing)))
    score, size = np.asarray(np.mean(scores, axis=0), np.float32), (width, height)
    return Evidence(np.asarray(cv2.resize(score, size), np.float32), float(np.mean(agreeing)))


def partners(shot: ClipShot, row: int) -> list[int]:
    """The rows of the frames that lie about SPANS frames before and after, each once."""
    numbers, found = shot.rows, set()
    for span in SPANS:
        for wanted in (numbers[row] - span, numbers[row] + span):
            if numbers[0] <= wanted <= numbers[-1]:
                found.add(int(np.abs(numbers - wanted).argmin()))
    found |= {0, len(numbers) - 1} if len(numbers) <= 2 * SPANS[1] else set()
    return sorted(found - {row})


def pair_score(here: ByteArray, there: ByteArray, flow: FloatArray, camera: FloatArray) -> FloatArray:
    """(h, w) in [0, 1]. A place that moves against the camera and also looks otherwise where the camera says it should
    be: each alone has its own errors, flow around a subject, brightness anywhere."""
    motion = np.minimum(np.linalg.norm(flow - camera, axis=2), MOST_MOTION) / MOST_MOTION
    y, x = np.indices(motion.shape, np.float32)
    expected = cv2.remap(
        there, x + camera[..., 0], y + camera[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    lit = lit_alike(np.asarray(expected, np.uint8), here)
    difference = np.maximum(cv2.absdiff(here, lit).max(2).astype(np.float32) - NOISE, 0)
    return np.asarray(np.sqrt(motion * np.minimum(difference, MOST_CHANGE) / MOST_CHANGE), np.float32)


def lit_alike(picture: ByteArray, model: ByteArray) -> ByteArray:
    """The picture with each channel's brightness brought to the model's, by the ratio that most pixels have: lamps
    flicker, cameras adapt."""
    ratio = (model.astype(np.float32) + 4) / (picture.astype(np.float32) + 4)
    gain = np.clip(np.median(ratio, axis=(0, 1)), 0.5, 2.0)
    return np.asarray(np.clip(np.round(picture * gain), 0, 255), np.uint8)


def camera_flow(flow: FloatArray) -> tuple[FloatArray, float]:
    """(h, w, 2) the affine motion that most of the picture shares, and the share of its points that have it."""
    height, width = flow.shape[:2]
    y, x = np.indices((height, width))
    basis = np.stack([x / width - 0.5, y / height - 0.5, np.ones((height, width))], -1)
    points = basis[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE].reshape(-1, 3)
    moved = flow[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE].reshape(-1, 2)
    weights = first_guess(points, moved)
    for _ in range(4):
        fit = np.linalg.lstsq(points * weights[:, None], moved * weights[:, None], rcond=None)[0]
        distance = np.linalg.norm(moved - points @ fit, axis=1)
        weights = 0.5 / (0.5 + distance**2)
    return np.asarray(basis @ fit, np.float32), float((distance < SAME).mean())


def first_guess(points: NDArray[np.float64], moved: NDArray[np.float32]) -> NDArray[np.float64]:
    """Weights (N,) of the points that the best of many affine motions, each of three points, has."""
    place = points[:, :2].astype(np.float32) * 100
    cv2.setRNGSeed(0)
    scaled = moved / max(1.0, float(np.abs(moved).max())) * 10
    threshold = 10 * SAME / max(1.0, float(np.abs(moved).max()))
    affine, inliers = cv2.estimateAffine2D(place, place + scaled, ransacReprojThreshold=threshold, maxIters=300)
    if affine is None or inliers.sum() < 3:
        return np.ones(len(points))
    return np.asarray(inliers[:, 0], np.float64)
