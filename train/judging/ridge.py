"""Regresses landmarks from parts by ridge regression, with cross-validation by clip.

Least squares on about twenty features of a few clips overfits: good parts score worse than the constant. Here, each
clip is left out in turn (or, with few clips, each block of consecutive frames), and the regularisation is chosen in the
same way within the rest. Two baselines are reported beside the parts: the constant, and the position and shape of the
silhouette alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .landmarks import BLOCKS, FEW_CLIPS, SIDE, LandmarkErrors, blocks, landmark_errors

Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]

STRENGTHS = np.logspace(-4, 1, 6)
"""Candidate strengths of the regularisation, in units of each feature's variance."""
MANY_CLIPS = 20
"""With more clips than this, neighbours are left out together."""


@dataclass(frozen=True)
class Folds:
    """Folds of the cross-validation."""

    numbers: Indices
    """(F,) from 0 on."""
    kind: str
    """Description in words."""

    @classmethod
    def of(cls, clips: Indices) -> Folds:
        """Folds from the clip of each frame, (F,): single clips, eighths of few clips, or eighths of many."""
        kinds, numbers = np.unique(clips, return_inverse=True)
        if len(kinds) > MANY_CLIPS:
            return cls(numbers * BLOCKS // len(kinds), f"{BLOCKS} blocks of consecutive clips or stills")
        if len(kinds) >= FEW_CLIPS:
            return cls(numbers, f"{len(kinds)} clips")
        numbers = np.unique(blocks(clips), return_inverse=True)[1]
        return cls(numbers, f"{numbers.max() + 1} blocks of consecutive frames")


@dataclass(frozen=True)
class Sums:
    """Sufficient statistics of a ridge regression over some frames, for each of C coordinates with labels."""

    gram: Numbers
    """(C, D + 1, D + 1) products of the features and a column of ones."""
    target: Numbers
    """(C, D + 1)"""

    @classmethod
    def of(cls, features: Numbers, truth: Numbers) -> Sums:
        """Sums of (F, D) and (F, C), nan where unlabelled."""
        known = np.isfinite(truth)
        # (F, D + 1), the last column for the intercept; for each coordinate c, the sums run over its labelled rows
        rows = np.concatenate([features, np.ones((len(features), 1))], axis=1)
        gram = np.einsum("fc,fd,fe->cde", known.astype(np.float64), rows, rows, optimize=True)
        return cls(gram, np.where(known, truth, 0).T @ rows)

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.gram + other.gram, self.target + other.target)

    def __sub__(self, other: Sums) -> Sums:
        return Sums(self.gram - other.gram, self.target - other.target)

    def solve(self, strength: float) -> Numbers:
        """(C, D + 1) weights and intercept; nan if fewer than two rows are labelled. The intercept is not regularised,
        and each feature is regularised in proportion to its variance, so that units do not matter."""
        count = self.gram[:, -1, -1]
        safe = np.maximum(count, 1)[:, None]
        mean, square = self.gram[:, -1, :-1] / safe, np.diagonal(self.gram, axis1=1, axis2=2)[:, :-1] / safe
        variance = np.maximum(square - mean**2, 1e-6)
        # (C, D + 1) of the diagonal: strength * n * variance, almost 0 for the intercept
        penalty = np.concatenate([strength * safe * variance, np.full((len(count), 1), 1e-9)], axis=1)
        matrix = self.gram + penalty[:, :, None] * np.eye(penalty.shape[1])
        weights = np.linalg.solve(matrix, self.target[..., None])[..., 0]
        return np.where(count[:, None] >= 2, weights, np.nan)


def ridge_predictions(features: Numbers, truth: Numbers, folds: Indices) -> tuple[Numbers, list[float]]:
    """Return (F, C) predictions of `truth` (F, C), nan where unlabelled, from `features` (F, D), for each fold from the
    others; and the chosen strength of each fold, by leaving out each of the other folds in turn."""
    numbers = np.unique(folds)
    centred = features - features.mean(0)  # for the condition of the sums; the intercept is free
    sums = {n: Sums.of(centred[folds == n], truth[folds == n]) for n in numbers.tolist()}
    total = Sums(sum(s.gram for s in sums.values()), sum(s.target for s in sums.values()))  # type: ignore[arg-type]
    predicted, taken = np.full(truth.shape, np.nan), list[float]()
    for out in sums:
        rest = total - sums[out]
        others = [n for n in sums if n != out]
        losses = [_left_out_error(centred, truth, folds, rest, sums, others, s) for s in STRENGTHS.tolist()]
        strength = float(STRENGTHS[int(np.argmin(losses))]) if np.isfinite(losses).any() else float(STRENGTHS[-1])
        rows = folds == out
        predicted[rows] = _apply(rest.solve(strength), centred[rows])
        taken.append(strength)
    return predicted, taken


