"""Hidden parts placed by the skeleton."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from streamparts.data import Frame
from streamparts.tracking.occlusion import Chains
from streamparts.tracking.pose_filter import PoseFilter
from streamparts.tracking.skeleton import Joint, Skeleton, place
from streamparts.tracking.skeleton_finding import find_skeleton
from streamparts.tracking.smoothing import Smoothing
from streamparts.tracking.tracker import PartTracker
from tests.test_skeleton import seen as all_seen
from tests.test_skeleton import tracked
from tests.test_swaps import LETTERBOX, as_parts

RATE, FRAME_SECONDS = 25.0, Fraction(1, 30)
FIRST, LAST = 100, 110
"""Frames with hidden parts."""


def human() -> tuple[np.ndarray, Skeleton]:
    affines, _, names = tracked("human", 0)
    return affines, find_skeleton(affines, all_seen(affines), names, 256)


def hide(affines: np.ndarray, skeleton: Skeleton, *names: str) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Measured poses, which are nonsense where parts are hidden; (F, K) what is seen; the parts' numbers."""
    measured, seen = affines.copy(), np.ones(affines.shape[:2], bool)
    parts = [skeleton.parts.index(name) for name in names]
    seen[FIRST:LAST, parts] = False
    measured[FIRST:LAST, parts] = 7
    return measured, seen, parts


def filtered(measured: np.ndarray, seen: np.ndarray, skeleton: Skeleton | None) -> tuple[np.ndarray, np.ndarray]:
    """(F, K, 2, 3) poses and (F, K) which were filled in."""
    pose_filter, sure = PoseFilter(measured.shape[1], None, skeleton), np.ones(measured.shape[1], np.float32)
    out, filled = [], []
    for number, (affines, visible) in enumerate(zip(measured, seen, strict=True)):
        out.append(pose_filter.update(number / RATE, affines, sure, visible, 256))
        filled.append(pose_filter.filled)
    return np.stack(out), np.stack(filled)


def doubted(
    measured: np.ndarray, seen: np.ndarray, parts: list[int], confidence: float, skeleton: Skeleton | None
) -> np.ndarray:
    """(F, K, 2, 3) poses, `parts` seen with that confidence from FIRST to LAST."""
    pose_filter, out = PoseFilter(measured.shape[1], None, skeleton), []
    for number, (affines, visible) in enumerate(zip(measured, seen, strict=True)):
        sure = np.ones(measured.shape[1], np.float32)
        sure[parts] = confidence if FIRST <= number < LAST else 1
        out.append(pose_filter.update(number / RATE, affines, sure, visible, 256))
    return np.stack(out)


def errors(found: np.ndarray, true: np.ndarray, parts: list[int]) -> np.ndarray:
    """(F, P) pixels while hidden."""
    return np.hypot(*(found - true)[FIRST:LAST, parts, :, 2].transpose(2, 0, 1))


@pytest.mark.parametrize(
    "names",
    [("torso",), ("left_upper_arm",), ("right_thigh",), ("head",), ("torso", "head"), ("left_thigh", "right_thigh")],
)
def test_hidden_parts_go_on_with_their_neighbours(names: tuple[str, ...]) -> None:
    affines, skeleton = human()
    measured, seen, parts = hide(affines, skeleton, *names)
    found, filled = filtered(measured, seen, skeleton)
    assert errors(found, affines, parts).mean() < 3
    assert np.array_equal(filled, ~seen)


def test_an_arm_that_hangs_on_a_joint_is_off_by_less_than_one_that_flies_on() -> None:
    with_it, without = list[float](), list[float]()
    for seed in range(6):
        affines, _, names = tracked("human", seed)
        skeleton = find_skeleton(affines, all_seen(affines), names, 256)
        measured, seen, parts = hide(affines, skeleton, "left_forearm")
        for chosen, found in ((skeleton, with_it), (None, without)):
            found.append(errors(filtered(measured, seen, chosen)[0], affines, parts).mean())
    assert np.mean(with_it) < 0.6 * np.mean(without)


def test_a_chain_of_hidden_parts_hangs_together_and_on_its_visible_end() -> None:
    affines, skeleton = human()
    measured, seen, _ = hide(affines, skeleton, "left_thigh", "left_shin")
    found, filled = filtered(measured, seen, skeleton)
    assert np.array_equal(filled, ~seen)
    for joint in skeleton.joints:
        if not seen[FIRST, joint.child]:
            ends = ((joint.parent, joint.in_parent), (joint.child, joint.in_child))
            one, other = (np.stack([place(pose, point) for pose in found[FIRST:LAST, part]]) for part, point in ends)
            assert np.hypot(*(one - other).T).max() < 3


