"""Distil a trained teacher into the one-pass student that is exported.

The student sees a turned, scaled, shifted and recoloured frame and must give what the frozen teacher said of the
plain one, moved alike. The moving pixels sharpen its silhouette beyond the teacher's resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from streamparts.models.assembly import PartNetwork
from streamparts.models.groups import PartGroups
from streamparts.models.layers import Affine
from streamparts.models.student import StudentOutput
from train import losses
from train.augment import Draws, jitter_colour, random_similarity, silhouette, to_images, trusted, warp_images
from train.clips import PairBatch


@dataclass(frozen=True)
class StudentLoss:
    """One weight per term."""

    masks: float = 1.0
    """Cross-entropy against the teacher's masks."""
    translation: float = 4.0
    """L1 between centres, normalised units, weighted by how much of the part is seen."""
    shape: float = 2.0
    """L1 between the entries of A."""
    silhouette: float = 0.3
    """Cross-entropy of the foreground against the moving pixels."""
    edges: float = 1.0
    """Borders between parts are drawn to edges of the picture, finer than the teacher saw them."""
    appearance: float = 1.0
    """Pixels with a part's colours belong to that part."""


@dataclass(frozen=True)
class Lesson:
    """A batch of what the student sees and should say."""

    images: Tensor
    """(B, 3, S, S)"""
    masks: Tensor
    """(B, 1 + P, S, S) of the teacher's parts, moved with the image."""
    affine: Affine
    """Poses of the teacher's parts, moved with the image."""
    silhouette: Tensor
    """(B, 1, S, S)"""
    known: Tensor
    """(B, 1, S, S) 1 where the silhouette can be trusted."""
    offset: float
    """In [0, 1), moves the draw of the pixels whose colours are compared."""


def moved_poses(transform: Tensor, affine: Affine) -> Affine:
    """Poses after a similarity (B, 2, 3): turned by its angle, scaled by its scale, moved."""
    linear = transform[:, None, :, :2]
    scale = linear[..., 0].norm(dim=-1, keepdim=True)
    turned = (linear @ affine.rotation.unsqueeze(-1)).squeeze(-1) / scale
    moved = (linear @ affine.translation.unsqueeze(-1)).squeeze(-1) + transform[:, None, :, 2]
    return Affine(turned, affine.scale * scale, moved)


@torch.no_grad()
def prepare_lesson(batch: PairBatch, teacher: PartNetwork, groups: PartGroups, gate: float, draws: Draws) -> Lesson:
    """Let the teacher segment the sources, then move frame and answer by one random similarity."""
    device = next(teacher.parameters()).device
    frames, background = (to_images(torch.from_numpy(x).to(device)) for x in (batch.source, batch.source_background))
    size = teacher.config.image_size
    slot_masks, slots = teacher(F.interpolate(frames, size=(size, size), mode="area"), gate)
    masks = F.interpolate(groups.join_masks(slot_masks), frames.shape[-2:], mode="bilinear", align_corners=False)
    moving = silhouette(frames, background)
    known = trusted(moving, torch.from_numpy(batch.source_known).to(device)[:, None])
    transform = random_similarity(draws, 20, (0.5, 1.15), 0.15).to(device)
    moved = warp_images(torch.cat([frames, masks, moving, known], dim=1), transform)
    images = jitter_colour(moved[:, None, :3], draws, 0.3)[:, 0]
    poses, offset = moved_poses(transform, groups.join_poses(slots)), draws.offset()
    return Lesson(images, moved[:, 3:-2], poses, moved[:, -2:-1], (moved[:, -1:] > 0.99).float(), offset)


def student_loss(
    output: StudentOutput, lesson: Lesson, weights: StudentLoss, emphasis: float = 1.0
) -> dict[str, Tensor]:
    """The weighted terms by name. `emphasis` is the clips' own, see losses.emphasis."""
    log_masks = output.logits.log_softmax(dim=1)
    seen = lesson.masks[:, 1:].mean((2, 3))
    trust = seen / (seen + 0.002)
    centres = (output.affine.translation - lesson.affine.translation).abs().sum(-1)
    shapes = (output.affine.matrix() - lesson.affine.matrix())[..., :2].abs().sum((-1, -2))
    masks = log_masks.exp()
    appearance = losses.appearance_loss(masks.flatten(2), lesson.images.flatten(2), lesson.offset)
    return {
        "masks": -emphasis * weights.masks * (lesson.masks * log_masks).sum(1).mean(),
        "translation": weights.translation * (centres * trust).mean(),
        "shape": weights.shape * (shapes * trust).mean(),
        "silhouette": emphasis * weights.silhouette * losses.silhouette_loss(masks, lesson.silhouette, lesson.known),
        "edges": weights.edges * losses.edge_loss(masks, lesson.images, reach=(1, 3)),
        "appearance": emphasis * weights.appearance * appearance,
    }
