"""Assembly's objective: the weighted loss terms of a pair of frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from streamparts.models.assembly import Decoding
from streamparts.models.layers import Affine, carry, compose

from ..inputs.augment import Pair
from . import losses
from .appearance import appearance_loss
from .losses import FeatureDifference
from .pair_forward import PairResult
from .weights import Factor, Fades, LossWeights


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
    # (B, 3, S, S) P_0, the decoded background
    own = decoding.part_images[:, 0]
    return decoding.image + decoding.masks[:, :1] * (background - own)  # replaces M_0 P_0 by M_0 times the background


def objective(
    result: PairResult,
    pair: Pair,
    weights: LossWeights,
    fades: Fades,
    offset: Factor = 0.5,
    features: FeatureDifference | None = None,
    emphasis: float = 1.0,
) -> dict[str, Tensor]:
    """Return the weighted terms by name; training minimises their sum.

    Args:
        result: what `forward_pair` made of the pair; with its canonical parts, if their concentration has a weight.
        pair: the frames.
        weights: one weight per term.
        fades: fade the likelihood of the ellipses out, and other terms in.
        offset: in [0, 1); shifts the draw of the pixels whose colours are compared.
        features: needed for the perceptual term.
        emphasis: that of the clips, see losses.emphasis. It scales the means over all pixels that concern the subject
            alone.
    """
    both = BothFrames.of(result, pair)
    terms = (
        pose_terms(both, result, weights)
        | motion_terms(result, pair, weights, fades.motion, emphasis)
        | concentration_terms(both, result, weights)
        | silhouette_terms(both, pair, weights, fades.bootstrap, emphasis)
        | border_terms(both, weights, fades.borders, emphasis, offset)
    )
    # a term of weight 0 is not computed
    weighted = {name: weight * term() for name, (weight, term) in terms.items() if isinstance(weight, Tensor) or weight}
    return reconstruction_loss(result, pair, weights, features) | weighted


Terms = dict[str, tuple[Factor, Callable[[], Tensor]]]
"""Maps names to weights and functions that compute the terms."""
Value = TypeVar("Value")


def faded(weight: float, fade: Factor) -> Factor:
    """The product, which is the number 0 for a term without a weight even if the fade is a tensor."""
    return fade * weight if weight else 0.0


def once(compute: Callable[[], Value]) -> Callable[[], Value]:
    """Compute at the first call only. functools.cache would do, if compilers looked into it."""
    found: list[Value] = []

    def remembered() -> Value:
        if not found:
            found.append(compute())
        return found[0]

    return remembered


class BothFrames(NamedTuple):
    """The frames of B pairs as one batch: the sources, then the targets."""

    masks: Tensor
    """(2B, 1 + K, S, S), background first."""
    images: Tensor
    """(2B, 3, S, S) in [0, 1]"""
    affine: Affine
    """(2B, K) poses."""
    silhouette: Tensor
    """(2B, 1, S, S) in [0, 1]: the moving pixels."""
    known: Tensor
    """(2B, 1, S, S) 1 where the silhouette is reliable."""

    @classmethod
    def of(cls, result: PairResult, pair: Pair) -> BothFrames:
        return cls(
            torch.cat([result.recovered.masks, result.retargeted.masks]),
            torch.cat([pair.source, pair.target]),
            Affine(*(torch.cat(values) for values in zip(result.source, result.target, strict=True))),
            torch.cat([pair.source_silhouette, pair.target_silhouette]),
            torch.cat([pair.source_known, pair.target_known]),
        )


def pose_terms(both: BothFrames, result: PairResult, w: LossWeights) -> Terms:
    """Eq. 7 to 9 and 12: parts are small, poses fit their masks and follow a warp."""

    # Eq. 8 and 9 come from the same moments of the masks: computed once, and only if one has a weight
    @once
    def transformation() -> tuple[Tensor, Tensor]:
        return losses.transformation_loss(both.masks[:, 1:], both.affine)

    return {
        "background": (w.background, lambda: losses.background_loss(both.masks)),
        "translation": (w.translation, lambda: transformation()[0]),
        "rotation_scale": (w.rotation_scale, lambda: transformation()[1]),
        "equivariance": (
            w.equivariance,
            lambda: losses.equivariance_loss(result.warped, result.target, result.transform),
        ),
    }


def motion_terms(result: PairResult, pair: Pair, w: LossWeights, fade: Factor, emphasis: float) -> Terms:
    """Parts keep their size and velocity, and own the pixels that move with them."""
    return {
        "rigidity": (w.rigidity, lambda: losses.rigidity_loss(result.source, result.target)),
        "velocity": (faded(w.velocity, fade) if result.triplet else 0.0, lambda: velocity_term(result)),
        "motion": (emphasis * faded(w.motion, fade), lambda: motion_term(result, pair)),
    }


def concentration_terms(both: BothFrames, result: PairResult, w: LossWeights) -> Terms:
    """Eq. 13, of the parts in the images and in their own frames."""
    return {
        "concentration": (w.concentration, lambda: losses.concentration_loss(both.masks[:, 1:])),
        "canonical_concentration": (
            w.canonical_concentration,
            lambda: losses.canonical_concentration_loss(canonical_masks(result)),
        ),
    }


def silhouette_terms(both: BothFrames, pair: Pair, w: LossWeights, fade: Factor, emphasis: float) -> Terms:
    """Masks and ellipses cover the moving pixels; the ellipses, or else the anchors, divide them among the slots."""

    @once
    def mixture() -> tuple[Tensor, Tensor]:
        weight = both.silhouette * both.known
        # in crops, thin limbs weigh more, see `thinness`
        weight = weight * losses.thinness(both.silhouette) if pair.close_up else weight
        return losses.silhouette_likelihood(both.affine, weight)

    def divided(shares: Tensor) -> Tensor:
        # shares (2B, K, S, S) of each slot in a moving pixel
        return losses.responsibility_loss(both.masks, both.silhouette, shares, both.known)

    # with anchors, the mixture still places the ellipses, but its shares do not teach the masks
    by_anchors = pair.anchors is not None
    return {
        "silhouette": (
            emphasis * w.silhouette,
            lambda: losses.silhouette_loss(both.masks, both.silhouette, both.known),
        ),
        "bootstrap": (emphasis * faded(w.bootstrap, fade), lambda: mixture()[0]),
        "bootstrap_masks": (
            0.0 if by_anchors else emphasis * faded(w.bootstrap_masks, fade),
            lambda: divided(mixture()[1]),
        ),
        "anchors": (emphasis * w.anchors if by_anchors else 0.0, lambda: divided(required(pair.anchors))),
    }


def border_terms(both: BothFrames, w: LossWeights, fade: Factor, emphasis: float, offset: Factor) -> Terms:
    """Borders between parts lie on edges of the image and between colours."""

    def appearance() -> Tensor:
        # (B, 1 + K, 2 S S) and (B, 3, 2 S S): both frames of a pair share their parts' colours
        pixels, colours = (
            torch.cat([x.flatten(2) for x in values.chunk(2)], dim=2) for values in (both.masks, both.images)
        )
        return appearance_loss(pixels, colours, offset)

    return {
        "edges": (faded(w.edges, fade), lambda: losses.edge_loss(both.masks, both.images)),
        "appearance": (emphasis * faded(w.appearance, fade), appearance),
    }


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
