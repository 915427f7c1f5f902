"""Adds rendered images, whose parts are known exactly, to lessons from clips."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn import functional as F

from streamparts.models.layers import Affine

from ..inputs.rendered import Truth
from .student import Lesson


def with_truth(lesson: Lesson, truth: Truth) -> Lesson:
    """Append a batch of rendered images with the same parts; their silhouettes are known everywhere."""
    device, num_parts = lesson.images.device, truth.centres.shape[1]
    masks = F.one_hot(truth.labels, 1 + num_parts).permute(0, 3, 1, 2).float()
    scale = truth.shapes.norm(dim=-2)  # A = R diag(s): the columns' lengths
    poses = Affine(truth.shapes[..., 0] / scale[..., :1].clamp(min=1e-6), scale, truth.centres)
    whole = torch.ones_like(masks[:, :1])
    counted = torch.ones_like(lesson.known) if lesson.counted is None else lesson.counted
    trust = lesson.images.new_ones(len(lesson.images), num_parts) if lesson.trust is None else lesson.trust

    def joined(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return torch.cat([first, second.to(device)])

    return replace(
        lesson,
        images=joined(lesson.images, truth.images),
        masks=joined(lesson.masks, masks),
        affine=Affine(*(joined(one, other) for one, other in zip(lesson.affine, poses, strict=True))),
        silhouette=joined(lesson.silhouette, 1 - masks[:, :1]),
        known=joined(lesson.known, whole),
        counted=joined(counted, whole),
        trust=joined(trust, truth.trust),
    )
