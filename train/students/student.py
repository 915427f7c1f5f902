"""Distils a trained teacher into the one-pass student that is exported.

The student sees a rotated, scaled, shifted and recoloured frame and must predict the frozen teacher's answer for the
original frame, transformed in the same way. The moving pixels sharpen its silhouette beyond the teacher's resolution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from streamparts.models.assembly import PartNetwork
from streamparts.models.groups import PartGroups
from streamparts.models.layers import Affine
from streamparts.models.student import StudentOutput

from ..frames.clips import ClipFolder
from ..frames.transforms import Draws, jitter_colour, random_similarity, to_images, warp_images
from ..inputs.augment import silhouette, trusted
from ..inputs.pairs import FrameBatch
from ..inputs.views import (
    emptied,
    instead_of_nothing,
    lesson_transforms,
    pasted,
    recoloured,
    seen_through,
    sharpened,
    view_images,
)
from ..terms import losses
from ..terms.appearance import appearance_loss

BODY = 3.0
"""Weight of a pixel of the subject in close-ups, relative to the background; with equal weights, the outline is learned
long before the parts."""
MAX_KEPT = 1 << 30
"""Maximum size of the stored answers, in bytes."""
ASKED_TOGETHER = 16
"""Number of frames that the teacher processes together to store its answers."""

ENCODER_SHARE = 0.3
"""Learning rate of a pretrained encoder, as a share of the student's."""
STUDENT_NORM = 8.0
"""Norm to which the student's gradients are clipped for close-ups: the gradients of its poses, large at first, would
otherwise leave nothing to its masks."""


@dataclass(frozen=True)
class StudentLoss:
    """One weight per term."""

    masks: float = 1.0
    """Cross-entropy against the teacher's masks."""
    translation: float = 1.0
    """L1 between centres in normalised units, weighted by the part's visible area."""
    shape: float = 0.5
    """L1 between the entries of A."""
    silhouette: float = 0.3
    """Cross-entropy of the foreground against the moving pixels."""
    edges: float = 1.0
    """Draws borders between parts to image edges, which are finer than the teacher's resolution."""
    appearance: float = 1.0
    """Assigns pixels to the part whose colours they have."""


@dataclass(frozen=True)
class Lesson:
    """A batch of inputs of the student, and its targets."""

    images: Tensor
    """(B, 3, S, S) in [0, 1]."""
    masks: Tensor
    """(B, 1 + P, S, S) masks of the teacher's parts, transformed with the image."""
    affine: Affine
    """Poses of the teacher's parts, transformed with the image."""
    silhouette: Tensor
    """(B, 1, S, S) moving pixels, in [0, 1]."""
    known: Tensor
    """(B, 1, S, S) 1 where the silhouette is trusted."""
    offset: float
    """In [0, 1); shifts the draw of the pixels whose colours are compared."""
    counted: Tensor | None = None
    """(B, 1, S, S) 1 where the masks count; None if they count everywhere."""
    trust: Tensor | None = None
    """(B, P) weights of the poses, in [0, 1]; None if all are 1."""


def moved_poses(transform: Tensor, affine: Affine) -> Affine:
    """Return poses after a similarity (B, 2, 3): rotated, scaled and shifted by it."""
    linear = transform[:, None, :, :2]
    scale = linear[..., 0].norm(dim=-1, keepdim=True)
    turned = (linear @ affine.rotation.unsqueeze(-1)).squeeze(-1) / scale
    moved = (linear @ affine.translation.unsqueeze(-1)).squeeze(-1) + transform[:, None, :, 2]
    return Affine(turned, affine.scale * scale, moved)


class Teaching(Protocol):
    """Provides the masks and poses of frames that a student learns."""

    @property
    def device(self) -> torch.device: ...

    def __call__(self, frames: Tensor, index: NDArray[np.int64], /) -> tuple[Tensor, Affine]: ...


class Answers:
    """The frozen teacher's parts in frames, at its own resolution. If frames recur and memory suffices, the teacher
    processes all frames once and its answers are stored, which is most of a step's cost."""

    def __init__(self, teacher: PartNetwork, groups: PartGroups, gate: float, folder: ClipFolder, drawn: int) -> None:
        """`drawn` is the number of frames of `folder` that all processes together will request."""
        self.teacher, self.groups, self.gate, self.folder = teacher, groups, gate, folder
        self.device: torch.device = next(teacher.parameters()).device
        self.size = teacher.config.image_size
        self._shape = (folder.num_frames, 1 + groups.num_parts, self.size, self.size)
        self._keeps = folder.num_frames <= drawn and 2 * math.prod(self._shape) <= MAX_KEPT

    @torch.no_grad()
    def __call__(self, frames: Tensor, index: NDArray[np.int64]) -> tuple[Tensor, Affine]:
        """Return masks (B, 1 + P, s, s) and poses for frames (B, 3, S, S) with indices (B,) in the folder. Stored
        answers are those for the frames of `folder`."""
        if not self._keeps:
            return self._ask(frames)
        (masks, poses), rows = self._kept, torch.from_numpy(index).to(self.device)
        return masks[rows].float(), Affine(*(value[rows] for value in poses))

    def _ask(self, frames: Tensor) -> tuple[Tensor, Affine]:
        # the masks of a part's slots are added; its pose comes from its leading slot
        slot_masks, slots = self.teacher(F.interpolate(frames, size=(self.size, self.size), mode="area"), self.gate)
        return self.groups.join_masks(slot_masks), self.groups.join_poses(slots)

    @cached_property
    def _kept(self) -> tuple[Tensor, Affine]:
        """Compute the answers for all frames, in the order of the clips, with masks in half precision. The batches are
        always the same, so that a resumed run uses exactly the same numbers."""
        frames = [(clip, i) for clip in self.folder.clips for i in range(len(clip.frames))]
        masks, poses = torch.empty(self._shape, dtype=torch.float16, device=self.device), []
        for start in tqdm(range(0, len(frames), ASKED_TOGETHER), desc="teacher's answers", disable=None):
            some = np.stack([clip.frames[i] for clip, i in frames[start : start + ASKED_TOGETHER]])
            masks[start : start + len(some)], affine = self._ask(to_images(torch.from_numpy(some).to(self.device)))
            poses.append(affine)
        return masks, Affine(*(torch.cat(values) for values in zip(*poses, strict=True)))


