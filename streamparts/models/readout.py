"""From a network's mask logits and poses to what the runtime reads; the same inside every exported graph."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamparts.models.layers import Affine
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
