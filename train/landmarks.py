"""The papers' landmark metric: one linear regression per landmark coordinate from the parts' centres, mean absolute
error on frames that it did not see, summed over coordinates. All of it in pictures squeezed to 256x256.

Hung et al. 2019 (SCOPS) state distances instead, as a share of one within the same picture: that between two landmarks
(the eyes), or the sides of a box. Their regression is the same one written otherwise, `regress_standardised`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

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
    units = clips if len(np.unique(clips)) >= FEW_CLIPS else blocks(clips)
    fit, wanted = np.zeros(len(clips), np.bool_), len(clips) / 2
    for unit in np.random.default_rng(seed).permutation(np.unique(units))[:-1]:
        if fit.sum() >= wanted:
            break
        fit |= units == unit
    return fit


def blocks(clips: NDArray[np.int64]) -> NDArray[np.int64]:
    """(F,) number of each frame's block of BLOCKS, different in every clip."""
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


def regress_standardised(features: Numbers, truth: Numbers, fit: NDArray[np.bool_]) -> Numbers:
    """As `regress`, in the form of SCOPS's evaluation: features and coordinate are standardised by the rows that fit,
    least squares without intercept, un-standardised. The same predictions wherever least squares has one solution;
    with more features than rows, the one of smallest norm differs, for the norm is that of other units."""
    out = np.full(truth.shape, np.nan)
    for column, values in enumerate(truth.T):
        rows = fit & np.isfinite(values)
        if rows.sum() >= 2:
            inputs, (targets, mean, scale) = _standardised(features, rows)[0], _standardised(values, rows)
            solution = np.linalg.lstsq(inputs[rows], targets[rows], rcond=None)[0]
            out[:, column] = inputs @ solution * scale + mean
    return out


def _standardised(values: Numbers, rows: NDArray[np.bool_]) -> tuple[Numbers, Numbers, Numbers]:
    """`values` less the mean of `rows` over their deviation, and these two; what is constant stays in its unit."""
    mean, deviation = values[rows].mean(axis=0), values[rows].std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0)
    return (values - mean) / scale, mean, scale


def constant(truth: Numbers, fit: NDArray[np.bool_]) -> Numbers:
    """(F, C) the mean of the rows in `fit`: what a regression without features says."""
    return regress(np.zeros((len(truth), 1)), truth, fit)


@dataclass(frozen=True)
class Normaliser:
    """What distances are measured in: that between two landmarks, or the box about all of them."""

    pair: tuple[int, int] | None = None
    """Indices of the landmarks; None for the box."""

    @classmethod
    def parse(cls, text: str, names: Sequence[str]) -> Normaliser:
        """ "box", or two names or indices as "A,B". Raises ValueError."""
        if text == "box":
            return cls()
        match [_index(word.strip(), names) for word in text.split(",")]:
            case [int(one), int(other)] if one != other:
                return cls((one, other))
        raise ValueError(f"cannot normalise by {text!r}: write box, or two of the landmarks {', '.join(names)}")

    def sizes(self, landmarks: Numbers) -> Numbers:
        """(F, 2) the units of x and y for `landmarks` (F, L, 2); nan where they are not labelled or have no extent."""
        if self.pair:
            between = landmarks[:, self.pair[0]] - landmarks[:, self.pair[1]]
            units = np.repeat(np.linalg.norm(between, axis=1)[:, None], 2, axis=1)
        else:
            units = np.fmax.reduce(landmarks, axis=1) - np.fmin.reduce(landmarks, axis=1)
        return np.where(units > 0, units, np.nan)


def _index(word: str, names: Sequence[str]) -> int | None:
    if word in names:
        return names.index(word)
    return int(word) if word.isdecimal() and int(word) < len(names) else None


def normalised_percent(predicted: Numbers, truth: Numbers, test: NDArray[np.bool_], normaliser: Normaliser) -> float:
    """Mean over the images in `test` of the mean over their landmarks of the distance, in percent of the images' own
    `normaliser`; `predicted` and `truth` (F, L, 2). A landmark without label does not count, nor does an image without
    unit; nan where nothing is left."""
    units = normaliser.sizes(truth)[:, None]
    distances = np.linalg.norm((predicted - truth) / units, axis=2)[test]
    counts = np.isfinite(distances).sum(axis=1)
    used = counts > 0
    return float(100 * np.mean(np.nansum(distances[used], axis=1) / counts[used])) if used.any() else math.nan


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
    normalised_percent: float | None = None
    """SCOPS's figure, see `normalised_percent`; None without a Normaliser."""


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
    features_px: Numbers | None,
    landmarks_px: Numbers,
    sizes_wh: Numbers,
    fit: NDArray[np.bool_],
    normaliser: Normaliser | None = None,
) -> LandmarkScore:
    """Regress `landmarks_px` (F, L, 2) from `features_px` (F, K, 2), both in pixels of frames of `sizes_wh` (F, 2);
    without features, the constant predictor. With `normaliser`, SCOPS's figure too, by its form of the regression."""
    to_256 = SIDE / sizes_wh[:, None]
    num_frames = len(landmarks_px)
    truth = (landmarks_px * to_256).reshape(num_frames, -1)
    features = None if features_px is None else (features_px * to_256).reshape(num_frames, -1)
    predicted = constant(truth, fit) if features is None else regress(features, truth, fit)
    px_per_px256 = np.broadcast_to(1 / to_256, landmarks_px.shape)
    errors = landmark_errors(predicted, truth, ~fit, px_per_px256.reshape(num_frames, -1))
    if normaliser:
        again = predicted if features is None else regress_standardised(features, truth, fit)
        shape = landmarks_px.shape
        percent = normalised_percent(again.reshape(shape), truth.reshape(shape), ~fit, normaliser)
        errors = replace(errors, normalised_percent=percent)
    return LandmarkScore(errors, predicted.reshape(landmarks_px.shape) * px_per_px256)