def pendulum(num_frames: int = 120) -> tuple[np.ndarray, Skeleton]:
    """Three rods in a row, hinged at their ends; the middle one swings, the outer ones keep their angle and follow."""
    angle = 0.8 * np.sin(np.arange(num_frames) / 12)
    affines = np.zeros((num_frames, 3, 2, 3), np.float32)
    cos, sin, one, none = np.cos(angle), np.sin(angle), np.ones(num_frames), np.zeros(num_frames)
    hinge = np.array([100.0, 100.0])
    far_hinge = hinge + 40 * np.stack([cos, sin], -1)
    for part, (c, s) in enumerate(((one, none), (cos, sin), (one, none))):
        affines[:, part, 0, 0], affines[:, part, 1, 0] = 20 * c, 20 * s
        affines[:, part, 0, 1], affines[:, part, 1, 1] = -5 * s, 5 * c
    affines[:, 0, :, 2] = hinge - [20, 0]
    affines[:, 1, :, 2] = (hinge + far_hinge) / 2
    affines[:, 2, :, 2] = far_hinge + np.array([20, 0])
    end = {"in_parent": (1.0, 0.0), "in_child": (-1.0, 0.0), "kind": "hinge", "residual": 0.001, "confidence": 1.0}
    joints = (Joint(parent=0, child=1, **end), Joint(parent=1, child=2, **end))  # type: ignore[arg-type]
    return affines, Skeleton(parts=("a", "b", "c"), root=0, joints=joints, num_frames=num_frames)


def test_two_joints_tell_the_angle_as_well() -> None:
    affines, skeleton = pendulum()
    measured, seen, parts = hide(affines, skeleton, "b")
    found, _ = filtered(measured, seen, skeleton)
    turned = np.arctan2(found[..., 1, 0], found[..., 0, 0]) - np.arctan2(affines[..., 1, 0], affines[..., 0, 0])
    assert np.abs(np.rad2deg(turned[FIRST:LAST, 1])).max() < 6
    assert errors(found, affines, parts).max() < 1.5


def test_nothing_jumps_when_a_part_vanishes_or_comes_back() -> None:
    affines, skeleton = human()
    measured, seen, parts = hide(affines, skeleton, "torso")
    found, _ = filtered(measured, seen, skeleton)
    steps = np.hypot(*np.diff(found[:, parts[0], :, 2], axis=0).T)
    true = np.hypot(*np.diff(affines[:, parts[0], :, 2], axis=0).T)
    assert steps[FIRST - 2 : LAST + 3].max() < true[FIRST - 10 : LAST + 10].max() + 2


def test_what_a_hidden_part_measures_does_not_matter() -> None:
    affines, skeleton = human()
    measured, seen, parts = hide(affines, skeleton, "left_thigh")
    other = measured.copy()
    other[FIRST:LAST, parts] = 99
    assert np.array_equal(filtered(measured, seen, skeleton)[0], filtered(other, seen, skeleton)[0])


def test_parts_that_were_never_seen_or_hang_on_nothing_are_not_filled() -> None:
    affines, skeleton = pendulum()
    seen = np.ones(affines.shape[:2], bool)
    seen[:, 1] = False
    found, filled = filtered(affines, seen, skeleton)
    assert not filled.any() and np.allclose(found[:, 1], affines[:, 1], atol=1e-3)
    loose = tuple(
        Joint(**{**{f: getattr(j, f) for f in Joint.__struct_fields__}, "kind": "free"}) for j in skeleton.joints
    )
    measured, seen, _ = hide(affines, skeleton, "b")
    free = Skeleton(parts=skeleton.parts, root=0, joints=loose, num_frames=1)
    assert not filtered(measured, seen, free)[1].any()
    seen[FIRST:LAST] = False
    assert not filtered(measured, seen, skeleton)[1].any(), "nobody to hang on"


def test_a_part_that_is_seen_badly_is_drawn_towards_its_joint() -> None:
    with_it, without = list[float](), list[float]()
    for seed in range(4):
        affines, _, names = tracked("human", seed)
        skeleton = find_skeleton(affines, all_seen(affines), names, 256)
        parts, rng = (
            [skeleton.parts.index(name) for name in ("left_forearm", "right_shin")],
            np.random.default_rng(seed),
        )
        measured = affines.copy()
        measured[FIRST:LAST, parts, :, 2] += rng.normal(0, 12, (2, LAST - FIRST, 2))
        seen = np.ones(affines.shape[:2], bool)
        for chosen, found in ((skeleton, with_it), (None, without)):
            found.append(errors(doubted(measured, seen, parts, 0.1, chosen), affines, parts).mean())
        surely = doubted(affines, seen, parts, 1.0, skeleton)
        assert np.array_equal(surely, doubted(affines, seen, parts, 1.0, None)), "what is sure needs no skeleton"
    assert np.mean(with_it) < 0.6 * np.mean(without)


