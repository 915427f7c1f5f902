"""Assembly's objective: the weighted loss terms of a pair of frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from streamparts.models.assembly import Decoding
from streamparts.models.layers import Affine, carry, compose

from ..inputs.augment import Pair
from . import losses
from .appearance import appearance_loss
from .losses import FeatureDifference
from .pair_forward import PairResult


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


class Fades(NamedTuple):
    """Factors of the terms that fade in or out during training, in [0, 1], and the strength of the ellipse gate. Which
    hold at a step is decided in presets/schedules.py."""

    bootstrap: float = 1.0
    """Factor of the likelihood of the ellipses; falls."""
    motion: float = 1.0
    borders: float = 1.0
    """Factor of the terms that draw borders: edges and appearance."""
    gate: float = 1.0
    """Strength of the gate that ties a mask to its ellipse, from 1."""


def motion_term(result: PairResult, pair: Pair) -> Tensor:
    """losses.motion_loss of the target, with the source image warped by every part, and of the frame after the target
    in a triplet."""
    carried = [(pair.source, result.source)]
    if result.triplet and pair.after is not None:
        carried.append((pair.after, result.triplet.after))
    moved = []
    for picture, pose in carried:
        # sampling matrices: target image -> canonical (T_t^-1) -> source image (T_s)
        moved.append(carry(picture, compose(pose.matrix(), result.target.inverse_matrix())))
    return losses.motion_loss(result.retargeted.masks, moved, pair.target_background, pair.target, pair.target_known)


def reconstruction_loss(
    result: PairResult, pair: Pair, weights: LossWeights, features: FeatureDifference | None = None
) -> dict[str, Tensor]:
    """Eq. 6: its summands, "source" lambda_s L(I_s, I_s') and "target" lambda_t L(I_t, I_t') with lambda_t = 1. In a
    triplet, each pixel of the target counts from the source that shows it best, except in the perceptual term."""
    w = weights
    terms = {}
    if w.source:
        recovered = before_background(result.recovered, pair.source_background, pair)
        terms["source"] = w.source * losses.image_difference(
            recovered, pair.source, w.l1, w.gradient, w.perceptual, features
        )
    # in a triplet, the colour terms come from the better of both predictions, below
    l1, gradient = (0.0, 0.0) if result.triplet else (w.l1, w.gradient)
    retargeted = before_background(result.retargeted, pair.target_background, pair)
    terms["target"] = losses.image_difference(retargeted, pair.target, l1, gradient, w.perceptual, features)
    if result.triplet:
        other = before_background(result.triplet.retargeted, pair.target_background, pair)
        predictions = (retargeted, other)
        terms["target"] = terms["target"] + losses.least_difference(predictions, pair.target, w.l1, w.gradient)
    return terms


def before_background(decoding: Decoding, background: Tensor, pair: Pair) -> Tensor:
    """(B, 3, S, S) the assembled image; for crops, whose background moves with them, the parts in front of the frame's
    own background, so that slot 0 need only be where the subject is not."""
    if not pair.close_up:
        return decoding.image
    own = decoding.part_images[:, 0]
    return decoding.image + decoding.masks[:, :1] * (background - own)  # replaces M_0 P_0 by M_0 times the background


def objective(
    result: PairResult,
    pair: Pair,
    weights: LossWeights,
    fades: Fades,
    offset: float = 0.5,
    features: FeatureDifference | None = None,
    emphasis: float = 1.0,
) -> dict[str, Tensor]:
    """Return the weighted terms by name; training minimises their sum. `fades` fade the likelihood of the ellipses out,
    the others in; `offset` in [0, 1) shifts the draw of the pixels whose colours are compared. `features` are needed
    for the perceptual term, and the result's canonical parts for their concentration, if these weights are not 0.
    `emphasis` is that of the clips, see losses.emphasis."""
    w, silhouette = weights, torch.cat([pair.source_silhouette, pair.target_silhouette])
    masks = torch.cat([result.recovered.masks, result.retargeted.masks])  # (2B, 1 + K, S, S): sources, then targets
    images, parts = torch.cat([pair.source, pair.target]), masks[:, 1:]
    affine = Affine(*(torch.cat(pair) for pair in zip(result.source, result.target, strict=True)))
    known = torch.cat([pair.source_known, pair.target_known])

    # both terms come from the same moments of the masks: computed once, and only if one has a weight
    @cache
    def transformation() -> tuple[Tensor, Tensor]:
        return losses.transformation_loss(parts, affine)

    @cache
    def mixture() -> tuple[Tensor, Tensor]:
        weight = silhouette * known
        # in crops, thin limbs weigh more, see `thinness`
        return losses.silhouette_likelihood(affine, weight * losses.thinness(silhouette) if pair.close_up else weight)

    def appearance() -> Tensor:
        # (B, 1 + K, 2 S S) and (B, 3, 2 S S): both frames of a pair share their parts' colours
        pixels, colours = (torch.cat([x.flatten(2) for x in both.chunk(2)], dim=2) for both in (masks, images))
        return appearance_loss(pixels, colours, offset)

    # name -> (weight, term). `emphasis` scales the means over all pixels that concern the subject alone
    terms: dict[str, tuple[float, Callable[[], Tensor]]] = {
        "background": (w.background, lambda: losses.background_loss(masks)),
        "translation": (w.translation, lambda: transformation()[0]),
        "rotation_scale": (w.rotation_scale, lambda: transformation()[1]),
        "equivariance": (
            w.equivariance,
            lambda: losses.equivariance_loss(result.warped, result.target, result.transform),
        ),
        "rigidity": (w.rigidity, lambda: losses.rigidity_loss(result.source, result.target)),
        "velocity": (fades.motion * w.velocity if result.triplet else 0.0, lambda: velocity_term(result)),
        "motion": (emphasis * fades.motion * w.motion, lambda: motion_term(result, pair)),
        "concentration": (w.concentration, lambda: losses.concentration_loss(parts)),
        "canonical_concentration": (
            w.canonical_concentration,
            lambda: losses.canonical_concentration_loss(canonical_masks(result)),
        ),
        "silhouette": (emphasis * w.silhouette, lambda: losses.silhouette_loss(masks, silhouette, known)),
        "bootstrap": (emphasis * fades.bootstrap * w.bootstrap, lambda: mixture()[0]),
        "bootstrap_masks": (
            0.0 if pair.anchors is not None else emphasis * fades.bootstrap * w.bootstrap_masks,
            lambda: losses.responsibility_loss(masks, silhouette, mixture()[1], known),
        ),
        "anchors": (
            0.0 if pair.anchors is None else emphasis * w.anchors,
            lambda: losses.responsibility_loss(masks, silhouette, required(pair.anchors), known),
        ),
        "edges": (fades.borders * w.edges, lambda: losses.edge_loss(masks, images)),
        "appearance": (emphasis * fades.borders * w.appearance, appearance),
    }
    # a term of weight 0 is not computed
    weighted = {name: weight * term() for name, (weight, term) in terms.items() if weight}
    return reconstruction_loss(result, pair, weights, features) | weighted


def required(anchors: Tensor | None) -> Tensor:
    if anchors is None:
        raise ValueError("the pair has no anchors")
    return anchors


def velocity_term(result: PairResult) -> Tensor:
    """losses.velocity_loss of the target and the frames around it."""
    if result.triplet is None:
        raise ValueError("the pair has no neighbours: draw triplets")
    # (B, K) pixels of each part in the middle frame
    owned = result.retargeted.masks[:, 1:].sum((2, 3))
    return losses.velocity_loss(result.triplet.before, result.target, result.triplet.after, owned)


def canonical_masks(result: PairResult) -> Tensor:
    """(B, K, S, S) of the parts in their own frames."""
    if result.canonical is None:
        raise ValueError("the canonical parts were not decoded: call forward_pair with canonical=True")
    return result.canonical.masks[:, 1:]