@torch.no_grad()
def prepare_lesson(batch: FrameBatch, answers: Answers, draws: Draws) -> Lesson:
    """Let the teacher segment the frames, then transform frame and answer by one random similarity."""
    device = answers.device
    frames, background = (to_images(torch.from_numpy(x).to(device)) for x in (batch.frames, batch.background))
    coarse, affine = answers(frames, batch.index)
    masks = F.interpolate(coarse, frames.shape[-2:], mode="bilinear", align_corners=False)
    moving = silhouette(frames, background)
    known = trusted(moving, torch.from_numpy(batch.known).to(device)[:, None])
    transform = random_similarity(draws, 20, (0.5, 1.15), 0.15).to(device)
    # one warp for all maps: frames 3, masks 1 + P, silhouette 1, known 1 channels
    moved = warp_images(torch.cat([frames, masks, moving, known], dim=1), transform)
    # colours change only in what the student sees
    images = jitter_colour(moved[:, None, :3], draws, 0.3)[:, 0]
    poses, offset = moved_poses(transform, affine), draws.offset()
    return Lesson(images, moved[:, 3:-2], poses, moved[:, -2:-1], (moved[:, -1:] > 0.99).float(), offset)


@torch.no_grad()
def prepare_view_lesson(batch: FrameBatch, answers: Teaching, draws: Draws) -> Lesson:
    """Prepare a lesson of close-ups: inputs/views.py draws the views, and the teacher's answer for the crop is
    transformed with them."""
    views = batch.views
    assert views is not None
    device, side = answers.device, batch.frames.shape[1]
    coarse, affine = answers(to_images(torch.from_numpy(batch.frames).to(device)), batch.index)
    maps = to_images(torch.from_numpy(views.maps).to(device))
    masks = F.interpolate(coarse, (side, side), mode="bilinear", align_corners=False)
    # the teacher sees the crop at its own, lower resolution; the subject's mask refines its outline
    masks = sharpened(masks, maps[:, :1], (maps[:, 1:2] > 0.99).float())
    transform, kind = instead_of_nothing(*lesson_transforms(draws), views)
    transform, kind = transform.to(device), kind.to(device)
    # the last channel, all ones, becomes 0 outside the crop
    seen = seen_through(torch.cat([masks[:, 1:], maps[:, :2], torch.ones_like(masks[:, :1])], 1), transform, 1.0, side)
    parts, subject, sure, inside = torch.split(seen, [masks.shape[1] - 1, 1, 1, 1], dim=1)
    images, close = view_images(views, transform, kind, side)
    # some subjects are pasted before the background of another image of the batch
    together = pasted(images, subject, emptied(images, subject).roll(1, 0), draws)
    images = recoloured(torch.where(close[:, None, None, None], together, images), draws)
    alone = torch.from_numpy(views.alone).to(device)[:, None, None, None]
    # outside the crop, a pixel is background if the clip has no other subject, and unknown otherwise
    outside = (inside < 0.5) & alone
    known = ((sure > 0.99) & (inside > 0.99)) | outside
    counted = ((inside > 0.99) | outside).float()
    # slot 0 is the rest, so that masks sum to 1 also outside the crop
    whole = torch.cat([1 - parts.sum(1, keepdim=True), parts], dim=1)
    return Lesson(images, whole, moved_poses(transform, affine), subject, known.float(), draws.offset(), counted)


def student_loss(
    output: StudentOutput, lesson: Lesson, weights: StudentLoss, emphasis: float = 1.0
) -> dict[str, Tensor]:
    """Return the weighted terms by name. `emphasis` is that of the clips, see losses.emphasis."""
    log_masks = output.logits.log_softmax(dim=1)
    # (B, P) share of the image; the pose of a part that is hardly visible hardly counts
    seen = lesson.masks[:, 1:].mean((2, 3))
    trust = seen / (seen + 0.002) * (1.0 if lesson.trust is None else lesson.trust)
    centres = (output.affine.translation - lesson.affine.translation).abs().sum(-1)
    shapes = (output.affine.matrix() - lesson.affine.matrix())[..., :2].abs().sum((-1, -2))
    masks = log_masks.exp()
    entropy = -(lesson.masks * log_masks).sum(1, keepdim=True)
    # in close-ups, pixels of the subject weigh BODY times as much as the background
    counted = torch.ones_like(entropy)
    if lesson.counted is not None:
        counted = lesson.counted * (1 + (BODY - 1) * (1 - lesson.masks[:, :1]))
    appearance = appearance_loss(masks.flatten(2), lesson.images.flatten(2), lesson.offset)
    return {
        "masks": emphasis * weights.masks * losses.known_mean(entropy, counted),
        "translation": weights.translation * (centres * trust).mean(),
        "shape": weights.shape * (shapes * trust).mean(),
        "silhouette": emphasis * weights.silhouette * losses.silhouette_loss(masks, lesson.silhouette, lesson.known),
        "edges": weights.edges * losses.edge_loss(masks, lesson.images, reach=(1, 3)),
        "appearance": emphasis * weights.appearance * appearance,
    }
