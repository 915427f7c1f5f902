"""Steadiness of a student's parts on clips without labels: under a rotation of the image, from frame to frame, and as
rigidly moving pieces. Each figure is in [0, 1]; 1 is best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from streamparts.arrays import ByteArray, FloatArray
from streamparts.models.layers import invert
from streamparts.models.student import Student

from ..frames.clips import open_clip
from ..frames.spread import spread
from ..frames.transforms import similarity, to_images, warp_images
from ..subject.crops import each_crop
from ..subject.motion import flow_method
from ..subject.values import SubjectClip

PAIRS = 32
"""Maximum number of frame pairs, over all clips."""
STEP = 3
"""Distance of the two frames of a pair: enough for slow subjects to move."""
TURN, SCALE = 15.0, 0.85
"""Rotation in degrees and scale of the compared view."""
LEAST_PIXELS = 24
"""Minimum pixels of a part for its motion to be fitted."""
LEAST_MOTION = 0.1
"""Variance of the subject's flow, in square pixels, below which a pair is not used for motion."""


@dataclass(frozen=True)
class Steadiness:
    """The figures, means over pairs of frames."""

    agreement: float
    """IoU of the parts before and after rotating the image, mean over the visible parts."""
    consistency: float
    """Share of the subject's pixels with the same part STEP frames later, along the optical flow."""
    explained_motion: float | None
    """Share of the variance of the optical flow on the subject that one affine motion per part explains; None if almost
    nothing moves."""
    foreground: float
    """Share of pixels with a part; neither good nor bad in itself."""


def neighbouring_frames(subjects: Sequence[SubjectClip], side: int) -> ByteArray:
    """(N, 2, S, S, 3) pairs of frames STEP apart, both cropped to the first one's region. Raises VideoError."""
    out: list[ByteArray] = []
    for number, clip in enumerate(subjects):
        mine = PAIRS * (number + 1) // len(subjects) - PAIRS * number // len(subjects)
        total = len(open_clip(clip.clip))
        usable = np.flatnonzero(clip.found & (clip.rows + STEP < total))
        for i in usable[spread(len(usable), mine)].tolist():
            rows = np.array([clip.rows[i], clip.rows[i] + STEP])
            out.append(np.stack(list(each_crop(clip.clip, rows, clip.regions[[i, i]], side))))
    return np.stack(out)


@torch.no_grad()
def steadiness(student: Student, pairs: ByteArray) -> Steadiness:
    """Compute the figures of `pairs` (N, 2, S, S, 3) from neighbouring_frames."""
    student.eval()
    device = next(student.parameters()).device
    images = [to_images(torch.from_numpy(np.ascontiguousarray(pairs[:, k])).to(device)) for k in (0, 1)]
    # (N, S, S) labels of both frames
    first, second = (student(x).logits.argmax(1) for x in images)
    angle = torch.full((len(pairs),), math.radians(TURN), device=device)
    transform = similarity(angle, torch.full_like(angle, SCALE), angle.new_zeros(len(pairs), 2))
    # probabilities are turned back, not labels, so that borders are interpolated
    turned = warp_images(student(warp_images(images[0], transform)).logits.softmax(1), invert(transform)).argmax(1)
    labels = [x.cpu().numpy().astype(np.uint8) for x in (first, second, turned)]
    flows = [_flow(*pair) for pair in pairs]
    explained = [_explained(flow, label) for flow, label in zip(flows, labels[0], strict=True)]
    moving = [value for value in explained if value is not None]
    return Steadiness(
        agreement=float(np.mean([_mean_iou(a, b) for a, b in zip(labels[0], labels[2], strict=True)])),
        consistency=float(np.mean([_carried(*each) for each in zip(labels[0], labels[1], flows, strict=True)])),
        explained_motion=float(np.mean(moving)) if moving else None,
        foreground=float((labels[0] > 0).mean()),
    )


def _flow(first: ByteArray, second: ByteArray) -> FloatArray:
    """(S, S, 2) pixels from the first frame to the second."""
    grey = [np.asarray(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)) for x in (first, second)]
    return np.asarray(flow_method().calc(*grey, None), np.float32)


def _mean_iou(first: ByteArray, second: ByteArray) -> float:
    parts = np.unique(np.concatenate([first[first > 0], second[second > 0]]))
    values = [((first == k) & (second == k)).sum() / ((first == k) | (second == k)).sum() for k in parts]
    return float(np.mean(values)) if len(values) else 1.0


def _carried(first: ByteArray, second: ByteArray, flow: FloatArray) -> float:
    """Share of the first frame's subject pixels with equal labels."""
    rows, columns = np.nonzero(first)
    if not len(rows):
        return 1.0
    # (M, 2) pixels along x and y
    moved = flow[rows, columns]
    last = len(first) - 1
    to_rows = np.clip(np.rint(rows + moved[:, 1]), 0, last).astype(int)
    to_columns = np.clip(np.rint(columns + moved[:, 0]), 0, last).astype(int)
    return float((second[to_rows, to_columns] == first[rows, columns]).mean())


def _explained(flow: FloatArray, labels: ByteArray) -> float | None:
    """1 - residual / variance of the flow on the subject, with one affine motion per part; None if almost nothing
    moves."""
    on_subject = flow[labels > 0]
    if len(on_subject) < LEAST_PIXELS or on_subject.var(0).sum() < LEAST_MOTION:
        return None
    left = 0.0
    for part in np.unique(labels[labels > 0]):
        rows, columns = np.nonzero(labels == part)
        # within-part sum of squares; 1 - left / total is R^2
        left += _residual(flow[rows, columns], rows, columns)
    return float(1 - left / (on_subject.var(0).sum() * len(on_subject)))


def _residual(moved: FloatArray, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> float:
    """Sum of squares after least-squares fits of one affine motion per part; of small parts, after subtracting their
    mean."""
    if len(rows) < LEAST_PIXELS:
        return float(((moved - moved.mean(0)) ** 2).sum())
    # (M, 3) @ (3, 2): an affine motion is linear in x, y and 1
    inputs = np.column_stack([columns, rows, np.ones(len(rows))])
    fitted = inputs @ np.linalg.lstsq(inputs, moved, rcond=None)[0]
    return float(((moved - fitted) ** 2).sum())
