"""Predictions of a student averaged over several views of a frame: rotated, scaled and mirrored ones, mapped back. The
average is steadier than any single view; adapt.py trains on it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from streamparts.bundle.spec import pairs_by_name
from streamparts.models.layers import Affine, invert
from streamparts.models.student import Student

from ..frames.clips import ClipFolder
from ..frames.close_ups import NEAR_REACH
from ..frames.transforms import similarity, to_images
from ..inputs.views import seen_through
from .student import ASKED_TOGETHER, MAX_KEPT, moved_poses

VIEWS = ((0.0, 1.0), (5.0, 1.1), (-5.0, 1.0))
"""Rotation in degrees and scale of each view; each is also mirrored if the part names distinguish sides."""


def mirror_images(names: Sequence[str]) -> NDArray[np.int64]:
    """(K,) the mirrored part of each part, itself for middle parts; empty if there is no pair."""
    pairs, order = pairs_by_name(names), np.arange(len(names))
    for one, other in pairs:
        order[[one, other]] = other, one
    return order if pairs else order[:0]


class OwnAnswers:
    """Masks and poses of every frame of a folder of close-ups, computed once and kept."""

    def __init__(self, student: Student, names: Sequence[str], folder: ClipFolder) -> None:
        self.student, self.folder = student.eval(), folder
        self.device = next(student.parameters()).device
        self.order = torch.from_numpy(mirror_images(names)).to(self.device)
        side, count = student.config.image_size, folder.num_frames * (1 + len(names))
        self.side = side if 2 * count * side**2 <= MAX_KEPT else side // 2
        masks, poses = [], []
        for near in tqdm(_batches(folder), desc="own answers", unit="batch", disable=None):
            some, affine = self.ask(to_images(torch.from_numpy(near).to(self.device)))
            masks.append(F.interpolate(some, size=(self.side, self.side), mode="area").half())
            poses.append(affine)
        self.masks = torch.cat(masks)
        """(N, 1 + K, s, s), frames in the order of the clips."""
        self.poses = Affine(*(torch.cat(values) for values in zip(*poses, strict=True)))

    def __call__(self, frames: Tensor, index: NDArray[np.int64]) -> tuple[Tensor, Affine]:
        """Predictions for frames (B,) of the folder, as from student.Answers; `frames` is unused."""
        rows = torch.from_numpy(index).to(self.device)
        return self.masks[rows].float(), Affine(*(value[rows] for value in self.poses))

    @torch.no_grad()
    def ask(self, near: Tensor) -> tuple[Tensor, Affine]:
        """(B, 3, C, C) images NEAR_REACH times as wide as the crops -> mean masks (B, 1 + K, S, S) and poses."""
        side, looks = self.student.config.image_size, []
        for degrees, scale in VIEWS:
            angle = torch.full((len(near),), math.radians(degrees), device=self.device)
            transform = similarity(angle, torch.full_like(angle, scale), angle.new_zeros(len(near), 2))
            image = seen_through(near, transform, NEAR_REACH, side)
            looks.append(self._moved_back(*self._look(image), transform))
            if len(self.order):
                masks, poses = self._look(image.flip(-1))
                looks.append(self._moved_back(*self._mirrored(masks, poses), transform))
        # views see different areas of the crop: each pixel is divided by the number of views that saw it
        masks = torch.stack([masks for masks, _, _ in looks]).sum(0) / torch.stack([seen for _, seen, _ in looks]).sum(
            0
        )
        # (V, B, K) overlap of each view's part with the mean mask: an outlier's pose counts little
        agree = torch.stack([(each * masks)[:, 1:].sum((2, 3)) for each, _, _ in looks])
        return masks, mean_poses([poses for _, _, poses in looks], agree)

    def _look(self, image: Tensor) -> tuple[Tensor, Affine]:
        logits, poses = self.student(image)
        return logits.softmax(1), poses

    def _mirrored(self, masks: Tensor, poses: Affine) -> tuple[Tensor, Affine]:
        """Map predictions for a mirrored image to the original image."""
        rows = torch.cat([self.order.new_zeros(1), 1 + self.order])
        # x -> -x: the first axis (cos, sin) becomes (-cos, sin), and the ellipse stays the same
        turned = torch.stack([-poses.rotation[..., 0], poses.rotation[..., 1]], -1)
        middle = torch.stack([-poses.translation[..., 0], poses.translation[..., 1]], -1)
        return masks.flip(-1)[:, rows], Affine(*(x[:, self.order] for x in (turned, poses.scale, middle)))

    def _moved_back(self, masks: Tensor, poses: Affine, transform: Tensor) -> tuple[Tensor, Tensor, Affine]:
        """Map masks and poses of a view to the crop, with the area of the crop that the view covered (B, 1, S, S)."""
        back, whole = invert(transform), torch.cat([masks, torch.ones_like(masks[:, :1])], 1)
        moved = seen_through(whole, back, 1.0, masks.shape[-1])
        return moved[:, :-1], moved[:, -1:], moved_poses(back, poses)


def _batches(folder: ClipFolder) -> list[NDArray[np.uint8]]:
    """(B, C, C, 3) images around the crops, a few frames at a time, in the order of the clips."""
    wide = [clip.close_up.near for clip in folder.clips if clip.close_up and clip.close_up.near]
    rows = [(near, i) for near in wide for i in range(len(near))]
    chunks = [rows[start : start + ASKED_TOGETHER] for start in range(0, len(rows), ASKED_TOGETHER)]
    return [np.stack([near[i] for near, i in chunk]) for chunk in chunks]


def mean_poses(poses: Sequence[Affine], agree: Tensor) -> Affine:
    """Means over V views of directions, log scales and positions, weighted by how well each view's mask of the part
    agrees with the mean, `agree` (V, B, K)."""
    # (V, B, K, 1) weights that sum to 1 over the views
    share = (agree / agree.sum(0).clamp(min=1e-9)).unsqueeze(-1)
    rotation, scale, place = (torch.stack([each[i] for each in poses]) for i in range(3))
    # means of direction and log scale do not depend on which view is the reference
    return Affine(
        F.normalize((share * rotation).sum(0), dim=-1), (share * scale.log()).sum(0).exp(), (share * place).sum(0)
    )