def test_parts_hang_on_badly_seen_ones_where_no_other_is_seen() -> None:
    affines, skeleton = pendulum()
    measured, seen, parts = hide(affines, skeleton, "c")
    pose_filter = PoseFilter(3, None, skeleton)
    for number, (pose, visible) in enumerate(zip(measured[:LAST], seen[:LAST], strict=True)):
        pose_filter.update(number / RATE, pose, np.full(3, 0.2 if number >= FIRST else 1, np.float32), visible, 256)
        assert pose_filter.filled.tolist() == [False, False, number >= FIRST], parts


def test_a_joint_draws_as_the_extended_kalman_filter_says() -> None:
    _, skeleton = pendulum()
    covariance = np.zeros((3, 3, 5))
    covariance[0], covariance[1], covariance[2] = [9, 9, 1, 1, 0.2], [30, 30, 1, 1, 0.7], [100, 100, 1, 1, 5]
    value = np.array([[80, 100, 3, 1.6, 0.1], [123, 104, 2.9, 1.5, 0.4], [0, 0, 0, 0, 0]], float)
    velocity = np.full((3, 5), 2.0)
    now, known = (value.copy(), velocity.copy()), np.array([True, True, False])
    sure = np.array([True, False, True])
    moved = Chains(skeleton).place((value, velocity), now, covariance, sure, known, known, 0.04)

    def joint(row: np.ndarray, end: float) -> np.ndarray:
        return row[:2] + end * np.exp(row[2]) * np.array([np.cos(row[4]), np.sin(row[4])])

    # The state is x, y, angle of "b"; the measurement where "a" has the joint; the Jacobian by small differences.
    steps = [joint(value[1] + 1e-6 * np.eye(5)[column], -1) - joint(value[1], -1) for column in (0, 1, 4)]
    slope = np.stack(steps, 1) / 1e-6
    around = 9 + 0.2 * np.exp(3) ** 2 / 2 + (0.001 * 256) ** 2 / 2
    state, cross = np.diag([9, 9, 0.2]), np.diag([30, 30, 0.7])
    gain = slope.T @ np.linalg.inv(slope @ state @ slope.T + around * np.eye(2))
    surprise = joint(value[0], 1) - joint(value[1], -1)
    assert now[0][1, [0, 1, 4]] == pytest.approx(value[1, [0, 1, 4]] + state @ gain @ surprise, abs=1e-4)
    assert now[1][1, [0, 1, 4]] == pytest.approx(velocity[1, [0, 1, 4]] + cross @ gain @ surprise, abs=1e-4)
    assert moved.tolist() == [False, True, False]
    assert np.array_equal(now[0][[0, 2]], value[[0, 2]]) and np.array_equal(now[0][1, 2:4], value[1, 2:4])


@pytest.mark.parametrize("smoothing", [None, Smoothing()])
def test_the_tracker_fills_hidden_parts_and_says_so(smoothing: Smoothing | None) -> None:
    end = {"in_parent": (3.0, 0.0), "in_child": (-3.0, 0.0), "kind": "weld", "residual": 0.001, "confidence": 1.0}
    skeleton = Skeleton(parts=("left", "right"), root=0, joints=(Joint(parent=0, child=1, **end),), num_frames=9)  # type: ignore[arg-type]
    tracker = PartTracker(("left", "right"), smoothing=smoothing, skeleton=skeleton)
    image = np.zeros((64, 64, 3), np.uint8)
    for index in range(40):
        x = 15 + index / 2
        parts = as_parts(np.array([[x, 32], [x + 19.2, 32]]))
        if hidden := index >= 25:
            parts = replace(parts, scores=np.array([1, 0], np.float32))
            parts.affines[1, :, 2] = -0.9
        tracks = tracker.update(Frame(index, index, FRAME_SECONDS, image, 0, 64, 64, 0.0), LETTERBOX, parts)
        assert tracks.filled is not None and tracks.joints is not None
        assert tracks.filled.tolist() == [False, hidden] and tracks.visible.tolist() == [True, not hidden]
        if index > 15:
            assert tracks.centers[1] == pytest.approx([x + 19.2, 32], abs=1.2)
            assert tracks.joints.points[0] == pytest.approx([x + 9.6, 32], abs=1.2)
        if smoothing is None:
            assert tracks.centers[0] == pytest.approx([x, 32], abs=1e-3), "what is seen stays as it was"
