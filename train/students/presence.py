"""Calibrates a model's subject score: a logistic fit on frames with and without the subject."""

from __future__ import annotations

import numpy as np

from streamparts.arrays import FloatArray
from streamparts.data import Parts
from streamparts.errors import StreampartsError
from streamparts.geometry import FloatLike
from streamparts.models.readout import Readout
from streamparts.tracking.presence import presence_features

RIDGE = 1e-2
"""Keeps the slopes finite if the two kinds of frames are separable."""
ROUNDS = 50


def features_of(read: Readout) -> FloatArray:
    """(B, 3) features of a batch, as in the runtime. Raises ValueError without the output `evidence`."""
    if read.evidence is None:
        raise ValueError("presence needs the output `evidence`")
    arrays = [x.cpu().numpy() for x in (read.labels, read.affines, read.scores, read.evidence)]
    return np.stack([presence_features(Parts(*one)) for one in zip(*arrays, strict=True)])


def calibrate(features: FloatLike, present: FloatLike) -> tuple[tuple[float, ...], float]:
    """Fit `features` (N, C), from streamparts.tracking.presence.presence_features, to `present` (N,) 0 or 1. Returns
    slope and offset of subject_score = sigmoid(slope . features + offset). Both kinds have the same total weight.
    Raises StreampartsError unless there are both.
    """
    if features.ndim != 2 or len(features) != len(present):
        raise ValueError(f"need features (N, C) and present (N,), got {features.shape} and {np.shape(present)}")
    there = np.asarray(present, np.float64) > 0.5
    if there.all() or not there.any():
        raise StreampartsError("frames both with and without the subject are needed to distinguish them")
    middle, spread = features.mean(0), features.std(0) + 1e-9
    inputs = np.column_stack([(features - middle) / spread, np.ones(len(features))])
    # (N,) sum 1/2 for each kind
    weights = np.where(there, 0.5 / there.sum(), 0.5 / (~there).sum())
    found = _newton(inputs, there.astype(np.float64), weights)
    # back from standardised features to the original ones
    slope = found[:-1] / spread
    return tuple(slope.tolist()), float(found[-1] - slope @ middle)


def _newton(inputs: FloatLike, targets: FloatLike, weights: FloatLike) -> FloatLike:
    """(C,) coefficients of the weighted logistic regression, with slight regularisation."""
    found = np.zeros(inputs.shape[1])
    pull = RIDGE * np.array([1.0] * (inputs.shape[1] - 1) + [0.0])
    for _ in range(ROUNDS):
        guess = chance(inputs @ found)
        # gradient and Hessian of the weighted log-likelihood, with a ridge on all but the offset
        slope = inputs.T @ (weights * (guess - targets)) + pull * found
        curve = (inputs * (weights * guess * (1 - guess))[:, None]).T @ inputs + np.diag(pull + 1e-9)
        step = np.linalg.solve(curve, slope)
        found = found - step
        if np.abs(step).max() < 1e-8:
            break
    return found


def chance(logit: FloatLike) -> FloatLike:
    """The logistic function, without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * np.asarray(logit, np.float64))))


def scores(features: FloatLike, slope: tuple[float, ...], offset: float) -> FloatArray:
    """(N,) subject scores of the runtime for such features."""
    return np.asarray(chance(features @ np.array(slope) + offset), np.float32)
