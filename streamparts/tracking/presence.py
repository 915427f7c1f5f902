"""Estimates the subject's presence from the network's output, by a rule calibrated in training."""

from __future__ import annotations

import math

import numpy as np

from streamparts.arrays import FloatArray
from streamparts.bundle.spec import SubjectSpec
from streamparts.data import Parts

LEAST_MASS = 1e-4
"""Keeps the logarithm of 0 finite."""
APPEAR_SCORE = 0.5
"""Score from which an absent subject becomes present."""
VANISH_SCORE = 0.25
"""Score below which a present subject becomes absent."""


def presence_features(parts: Parts) -> FloatArray:
    """(3,): log10 of 1e-4 plus the parts' share of the image; the mean of their scores weighted by their shares; and
    the effective number of parts, the exponential of the entropy of their shares, divided by the number of all
    parts. The last two are 0 without any part. Without the network's `evidence`, shares are those of the hard labels.
    """
    # (K,) shares of the image
    mass = _shares(parts).astype(np.float64)
    total = float(mass.sum())
    if total <= 0:
        return np.array([math.log10(LEAST_MASS), 0, 0], np.float32)
    share = mass / total
    # exp(H) / K with the entropy H = -sum p log p
    spread = math.exp(-float(share @ np.log(np.maximum(share, 1e-12)))) / len(share)
    return np.array([math.log10(LEAST_MASS + total), float(share @ parts.scores), spread], np.float32)


def subject_score(parts: Parts, spec: SubjectSpec) -> float:
    """In [0, 1]: probability that the image shows the subject."""
    slope = np.array(spec.slope, np.float32)
    # logistic regression; older models have fewer features
    value = float(presence_features(parts)[: len(slope)] @ slope) + spec.offset
    return 1 / (1 + math.exp(-min(max(value, -60.0), 60.0)))


class Presence:
    """Presence of one video's subject, with hysteresis against flicker."""

    def __init__(self) -> None:
        self.here = False

    def update(self, score: float) -> bool:
        self.here = score >= (VANISH_SCORE if self.here else APPEAR_SCORE)
        return self.here


def _shares(parts: Parts) -> FloatArray:
    if parts.evidence is not None:
        return parts.evidence[:, 0]
    counts = np.bincount(parts.labels.ravel(), minlength=len(parts.scores) + 1)[1:]
    return (counts / parts.labels.size).astype(np.float32)
