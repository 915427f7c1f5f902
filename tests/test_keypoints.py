"""Keypoints and the parts at their positions, on hand-computed cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("sklearn")

from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from train.judging.keypoints import (
    NOTHING,
    keypoint_table,
    keypoints_section,
    labels_under,
    numbered,
    own_section,
)
from train.labels.body_points import COCO_17, MEDIAPIPE_33, PERSON_PARTS, body_groups, own_parts

PARTS = (
    "torso", "right_thigh", "left_thigh", "head", "right_shin", "left_shin",
    "left_upper_arm", "right_upper_arm", "left_forearm", "right_forearm",
)  # fmt: skip
LABEL = {name: number for number, name in enumerate(PARTS, start=1)}


def test_a_label_is_that_of_the_pixel_a_point_lies_in_and_outside_is_nothing() -> None:
    labels = np.array([[0, 1], [2, 3]], np.uint8)
    points = np.array([[0.0, 0.0], [1.99, 0.5], [0.5, 1.0], [2.0, 1.0], [1, -0.1], [np.nan, 1]])
    assert labels_under(labels, points).tolist() == [0, 1, 2, NOTHING, NOTHING, NOTHING]


def test_the_table_counts_identities_over_labels_and_leaves_out_nothing() -> None:
    under = np.array([[0, 2, 1], [NOTHING, 2, 2]])
    assert keypoint_table(under, np.array([0, 1, 1]), 2).tolist() == [[1, 0, 0], [0, 1, 3]]


def test_nmi_and_ari_at_keypoints_are_those_of_the_two_labellings() -> None:
    rng = np.random.default_rng(0)
    under = rng.integers(-1, 4, (50, 6))
    section = keypoints_section(under, np.zeros(50, np.int64), tuple("abcdef"), ("p", "q", "r"))
    assert section is not None
    identity = np.broadcast_to(np.arange(6), under.shape)
    for suffix, counted in (("", under > 0), ("_all", under >= 0)):
        pair = identity[counted], under[counted]
        assert section[f"nmi{suffix}"] == pytest.approx(normalized_mutual_info_score(*pair))
        assert section[f"ari{suffix}"] == pytest.approx(adjusted_rand_score(*pair))
    assert section["inside"] == pytest.approx((under > 0).sum() / (under >= 0).sum())
    assert section["count"] == (under >= 0).sum()
    assert section["own"] is None
    assert "groups" not in section


def test_parts_that_tell_two_keypoints_apart_score_one_and_a_single_part_zero() -> None:
    names, clips = ("nose", "tail"), np.zeros(4, np.int64)
    apart = keypoints_section(np.array([[1, 2]] * 4), clips, names, ("a", "b"))
    alike = keypoints_section(np.array([[1, 1]] * 4), clips, names, ("a", "b"))
    assert apart is not None and alike is not None
    assert (apart["nmi"], apart["ari"]) == (pytest.approx(1), pytest.approx(1))
    assert (alike["nmi"], alike["ari"]) == (pytest.approx(0, abs=1e-12), pytest.approx(0, abs=1e-12))


def test_half_of_the_keypoints_over_the_background_cost_agreement_over_all_only() -> None:
    under = np.array([[1, 2], [0, 0]])
    section = keypoints_section(under, np.zeros(2, np.int64), ("a", "b"), ("p", "q"))
    assert section is not None
    assert section["inside"] == 0.5
    assert section["nmi"] == pytest.approx(1)
    # identities: ln 2; labels 1/2, 1/4, 1/4: 1.5 ln 2; half of the pairs tell the identity: I = ln 2 / 2
    assert section["nmi_all"] == pytest.approx(2 * 0.5 * math.log(2) / (2.5 * math.log(2)))


def test_without_a_keypoint_in_a_picture_there_is_no_section() -> None:
    assert keypoints_section(np.full((3, 2), NOTHING), np.zeros(3, np.int64), ("a", "b"), ("p",)) is None


def test_body_points_make_thirteen_groups_with_sides_and_seven_without() -> None:
    for points in (COCO_17, MEDIAPIPE_33):
        apart, joined = body_groups(points, sides=True), body_groups(points, sides=False)
        assert apart is not None and joined is not None
        assert (len(set(apart)), len(set(joined))) == (13, 7)
        assert len(set(numbered(apart).tolist())) == 13
    assert set(COCO_17) <= set(MEDIAPIPE_33)
    assert body_groups(("nose", "tail"), sides=True) is None
    assert body_groups((), sides=True) is None
    assert (
        dict(zip(MEDIAPIPE_33, body_groups(MEDIAPIPE_33, sides=True) or (), strict=True))["left_thumb"] == "left_wrist"
    )


def test_each_point_lies_in_the_parts_that_meet_at_its_joint() -> None:
    assert set(PARTS) == PERSON_PARTS
    apart, joined = own_parts(COCO_17, PARTS, sides=True), own_parts(COCO_17, PARTS, sides=False)
    assert apart is not None and joined is not None

    def allowed(table: np.ndarray, point: str) -> set[str]:
        return {name for name, number in LABEL.items() if table[COCO_17.index(point), number]}

    assert allowed(apart, "left_elbow") == {"left_upper_arm", "left_forearm"}
    assert allowed(joined, "left_elbow") == {"left_upper_arm", "left_forearm", "right_upper_arm", "right_forearm"}
    assert allowed(apart, "right_hip") == {"torso", "right_thigh"}
    assert allowed(apart, "left_ear") == {"head"}
    assert not apart[:, 0].any()
    assert own_parts(COCO_17, ("part0", "part1"), sides=True) is None
    assert own_parts(("nose", "tail"), PARTS, sides=True) is None


def under_of(**parts: str) -> np.ndarray:
    """(17,) every point in its own part but those given; "" is the background."""
    own = {"shoulder": "torso", "hip": "torso", "elbow": "forearm", "wrist": "forearm", "knee": "shin", "ankle": "shin"}
    out = []
    for point in COCO_17:
        side, _, joint = point.partition("_")
        part = own.get(joint, "head")
        name = part if part in ("head", "torso") else f"{side}_{part}"
        name = parts.get(point, name)
        out.append(LABEL[name] if name else 0)
    return np.array(out)


def test_own_parts_are_counted_with_sides_joined_and_apart_and_of_limbs_alone() -> None:
    under = np.stack([under_of(left_wrist="right_forearm", right_knee="", nose="torso")])
    section = own_section(under, np.array([0]), COCO_17, PARTS)
    assert section is not None
    assert section["joined"] == pytest.approx(15 / 17)  # knee and nose are wrong
    assert section["apart"] == pytest.approx(14 / 17)
    assert section["limbs"] == {"joined": pytest.approx(7 / 8), "apart": pytest.approx(6 / 8)}
    assert section["joints"]["wrist"] == {"joined": 1.0, "apart": 0.5}
    assert section["joints"]["head"] == {"joined": pytest.approx(4 / 5), "apart": pytest.approx(4 / 5)}
    assert section["sides_right"] == pytest.approx(6 / 7)


def test_a_clip_whose_sides_are_exchanged_as_a_whole_is_right_after_one_choice() -> None:
    swapped = {
        f"{side}_{joint}": f"{other}_{part}"
        for side, other in (("left", "right"), ("right", "left"))
        for joint, part in (("elbow", "forearm"), ("wrist", "forearm"), ("knee", "shin"), ("ankle", "shin"))
    }
    under = np.stack([under_of(), under_of(**swapped), under_of(**swapped)])
    section = own_section(under, np.array([0, 1, 1]), COCO_17, PARTS)
    assert section is not None
    assert section["sides_right"] == pytest.approx(1 / 3)
    assert section["sides_right_clipwise"] == 1
    within = own_section(under, np.array([0, 0, 0]), COCO_17, PARTS)
    assert within is not None
    assert within["sides_right_clipwise"] == pytest.approx(2 / 3)


def test_a_hands_fingers_count_in_groups_but_not_beside_its_wrist_in_own_parts() -> None:
    under = np.full((1, 33), LABEL["head"])
    section = own_section(under, np.array([0]), MEDIAPIPE_33, PARTS)
    assert section is not None
    assert section["joined"] == pytest.approx(5 / 17)
    assert section["joints"]["wrist"] == {"joined": 0.0, "apart": 0.0}
