"""The networks that SCOPS trains together, and the background level of the exported one."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamparts.models.layers import Affine
from streamparts.models.pose_head import PoseHead
from streamparts.models.scops import Scops, part_labels

from ..frames.transforms import to_images
from ..inputs.images import ImageSampler
from ..terms.scops_losses import PartBasis, part_centres
from ..terms.uld import UldDecoder, pooled_features

CANDIDATE_LEVELS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)
"""Candidate levels of `calibrated_level`."""


class StepOutput(NamedTuple):
    """Output of a step's networks."""

    logits: Tensor
    """(B, 1 + K, S, S)"""
    warped_logits: Tensor
    """(B, 1 + K, S, S)"""
    basis: Tensor | None
    """(K, C)"""
    decoded: Tensor | None
    """(B, 3, S, S), from the baseline's decoder."""
    ellipses: Affine | None
    """Ellipses of both images, (2B, K)."""


class Learner(nn.Module):
    """All trained modules in one call: the network and, if a term needs them, the part basis, the decoder of the
    baseline and the head that predicts ellipses."""

    def __init__(
        self,
        network: Scops,
        basis: PartBasis | None = None,
        decoder: UldDecoder | None = None,
        pose: PoseHead | None = None,
    ) -> None:
        super().__init__()
        self.network, self.basis, self.decoder, self.pose = network, basis, decoder, pose

    def forward(self, images: Tensor, warped: Tensor, features: Tensor | None) -> StepOutput:
        """Images and warped images (B, 3, S, S), V (B, C, h, w) if a term needs it."""
        coarse, deepest = self.network.seen(torch.cat([images, warped]))
        logits, warped_logits = F.interpolate(
            coarse, size=images.shape[-2:], mode="bilinear", align_corners=False
        ).chunk(2)
        decoded = None
        if self.decoder is not None and features is not None:
            masks = logits.softmax(dim=1)
            decoded = self.decoder(part_centres(masks), pooled_features(features, masks))
        ellipses = self.pose(deepest, deepest.mean((2, 3))) if self.pose else None
        return StepOutput(logits, warped_logits, self.basis() if self.basis else None, decoded, ellipses)


@torch.no_grad()
def calibrated_level(network: Scops, sampler: ImageSampler, num_batches: int = 20) -> float:
    """Return the background level at which the labels' foreground agrees best with the salient pixels, averaged over
    images of the collection; it uses no labels. Masks learned in minutes are softer than those for which the release
    uses 0.1."""
    training = network.training
    network.eval()
    device = next(network.parameters()).device
    overlaps = []
    for step in range(min(num_batches, -(-len(sampler.folder) // sampler.batch_size))):
        batch = sampler.batch(step)
        masks = network.masks(to_images(torch.from_numpy(batch.images).to(device)))
        floor = network.config.peak_floor
        found = torch.stack([part_labels(masks, level, floor) > 0 for level in CANDIDATE_LEVELS])
        salient = torch.from_numpy(batch.salient).to(device)
        both, either = ((found & salient).sum((2, 3)), (found | salient).sum((2, 3)))
        overlaps.append((both / either.clamp(min=1)).T)
    network.train(training)
    return CANDIDATE_LEVELS[int(torch.cat(overlaps).mean(0).argmax())]
