"""Assembly's forward pass over a pair of frames: everything that the losses need, decoded in one batch."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from streamparts.models.assembly import Decoding, PartNetwork
from streamparts.models.layers import Affine

from ..frames.transforms import Draws, warp_images
from ..inputs.augment import Pair


class PairResult(NamedTuple):
    """Inputs of all losses."""

    recovered: Decoding
    """The source reconstructed from its own parts."""
    retargeted: Decoding
    """The target reconstructed from the source's parts."""
    source: Affine
    target: Affine
    warped: Affine
    """Poses of the target image after `transform`."""
    transform: Tensor
    """(B, 2, 3) image -> warped image."""
    canonical: Decoding | None = None
    """The source's parts in their canonical frames, if requested."""
    triplet: Triplet | None = None
    """Results for the neighbouring frames, if the pair has them."""


class Triplet(NamedTuple):
    """Results for the frames around the target."""

    before: Affine
    after: Affine
    retargeted: Decoding
    """The target reconstructed from the parts of the frame after it."""


def paper_transform(draws: Draws) -> Tensor:
    """(B, 2, 3) of the paper's equivariance warp: independent sx and sy in (0.75, 1), any angle, shifts in (0, 0.2)."""
    # (B, 1, 5): angle, two scales, two shifts
    uniform = draws.uniform(1, 5)
    angle = 2 * math.pi * uniform[..., 0]
    rotation = torch.stack([angle.cos(), angle.sin()], dim=-1)
    return Affine(rotation, 0.75 + 0.25 * uniform[..., 1:3], 0.2 * uniform[..., 3:5]).matrix()[:, 0]


def forward_pair(
    network: PartNetwork, pair: Pair, gate: float | Tensor, transform: Tensor, canonical: bool = False
) -> PairResult:
    """Encode all frames and the warped target in one batch. Decode the source's parts at both poses, those of the frame
    after the target, if there is one, at the target's poses and, if `canonical`, the source's at the identity."""
    batch = len(pair.source)
    around = [] if pair.before is None or pair.after is None else [pair.before, pair.after]
    images = [pair.source, pair.target, warp_images(pair.target, transform), *around]
    # (3 B, 3, S, S), or (5 B, 3, S, S) with triplets, encoded in one pass
    encoding = network.encode(torch.cat(images))
    source, target, warped, *others = (encoding.select(slice(i * batch, (i + 1) * batch)) for i in range(len(images)))
    # (whose parts, at which poses), decoded as one batch below
    placements = [(source, source.affine), (source, target.affine)]
    if canonical:
        placements.append((source, identity_like(source.affine)))
    if others:
        placements.append((others[1], target.affine))
    placed = Affine(*(torch.cat(values) for values in zip(*(pose for _, pose in placements), strict=True)))
    # canonical parts of each placement, before they are moved to its poses
    parts = torch.cat([network.canonical(owner) for owner, _ in placements])
    decoded = network.assemble(parts, torch.cat([owner.background for owner, _ in placements]), placed, gate)
    decodings = [Decoding(*one) for one in zip(*(torch.split(x, batch) for x in decoded), strict=True)]
    return PairResult(
        recovered=decodings[0],
        retargeted=decodings[1],
        source=source.affine,
        target=target.affine,
        warped=warped.affine,
        transform=transform,
        canonical=decodings[2] if canonical else None,
        triplet=Triplet(others[0].affine, others[1].affine, decodings[-1]) if others else None,
    )


def identity_like(affine: Affine) -> Affine:
    """Return poses that do not move canonical parts."""
    # (cos, sin) = (1, 0), s = 1, t = 0
    rotation = torch.zeros_like(affine.rotation)
    rotation[..., 0] = 1
    return Affine(rotation, torch.ones_like(affine.scale), torch.zeros_like(affine.translation))


class PairForward(torch.nn.Module):
    """`forward_pair` as a module: distributed processes need a single call."""

    def __init__(self, network: PartNetwork, canonical: bool) -> None:
        super().__init__()
        self.network, self.canonical = network, canonical

    def forward(self, pair: Pair, gate: float | Tensor, transform: Tensor) -> PairResult:
        return forward_pair(self.network, pair, gate, transform, self.canonical)
