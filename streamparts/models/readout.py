"""From a network's masks and poses to what the runtime reads; the same inside every exported graph."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamparts.models.layers import Affine
from streamparts.models.moments import mask_moments, pixel_variance, pose_from_moments
from streamparts.models.scops import Scops, part_labels
from streamparts.models.student import Student


class Readout(NamedTuple):
    """The exported outputs, in this order."""

    labels: Tensor
    """(B, S, S) uint8: 0 background, k + 1 part k."""
    affines: Tensor
    """(B, K, 2, 3) canonical -> normalised image coordinates."""
    scores: Tensor
    """(B, K) in [0, 1]: mean probability of a part over the pixels it owns, 0 without any."""


def read_out(logits: Tensor, affine: Affine) -> Readout:
    """`logits` (B, 1 + K, ...), background first, with one or more dimensions of pixels that `labels` has too; their
    softmax over the slots gives the masks.

    Only the largest probability of a pixel is needed, 1 / sum_k exp(l_k - max l): much cheaper than a softmax.
    """
    best, labels = logits.max(dim=1)
    certainty = 1 / (logits - best.unsqueeze(1)).exp().sum(dim=1)
    parts = torch.arange(1, logits.shape[1], device=logits.device)[:, None]
    owned = (labels.flatten(1).unsqueeze(1) == parts).float()
    scores = (owned * certainty.flatten(1).unsqueeze(1)).sum(dim=2) / owned.sum(dim=2).clamp(min=1)
    return Readout(labels.to(torch.uint8), affine.matrix(), scores)


class ExportedStudent(nn.Module):
    """(B, S, S, 3) uint8 RGB -> Readout: everything between pixels and poses is inside."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student

    def forward(self, image: Tensor) -> Readout:
        images = image.float().permute(0, 3, 1, 2) / 255
        labels, affines, scores = read_out(*self.student.quarters(images))
        # Labels are put in order after the choice among the slots: an eleventh of the bytes for ten parts.
        return Readout(F.pixel_shuffle(labels, 2).squeeze(1), affines, scores)


class ExportedScops(nn.Module):
    """(B, S, S, 3) uint8 RGB -> Readout; poses are moments of the masks, their first axis without a direction."""

    def __init__(self, scops: Scops) -> None:
        super().__init__()
        self.scops = scops

    def forward(self, image: Tensor) -> Readout:
        return read_masks(self.scops.masks(image.float().permute(0, 3, 1, 2) / 255))


def read_masks(masks: Tensor) -> Readout:
    """Soft masks (B, 1 + K, S, S), background first -> labels by part_labels, and the poses and scores of the parts.

    A pose is made of the part's probabilities on the pixels it owns: the softmax's tails elsewhere would draw it to the
    middle of the image, and hard masks would let it jump by whole pixels. The score is the mean probability under
    the same weights.
    """
    labels = part_labels(masks)
    numbers = torch.arange(1, masks.shape[1], device=masks.device)[:, None, None]
    owned = torch.where(labels.unsqueeze(1) == numbers, masks[:, 1:], 0.0)
    moments = mask_moments(owned)
    scores = owned.square().sum((2, 3)) / moments.mass.clamp(min=1e-12)
    affine = pose_from_moments(moments, pixel_variance(*masks.shape[-2:]))
    return Readout(labels.to(torch.uint8), affine.matrix(), scores)
