"""Slots that move as one become one part; slots on two bones do not."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from streamparts.models.layers import Affine  # noqa: E402
from train.merge import PartGroups, SlotPoses, living_slots, relative_ellipse, weld, weld_residual  # noqa: E402
from train.puppets import render_clip  # noqa: E402


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


def test_a_joined_pose_is_the_ellipse_found_relative_to_its_leading_slot() -> None:
    mask = torch.zeros(1, 1, 64, 64)
    mask[:, :, 20:30, 10:50] = 1
    lead = Affine(torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[0.2, 0.1]]]), torch.tensor([[[-0.3, -0.2]]]))
    x, y, angle, *ratios = relative_ellipse(mask, lead)[0].tolist()
    groups = PartGroups(((0,),), ((x, y),), (angle,), ((ratios[0], ratios[1]),))
    pose = groups.join_poses(lead)
    assert pose.translation[0, 0].tolist() == pytest.approx([60 / 64 - 1, 50 / 64 - 1], abs=1e-4)
    assert abs(pose.rotation[0, 0, 0].item()) == pytest.approx(1, abs=1e-4)
    assert pose.scale[0, 0, 0].item() / pose.scale[0, 0, 1].item() == pytest.approx(4, rel=0.01)