def _left_out_error(
    features: Numbers, truth: Numbers, folds: Indices, rest: Sums, sums: dict[int, Sums], others: list[int], s: float
) -> float:
    """Mean absolute error of one strength, with each of `others` predicted from the remaining folds in `rest`."""
    if len(others) < 2:
        return 0.0 if s == STRENGTHS[-1] else 1.0  # nothing to choose by: the stiffest
    total, count = 0.0, 0
    for inner in others:
        rows = folds == inner
        # sums over frames subtract, so leaving out a fold needs no second pass over the frames
        errors = np.abs(_apply((rest - sums[inner]).solve(s), features[rows]) - truth[rows])
        total += float(np.nansum(errors))
        count += int(np.isfinite(errors).sum())
    return total / count if count else np.inf


def _apply(weights: Numbers, features: Numbers) -> Numbers:
    """(F, C)"""
    return features @ weights[:, :-1].T + weights[:, -1]


def constant_predictions(truth: Numbers, folds: Indices) -> Numbers:
    """(F, C) for each fold the mean of the others; nan if these have no label."""
    known, values = np.isfinite(truth), np.where(np.isfinite(truth), truth, 0)
    out = np.empty(truth.shape)
    for fold in np.unique(folds):
        rest = folds != fold
        count = known[rest].sum(0)
        out[folds == fold] = np.where(count > 0, values[rest].sum(0) / np.maximum(count, 1), np.nan)
    return out


def ridge_section(
    features: Mapping[str, Numbers | None], landmarks_px: Numbers, sizes_wh: Numbers, clips: Indices
) -> dict[str, Any] | None:
    """Errors for each kind of features, (F, D) in pixels of images resized to 256x256, and for the constant;
    `landmarks_px` (F, L, 2) and `sizes_wh` (F, 2) are in pixels of the frames. None if there is only one fold."""
    folds = Folds.of(clips)
    if len(np.unique(folds.numbers)) < 2:
        return None
    # (F, 1, 2) pixels at 256 per pixel of the frame
    to_256 = SIDE / sizes_wh[:, None]
    num_frames = len(landmarks_px)
    truth = (landmarks_px * to_256).reshape(num_frames, -1)
    unit = np.broadcast_to(1 / to_256, landmarks_px.shape).reshape(num_frames, -1)
    every = np.ones(num_frames, np.bool_)

    def errors(predicted: Numbers) -> dict[str, Any]:
        found: LandmarkErrors = landmark_errors(predicted, truth, every, unit)
        return {key: value for key, value in asdict(found).items() if key != "normalised_percent"}

    out: dict[str, Any] = {"left_out": folds.kind, "constant": errors(constant_predictions(truth, folds.numbers))}
    for name, values in features.items():
        if values is None:
            out[name] = None
            continue
        predicted, strengths = ridge_predictions(values, truth, folds.numbers)
        out[name] = {**errors(predicted), "strength": float(np.median(strengths))}
    return out


def silhouette_features(mask: NDArray[np.bool_]) -> Numbers:
    """(5,) centre, the two standard deviations and the signed root of the covariance of an (H, W) mask, in pixels of
    the image resized to 256x256; an empty mask counts as a point in the middle."""
    height, width = mask.shape
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return np.array([SIDE / 2, SIDE / 2, 0, 0, 0])
    x, y = (columns + 0.5) * SIDE / width, (rows + 0.5) * SIDE / height
    covariance = float(((x - x.mean()) * (y - y.mean())).mean())
    return np.array([x.mean(), y.mean(), x.std(), y.std(), np.sign(covariance) * np.sqrt(abs(covariance))])
