"""The papers' landmark metric: one linear regression per landmark coordinate from the parts' centres, mean absolute
error on frames that it did not see, summed over coordinates. All of it in pictures squeezed to 256x256."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression

SIDE = 256
"""Pixels; Gao et al. and those before them state errors at this size."""
FEW_CLIPS = 4
"""With fewer clips, each is cut into BLOCKS, so that both halves hold some of all."""
BLOCKS = 8

Numbers = NDArray[np.float64]


def split_frames(clips: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """(F,) which frames fit the regression: about half. Whole clips, or of few clips whole blocks of consecutive
    frames, fall on one side, drawn by `seed`: neighbours in time would give the answer away. One is left to test."""
    units = clips if len(np.unique(clips)) >= FEW_CLIPS else _blocks(clips)
    fit, wanted = np.zeros(len(clips), np.bool_), len(clips) / 2
    for unit in np.random.default_rng(seed).permutation(np.unique(units))[:-1]:
        if fit.sum() >= wanted:
            break
        fit |= units == unit
    return fit


def _blocks(clips: NDArray[np.int64]) -> NDArray[np.int64]:
    """(F,) number of each frame's block, different in every clip."""
    out = np.empty_like(clips)
    for number, clip in enumerate(np.unique(clips)):
        rows = np.flatnonzero(clips == clip)
        out[rows] = number * BLOCKS + np.arange(len(rows)) * BLOCKS // len(rows)
    return out


def regress(features: Numbers, truth: Numbers, fit: NDArray[np.bool_]) -> Numbers:
    """(F, C) predictions of every coordinate from `features` (F, D), by least squares with intercept on the rows in
    `fit` where `truth` (F, C) is not nan; nan in all rows where fewer than two such rows are left."""
    out = np.full(truth.shape, np.nan)
    for column, values in enumerate(truth.T):
        rows = fit & np.isfinite(values)
        if rows.sum() >= 2:
            out[:, column] = LinearRegression().fit(features[rows], values[rows]).predict(features)
    return out


def constant(truth: Numbers, fit: NDArray[np.bool_]) -> Numbers:
    """(F, C) the mean of the rows in `fit`: what a regression without features says."""
    return regress(np.zeros((len(truth), 1)), truth, fit)


@dataclass(frozen=True)
class LandmarkErrors:
    """Errors on the frames that did not fit; nan without any coordinate."""

    sum_px256: float
    """Sum over coordinates of the mean absolute error, in pixels of a 256x256 picture: the papers' number. It grows
    with the number of landmarks; between sets compare the next."""
    mean_px256: float
    """The same per coordinate."""
    mean_px: float
    """The same in pixels of the original frames."""
    num_coordinates: int
    """Coordinates with labels on both sides of the split; the others count nowhere."""


def landmark_errors(
    predicted: Numbers, truth: Numbers, test: NDArray[np.bool_], px_per_px256: Numbers
) -> LandmarkErrors:
    """`predicted` and `truth` (F, C) at 256; `test` (F,); `px_per_px256` (F, C) original pixels per pixel at 256."""
    errors = np.abs(predicted - truth)[test]
    counts = np.isfinite(errors).sum(0)
    used = counts > 0
    at_256 = np.nansum(errors, 0)[used] / counts[used]
    original = np.nansum(errors * px_per_px256[test], 0)[used] / counts[used]
    if not used.any():
        return LandmarkErrors(math.nan, math.nan, math.nan, 0)
    return LandmarkErrors(float(at_256.sum()), float(at_256.mean()), float(original.mean()), int(used.sum()))


@dataclass(frozen=True)
class LandmarkScore:
    """The regression from one kind of centres."""

    errors: LandmarkErrors
    predicted_px: Numbers
    """(F, L, 2) in pixels of the original frames; of fitted frames too."""


def score_landmarks(
    features_px: Numbers | None, landmarks_px: Numbers, sizes_wh: Numbers, fit: NDArray[np.bool_]
) -> LandmarkScore:
    """Regress `landmarks_px` (F, L, 2) from `features_px` (F, K, 2), both in pixels of frames of `sizes_wh` (F, 2);
    without features, the constant predictor."""
    to_256 = SIDE / sizes_wh[:, None]
    num_frames = len(landmarks_px)
    truth = (landmarks_px * to_256).reshape(num_frames, -1)
    if features_px is None:
        predicted = constant(truth, fit)
    else:
        predicted = regress((features_px * to_256).reshape(num_frames, -1), truth, fit)
    px_per_px256 = np.broadcast_to(1 / to_256, landmarks_px.shape)
    errors = landmark_errors(predicted, truth, ~fit, px_per_px256.reshape(num_frames, -1))
    return LandmarkScore(errors, predicted.reshape(landmarks_px.shape) * px_per_px256)
