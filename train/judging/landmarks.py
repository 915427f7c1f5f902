"""The papers' landmark metric: one linear regression per landmark coordinate from the parts' centres; mean absolute
error on held-out frames, summed over coordinates, in images resized to 256x256.

Hung et al. 2019 (SCOPS) report distances instead, relative to one in the same image: that between two landmarks (the
eyes), or the sides of a box. Their regression is equivalent, in another form: `regress_standardised`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression

SIDE = 256
"""Image size in pixels for which Gao et al. and earlier papers state errors."""
FEW_CLIPS = 4
"""With fewer clips, each is split into BLOCKS, so that both halves contain parts of all."""
BLOCKS = 8

Numbers = NDArray[np.float64]


def split_frames(clips: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Select the frames (F,) to fit the regression: about half. Whole clips or, with few clips, blocks of consecutive
    frames are assigned to one side, drawn with `seed`, because neighbouring frames are nearly equal. At least one is
    left for testing."""
    units = clips if len(np.unique(clips)) >= FEW_CLIPS else blocks(clips)
    fit, wanted = np.zeros(len(clips), np.bool_), len(clips) / 2
    # the last unit always stays for testing
    for unit in np.random.default_rng(seed).permutation(np.unique(units))[:-1]:
        if fit.sum() >= wanted:
            break
        fit |= units == unit
    return fit


def blocks(clips: NDArray[np.int64]) -> NDArray[np.int64]:
    """(F,) number of each frame's block of BLOCKS, unique over clips."""
    out = np.empty_like(clips)
    for number, clip in enumerate(np.unique(clips)):
        rows = np.flatnonzero(clips == clip)
        out[rows] = number * BLOCKS + np.arange(len(rows)) * BLOCKS // len(rows)
    return out


def regress(features: Numbers, truth: Numbers, fit: NDArray[np.bool_]) -> Numbers:
    """Predict (F, C) coordinates from `features` (F, D) by least squares with intercept, fitted on the rows in `fit`
    where `truth` (F, C) is not nan. All rows are nan if fewer than two such rows are left."""
    out = np.full(truth.shape, np.nan)
    for column, values in enumerate(truth.T):
        rows = fit & np.isfinite(values)
        if rows.sum() >= 2:
            out[:, column] = LinearRegression().fit(features[rows], values[rows]).predict(features)
    return out


def regress_standardised(features: Numbers, truth: Numbers, fit: NDArray[np.bool_]) -> Numbers:
    """As `regress`, in the form of SCOPS's evaluation: features and coordinate are standardised with the fitted rows,
    then least squares without intercept. The predictions are equal if the solution is unique; with more features than
    rows, the minimum-norm solution differs, because the norm has other units."""
    out = np.full(truth.shape, np.nan)
    for column, values in enumerate(truth.T):
        rows = fit & np.isfinite(values)
        if rows.sum() >= 2:
            # (F, D) inputs, and (F,) targets with the mean and deviation that turn them back into pixels
            inputs, (targets, mean, scale) = _standardised(features, rows)[0], _standardised(values, rows)
            # (D,) the minimum-norm solution if the rows do not determine it
            solution = np.linalg.lstsq(inputs[rows], targets[rows], rcond=None)[0]
            out[:, column] = inputs @ solution * scale + mean
    return out


def _standardised(values: Numbers, rows: NDArray[np.bool_]) -> tuple[Numbers, Numbers, Numbers]:
    """Return `values` standardised with the mean and deviation of `rows`, and these two; constant columns are only
    centred."""
    # (D,) each, or scalars for one coordinate
    mean, deviation = values[rows].mean(axis=0), values[rows].std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0)
    return (values - mean) / scale, mean, scale


def constant(truth: Numbers, fit: NDArray[np.bool_]) -> Numbers:
    """Predict (F, C) the mean of the rows in `fit`: a regression without features."""
    return regress(np.zeros((len(truth), 1)), truth, fit)


