"""The weights of Assembly's objective, and the factors that fade its terms in and out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


@dataclass(frozen=True)
class LossWeights:
    """One weight per term of the objective; a term of weight 0 is not computed."""

    source: float = 0.5
    """lambda_s of Eq. 6; the target's lambda_t is 1."""
    l1: float = 4.0
    """lambda_1 of Eq. 5."""
    gradient: float = 3.0
    """lambda_2 of Eq. 5."""
    perceptual: float = 0.0
    """lambda_3 of Eq. 5, on the features of a perceptual.Perceptual."""
    background: float = 0.02
    """Both terms of Eq. 7."""
    translation: float = 1.0
    """Eq. 8."""
    rotation_scale: float = 2.0
    """Eq. 9."""
    equivariance: float = 0.1
    """Eq. 12."""
    concentration: float = 0.02
    """Eq. 13."""
    canonical_concentration: float = 0.0
    """Eq. 13 of the canonical parts, about (0, 0)."""
    motion: float = 20.0
    """Assigns pixels to the part whose motion explains them; fades in over `bootstrap_steps`."""
    edges: float = 4.0
    """Draws borders between parts to image edges; fades in once parts are settled, because it would kill weak slots."""
    appearance: float = 8.0
    """Assigns pixels to the part whose colours they have; fades in with the edges."""
    velocity: float = 0.5
    """Keeps the parts' velocity over a triplet of frames; only if triplets are drawn; fades in with the motion."""
    rigidity: float = 0.5
    """Keeps the size of a part within a clip."""
    bootstrap: float = 0.15
    """Lets ellipses explain the moving pixels; fades out over `bootstrap_steps`."""
    bootstrap_masks: float = 0.5
    """Fits masks to these ellipses; fades out with them."""
    silhouette: float = 1.0
    """Fits masks to the moving pixels."""
    anchors: float = 10.0
    """Draws slots to the clusters of inputs.anchors, in place of the ellipses' first masks; only of crops."""


PAPER_WEIGHTS = LossWeights(
    source=0.1,
    l1=1.0,
    gradient=5.0,
    perceptual=10.0,
    background=0.5,
    translation=0.5,
    rotation_scale=0.1,
    equivariance=0.02 / 9,
    concentration=0.35 * 10,
    canonical_concentration=0.035 * 10,
    motion=0.0,
    edges=0.0,
    appearance=0.0,
    velocity=0.0,
    rigidity=0.0,
    bootstrap=0.0,
    bootstrap_masks=0.0,
    silhouette=0.0,
    anchors=0.0,
)
"""The weights that Gao et al. published for TaiChi, K = 10, batch 2, converted to terms that are means over batch and
parts.

Theirs count sums over parts in Eq. 13 (so times K), means over coordinates in Eq. 8 (1 / 2) and over the nine entries
of homogeneous matrices in Eq. 12 (1 / 9), and one norm over all B * K parts in Eq. 9 (0.1 sqrt(B K) = 0.45 of the mean
norm, which CANONICAL_SIGMAS^2 makes 4.84 times as large). For Vox they use background 0.05, equivariance 0.05 / 9.
"""


Factor = float | Tensor
"""A tensor of one number serves where a number would be compiled into a graph."""


class Fades(NamedTuple):
    """Factors of the terms that fade in or out during training, in [0, 1], and the strength of the ellipse gate.
    presets/schedules.py computes them for each step."""

    bootstrap: Factor = 1.0
    """Factor of the likelihood of the ellipses; falls."""
    motion: Factor = 1.0
    borders: Factor = 1.0
    """Factor of the terms that draw borders: edges and appearance."""
    gate: Factor = 1.0
    """Strength of the gate that ties a mask to its ellipse, from 1."""
