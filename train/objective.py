"""What Assembly minimises: one forward pass over a pair of frames, and the weighted terms of the objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from streamparts.models.assembly import Assembly, Decoding
from streamparts.models.layers import Affine, compose, warp
from train import losses
from train.augment import Pair, warp_images


@dataclass(frozen=True)
class LossWeights:
    """One weight per term of the objective."""

    source: float = 0.5
    """lambda_s of Eq. 6; the target's lambda_t is 1."""
    l1: float = 4.0
    """lambda_1 of Eq. 5."""
    gradient: float = 3.0
    """lambda_2 of Eq. 5."""
    background: float = 0.02
    """Eq. 7."""
    translation: float = 1.0
    """Eq. 8."""
    rotation_scale: float = 2.0
    """Eq. 9."""
    equivariance: float = 0.1
    """Eq. 12."""
    concentration: float = 0.02
    """Eq. 13."""
    motion: float = 20.0
    """Pixels belong to the part whose motion explains them; fades in over `bootstrap_steps`."""
    edges: float = 4.0
    """Borders between parts are drawn to edges of the picture; fades in once parts are settled, or weak slots die."""
    appearance: float = 8.0
    """Pixels with a part's colours belong to that part; fades in with the edges."""
    rigidity: float = 0.5
    """A part keeps its size within a clip."""
    bootstrap: float = 0.15
    """Ellipses explain the moving pixels; fades out over `bootstrap_steps`."""
    bootstrap_masks: float = 0.5
    """Masks follow these ellipses; fades out with them."""
    silhouette: float = 1.0
    """Masks explain the moving pixels."""


class Fades(NamedTuple):
    """Factors in [0, 1] on the terms that come or go in the course of training."""

    bootstrap: float
    motion: float
    borders: float
    """Of edges and appearance."""


class PairResult(NamedTuple):
    """Everything that the losses look at."""

    recovered: Decoding
    """The source from its own parts."""
    retargeted: Decoding
    """The target from the source's parts."""
    source: Affine
    target: Affine
    warped: Affine
    """Poses of the target image after `transform`."""
    transform: Tensor
    """(B, 2, 3) image -> warped image."""


def forward_pair(network: Assembly, pair: Pair, gate: float, transform: Tensor) -> PairResult:
    """Encode source, target and the warped target in one batch; decode the source's parts at both poses."""
    batch = len(pair.source)
    images = torch.cat([pair.source, pair.target, warp_images(pair.target, transform)])
    encoding = network.encode(images)
    source, target, warped = (encoding.select(slice(i * batch, (i + 1) * batch)) for i in range(3))
    canonical = network.canonical(source)
    both = Affine(*(torch.cat(pair) for pair in zip(source.affine, target.affine, strict=True)))
    decoded = network.assemble(canonical.repeat(2, 1, 1, 1, 1), source.background.repeat(2, 1, 1, 1, 1), both, gate)
    recovered, retargeted = (Decoding(*(x[rows] for x in decoded)) for rows in (slice(batch), slice(batch, None)))
    return PairResult(recovered, retargeted, source.affine, target.affine, warped.affine, transform)


def motion_term(result: PairResult, pair: Pair) -> Tensor:
    """losses.motion_loss of the target, every part carrying the source picture along."""
    sampling = compose(result.source.matrix(), result.target.inverse_matrix())
    pictures = pair.source.unsqueeze(1).expand(-1, sampling.shape[1], -1, -1, -1)
    moved = warp(pictures, sampling, padding="border")
    return losses.motion_loss(result.retargeted.masks, moved, pair.target_background, pair.target, pair.target_known)


def objective(
    result: PairResult, pair: Pair, weights: LossWeights, fades: Fades, offset: float = 0.5
) -> dict[str, Tensor]:
    """The weighted terms by name; their sum is minimised. `fades` fade the ellipses' likelihood out, the others in;
    `offset` in [0, 1) moves the draw of the pixels whose colours are compared."""
    masks = torch.cat([result.recovered.masks, result.retargeted.masks])
    affine = Affine(*(torch.cat(pair) for pair in zip(result.source, result.target, strict=True)))
    silhouette = torch.cat([pair.source_silhouette, pair.target_silhouette])
    known = torch.cat([pair.source_known, pair.target_known])
    translation, shape = losses.transformation_loss(masks[:, 1:], affine)
    w, scale = weights, losses.emphasis(silhouette, known)
    terms = {
        "source": w.source * losses.image_difference(result.recovered.image, pair.source, w.l1, w.gradient),
        "target": losses.image_difference(result.retargeted.image, pair.target, w.l1, w.gradient),
        "background": w.background * losses.background_loss(masks),
        "translation": w.translation * translation,
        "rotation_scale": w.rotation_scale * shape,
        "equivariance": w.equivariance * losses.equivariance_loss(result.warped, result.target, result.transform),
        "rigidity": w.rigidity * losses.rigidity_loss(result.source, result.target),
        "motion": scale * fades.motion * w.motion * motion_term(result, pair),
        "concentration": w.concentration * losses.concentration_loss(masks[:, 1:]),
        "silhouette": scale * w.silhouette * losses.silhouette_loss(masks, silhouette, known),
    }
    if fades.bootstrap > 0:
        likelihood, shares = losses.silhouette_likelihood(affine, silhouette * known)
        terms["bootstrap"] = fades.bootstrap * w.bootstrap * likelihood
        terms["bootstrap_masks"] = (
            scale * fades.bootstrap * w.bootstrap_masks * losses.responsibility_loss(masks, silhouette, shares, known)
        )
    if fades.borders > 0:
        images = torch.cat([pair.source, pair.target])
        pixels, colours = (torch.cat([x.flatten(2) for x in both.chunk(2)], dim=2) for both in (masks, images))
        terms["edges"] = fades.borders * w.edges * losses.edge_loss(masks, images)
        appearance = losses.appearance_loss(pixels, colours, offset)
        terms["appearance"] = scale * fades.borders * w.appearance * appearance
    return terms