@dataclass(frozen=True)
class Normaliser:
    """Unit of distances: the distance between two landmarks, or the size of the box around all landmarks."""

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
        """(F, 2) units of x and y for `landmarks` (F, L, 2); nan if unlabelled or without extent."""
        if self.pair:
            between = landmarks[:, self.pair[0]] - landmarks[:, self.pair[1]]
            units = np.repeat(np.linalg.norm(between, axis=1)[:, None], 2, axis=1)
        else:
            # fmax and fmin ignore nan: the box of the labelled landmarks
            units = np.fmax.reduce(landmarks, axis=1) - np.fmin.reduce(landmarks, axis=1)
        return np.where(units > 0, units, np.nan)


def _index(word: str, names: Sequence[str]) -> int | None:
    if word in names:
        return names.index(word)
    return int(word) if word.isdecimal() and int(word) < len(names) else None


def normalised_percent(predicted: Numbers, truth: Numbers, test: NDArray[np.bool_], normaliser: Normaliser) -> float:
    """Mean over the images in `test` of the mean distance of their landmarks, in percent of each image's `normaliser`;
    `predicted` and `truth` are (F, L, 2). Unlabelled landmarks, and images without unit, do not count; nan if nothing
    is left."""
    units = normaliser.sizes(truth)[:, None]
    # (F, L), nan where a landmark has no label
    distances = np.linalg.norm((predicted - truth) / units, axis=2)[test]
    counts = np.isfinite(distances).sum(axis=1)
    used = counts > 0
    return float(100 * np.mean(np.nansum(distances[used], axis=1) / counts[used])) if used.any() else math.nan


@dataclass(frozen=True)
class LandmarkErrors:
    """Errors on the held-out frames; nan without any coordinate."""

    sum_px256: float
    """Sum over coordinates of the mean absolute error, in pixels of a 256x256 image: the papers' metric. It grows with
    the number of landmarks; use the next field to compare sets."""
    mean_px256: float
    """The same per coordinate."""
    mean_px: float
    """The same in pixels of the original frames."""
    num_coordinates: int
    """Number of coordinates with labels on both sides of the split; others are ignored."""
    normalised_percent: float | None = None
    """SCOPS's metric, see `normalised_percent`; None without a Normaliser."""


def landmark_errors(
    predicted: Numbers, truth: Numbers, test: NDArray[np.bool_], px_per_px256: Numbers
) -> LandmarkErrors:
    """`predicted` and `truth` (F, C) at 256; `test` (F,); `px_per_px256` (F, C) original pixels per pixel at 256."""
    errors = np.abs(predicted - truth)[test]
    counts = np.isfinite(errors).sum(0)
    used = counts > 0
    # (used,) mean absolute error of each coordinate over its own labelled frames
    at_256 = np.nansum(errors, 0)[used] / counts[used]
    original = np.nansum(errors * px_per_px256[test], 0)[used] / counts[used]
    if not used.any():
        return LandmarkErrors(math.nan, math.nan, math.nan, 0)
    return LandmarkErrors(float(at_256.sum()), float(at_256.mean()), float(original.mean()), int(used.sum()))


@dataclass(frozen=True)
class LandmarkScore:
    """Result of the regression from one kind of centres."""

    errors: LandmarkErrors
    predicted_px: Numbers
    """(F, L, 2) in pixels of the original frames, including fitted frames."""


def score_landmarks(
    features_px: Numbers | None,
    landmarks_px: Numbers,
    sizes_wh: Numbers,
    fit: NDArray[np.bool_],
    normaliser: Normaliser | None = None,
) -> LandmarkScore:
    """Regress `landmarks_px` (F, L, 2) from `features_px` (F, K, 2), both in pixels of frames of `sizes_wh` (F, 2);
    without features, use the constant predictor. With `normaliser`, also compute SCOPS's metric with its form of the
    regression."""
    to_256 = SIDE / sizes_wh[:, None]
    num_frames = len(landmarks_px)
    # (F, 2 L): the regression treats every coordinate separately
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
