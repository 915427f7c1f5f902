"""Slots that move together become one part; slots on two bones do not."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from streamparts.geometry import CANONICAL_SIGMAS  # noqa: E402
from streamparts.models.groups import PartGroups  # noqa: E402
from streamparts.models.layers import Affine  # noqa: E402
from train.drawing.puppet_clips import render_clip  # noqa: E402
from train.students.merge import SlotPoses, find_parts, fit_ellipse, living_slots, weld, weld_residual, whole_shapes  # noqa: E402


def rotation(angle: np.ndarray) -> np.ndarray:
    return np.stack([np.stack([np.cos(angle), -np.sin(angle)], -1), np.stack([np.sin(angle), np.cos(angle)], -1)], -2)


def body_with_split_part() -> SlotPoses:
    """True poses of four human puppets, the torso a second time as a piece at its end, and a dead slot."""
    bodies = np.concatenate([render_clip("human", seed, 48, (64, 64)).affines for seed in range(4)])
    piece = bodies[:, :1].copy()
    piece[..., 2] += 0.6 * piece[..., 0]
    piece[..., :2] *= 0.5
    affines = np.concatenate([bodies, piece, np.zeros_like(piece)], axis=1)
    areas = np.full(affines.shape[:2], 0.1, np.float32)
    areas[:, -1] = 0
    return SlotPoses(areas, affines)


def test_a_split_part_is_welded_and_nothing_else() -> None:
    poses = body_with_split_part()
    living = living_slots(poses)
    assert living == list(range(11))
    groups = {tuple(sorted(group)) for group in weld(poses, living)}
    assert (0, 10) in groups
    assert len(groups) == 10


def test_noise_of_the_poses_does_not_hide_a_weld() -> None:
    poses = body_with_split_part()
    noisy = poses.affines + np.random.default_rng(0).normal(0, 0.004, poses.affines.shape).astype(np.float32)
    assert weld_residual(SlotPoses(poses.areas, noisy), 0, 10) < 1


def test_slots_never_seen_together_are_not_welded() -> None:
    poses = body_with_split_part()
    areas = poses.areas.copy()
    areas[::2, 0] = 0
    areas[1::2, 10] = 0
    assert weld_residual(SlotPoses(areas, poses.affines), 0, 10) == float("inf")


def test_joined_masks_sum_to_one_and_dropped_slots_fall_to_the_background() -> None:
    masks = torch.rand(2, 5, 8, 8).softmax(dim=1)
    groups = PartGroups(((1, 0), (3,)), ((0.0, 0.0),) * 2, (0.0,) * 2, ((1.0, 1.0),) * 2)
    joined = groups.join_masks(masks)
    assert torch.allclose(joined.sum(1), torch.ones(2, 8, 8))
    assert torch.allclose(joined[:, 1], masks[:, 1] + masks[:, 2])
    assert torch.allclose(joined[:, 0], masks[:, 0] + masks[:, 3], atol=1e-6)


def test_a_part_pose_is_the_ellipse_of_its_whole_shape() -> None:
    lead = Affine(torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[0.4, 0.1]]]), torch.tensor([[[-0.3, -0.2]]]))
    shape = torch.zeros(64, 64)
    shape[24:40, 20:60] = 0.9  # canonical x from -0.6 to 1.4, y from -0.4 to 0.4
    shape[24:40, 60:] = 0.05  # too seldom
    fit = fit_ellipse(shape, lead.scale[0, 0])
    pose = PartGroups(((0,),), (fit.offset,), (fit.angle,), (fit.ratio,)).join_poses(lead)
    assert pose.translation[0, 0].tolist() == pytest.approx([-0.3, -0.2 + 0.4 * 0.4], abs=1e-3)
    assert pose.rotation[0, 0].tolist() == pytest.approx([0, 1], abs=1e-3)
    sides = [2.0 * 0.4, 0.8 * 0.1]
    assert pose.scale[0, 0].tolist() == pytest.approx([CANONICAL_SIGMAS * side / 12**0.5 for side in sides], rel=0.01)


class TwoSlots(torch.nn.Module):
    """A teacher that shows the left half of a bar in dark frames and its right half in bright ones."""

    def __init__(self) -> None:
        super().__init__()
        self.device_holder = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images: torch.Tensor, gate: float) -> tuple[torch.Tensor, Affine]:
        bright = images.mean((1, 2, 3)) > 0.5
        masks = torch.zeros(len(images), 2, 32, 32)
        masks[~bright, 1, 12:20, 8:18] = 1
        masks[bright, 1, 12:20, 14:24] = 1
        masks[:, 0] = 1 - masks[:, 1]
        one = torch.ones(len(images), 1, 1)
        pose = Affine(
            torch.cat([one, 0 * one], -1), torch.cat([0.5 * one, 0.5 * one], -1), torch.cat([0 * one] * 2, -1)
        )
        return masks, pose


def test_what_one_clip_hides_another_shows() -> None:
    frames = np.zeros((8, 32, 32, 3), np.uint8)
    frames[4:] = 255
    shapes, scales = whole_shapes(TwoSlots(), frames, 3.0, [[0]], batch=3)
    fit = fit_ellipse(shapes[0], scales[0])
    assert fit.offset == pytest.approx((0, 0), abs=0.02)
    width = fit.ratio[0] * 0.5 / CANONICAL_SIGMAS * 12**0.5
    assert width == pytest.approx(16 / 32 * 2, rel=0.05)


class NoSlots(TwoSlots):
    """A teacher to which everything is background."""

    def forward(self, images: torch.Tensor, gate: float) -> tuple[torch.Tensor, Affine]:
        masks, pose = super().forward(images, gate)
        masks[:, 0], masks[:, 1] = 1, 0
        return masks, pose


@pytest.mark.parametrize("merge", [True, False])
def test_a_teacher_that_sees_background_alone_has_no_parts(merge: bool) -> None:
    clip = SimpleNamespace(frames=np.zeros((8, 32, 32, 3), np.uint8))
    assert find_parts(NoSlots(), SimpleNamespace(clips=[clip]), 3.0, merge=merge).num_parts == 0
    assert find_parts(TwoSlots(), SimpleNamespace(clips=[clip]), 3.0, merge=merge).num_parts == 1
