"""From a network's soft masks and poses to what the runtime reads; the same inside every exported graph."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

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


def read_out(masks: Tensor, affine: Affine) -> Readout:
    """`masks` is (B, 1 + K, S, S), background first, summing to 1."""
    best, labels = masks.max(dim=1)
    owned = (labels.unsqueeze(1) == torch.arange(1, masks.shape[1], device=masks.device)[:, None, None]).float()
    mass = owned.sum(dim=(2, 3))
    scores = (owned * best.unsqueeze(1)).sum(dim=(2, 3)) / mass.clamp(min=1)
    return Readout(labels.to(torch.uint8), affine.matrix(), scores)


class ExportedStudent(nn.Module):
    """(B, S, S, 3) uint8 RGB -> Readout: everything between pixels and poses is inside."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student

    def forward(self, image: Tensor) -> Readout:
        images = image.float().permute(0, 3, 1, 2) / 255
        logits, affine = self.student(images)
        return read_out(logits.softmax(dim=1), affine)
