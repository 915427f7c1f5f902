"""Converts a network's masks and poses to the outputs that the runtime reads; the same in every exported graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamparts.models.assembly import PartNetwork
from streamparts.models.groups import PartGroups
from streamparts.models.layers import Affine
from streamparts.models.moments import mask_moments, pixel_variance, pose_from_moments
from streamparts.models.scops import BACKGROUND_LEVEL, LEVELS, Scops, part_labels
from streamparts.models.segmenter import Segmenter
from streamparts.models.student import Student


class Readout(NamedTuple):
    """The exported outputs, in this order."""

    labels: Tensor
    """(B, S, S) uint8: 0 background, k + 1 part k."""
    affines: Tensor
    """(B, K, 2, 3) canonical -> normalised image coordinates."""
    scores: Tensor
    """(B, K) in [0, 1]: mean probability of a part over its pixels, 0 without any."""
    evidence: Tensor | None = None
    """(B, K, 2) mass and peak of a part, each in [0, 1]: the sum of its probabilities over its pixels as a share of all
    pixels, and the largest of them."""


def read_out(logits: Tensor, affine: Affine) -> Readout:
    """`logits` (B, 1 + K, S, S), background first, whose softmax over the slots gives the masks; or (B, 1 + K, 4, S/2,
    S/2) as from Student.quarters. Labels are reordered after the argmax over slots, an eleventh of the bytes for ten
    parts.

    Only the largest probability of a pixel is needed, 1 / sum_k exp(l_k - max l), which is much cheaper than a softmax.
    """
    best, labels = logits.max(dim=1)
    certainty = 1 / (logits - best.unsqueeze(1)).exp().sum(dim=1)
    return _of_owned_pixels(labels, certainty, affine)


def _of_owned_pixels(labels: Tensor, certainty: Tensor, affine: Affine) -> Readout:
    """`labels` and the probability of each pixel's own label, both (B, S, S) or (B, 4, S/2, S/2)."""
    # (K, 1), compared with (B, 1, pixels): one mask per part
    parts = torch.arange(1, affine.scale.shape[1] + 1, device=labels.device)[:, None]
    owned = (labels.flatten(1).unsqueeze(1) == parts).float()
    sure = owned * certainty.flatten(1).unsqueeze(1)
    total = sure.sum(dim=2)
    # (B, K, 2): mass as a share of all pixels, and peak
    evidence = torch.stack([total / owned.shape[2], sure.amax(dim=2)], dim=-1)
    if labels.dim() == 4:  # as floats: TensorRT allows uint8 only at outputs, ONNX Runtime shuffles no integers
        labels = F.pixel_shuffle(labels.float(), 2).squeeze(1)
    return Readout(labels.to(torch.uint8), affine.matrix(), total / owned.sum(dim=2).clamp(min=1), evidence)


class Exported(nn.Module):
    """(B, S, S, 3) uint8 RGB -> Readout: everything between pixels and poses is inside. `evidence` False omits that
    output."""

    def __init__(self, evidence: bool = True) -> None:
        super().__init__()
        self.evidence = evidence

    def forward(self, image: Tensor) -> Readout:
        readout = self.read(image.float().permute(0, 3, 1, 2) / 255)
        return readout if self.evidence else readout._replace(evidence=None)

    def read(self, images: Tensor) -> Readout:
        """(B, 3, S, S) RGB in [0, 1] -> Readout."""
        raise NotImplementedError


class ExportedStudent(Exported):
    """The student's masks and poses."""

    def __init__(self, student: Student, evidence: bool = True) -> None:
        super().__init__(evidence)
        self.student = student
        self.readout: Callable[[Tensor, Affine], Readout] = read_out
        """Also readout_kernel.FusedReadout."""

    def read(self, images: Tensor) -> Readout:
        return self.readout(*self.student.quarters(images))


class ExportedScops(Exported):
    """Masks of SCOPS; poses are moments of the masks, whose first axis has no direction."""

    def __init__(self, scops: Scops, evidence: bool = True) -> None:
        super().__init__(evidence)
        self.scops = scops

    def read(self, images: Tensor) -> Readout:
        config = self.scops.config
        return read_masks(self.scops.masks(images), config.background_level, config.peak_floor)


class ExportedSegmenter(Exported):
    """Masks of a segmenter; poses are moments of the masks, whose first axis has no direction."""

    def __init__(self, segmenter: Segmenter, evidence: bool = True) -> None:
        super().__init__(evidence)
        self.segmenter = segmenter

    def read(self, images: Tensor) -> Readout:
        return read_largest(self.segmenter.masks(images))


class ExportedTeacher(Exported):
    """An Assembly teacher, with its slots joined to parts: the same outputs as its student's, at the cost of a decoder
    pass per slot."""

    def __init__(self, teacher: PartNetwork, groups: PartGroups, gate: float, evidence: bool = True) -> None:
        super().__init__(evidence)
        self.teacher, self.groups, self.gate = teacher, groups, gate

    def read(self, images: Tensor) -> Readout:
        # masks (B, 1 + K, S, S) and poses (B, K) of the teacher's slots
        masks, slots = self.teacher(images, self.gate)
        # (B, 1 + K, S, S) of the joined parts; a softmax's maximum is its certainty
        certainty, labels = self.groups.join_masks(masks).max(dim=1)
        return _of_owned_pixels(labels, certainty, self.groups.join_poses(slots))


def read_masks(masks: Tensor, level: float = BACKGROUND_LEVEL, peak_floor: float = 0.0) -> Readout:
    """Soft masks (B, 1 + K, S, S), background first -> labels by part_labels at this `level` and `peak_floor`, and the
    poses and scores of the parts.

    A pose is computed from the part's probabilities over its pixels: the softmax's tails elsewhere would pull it to the
    middle of the image, and hard masks would make it jump by whole pixels. The score is the mean probability with the
    same weights.
    """
    return _of_masks(masks, part_labels(masks, level, peak_floor))


def read_largest(masks: Tensor) -> Readout:
    """Soft masks (B, 1 + K, S, S), background first -> labels by the largest mask, and poses and scores as by
    read_masks. Masks are compared in LEVELS steps, so that rounding errors do not choose among equal ones."""
    return _of_masks(masks, (masks * LEVELS).round().max(dim=1).indices)


def _of_masks(masks: Tensor, labels: Tensor) -> Readout:
    """Readout of (B, 1 + K, S, S) masks with (B, S, S) labels."""
    numbers = torch.arange(1, masks.shape[1], device=masks.device)[:, None, None]
    # (B, K, S, S) a part's probabilities over its own pixels, 0 elsewhere
    owned = torch.where(labels.unsqueeze(1) == numbers, masks[:, 1:], 0.0)
    moments = mask_moments(owned)
    # sum p^2 / sum p: the mean of p with weights p
    scores = owned.square().sum((2, 3)) / moments.mass.clamp(min=1e-12)
    affine = pose_from_moments(moments, pixel_variance(*masks.shape[-2:]))
    pixels = masks.shape[-2] * masks.shape[-1]
    evidence = torch.stack([moments.mass / pixels, owned.amax(dim=(2, 3))], dim=-1)
    return Readout(labels.to(torch.uint8), affine.matrix(), scores, evidence)
