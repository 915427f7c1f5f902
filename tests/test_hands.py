"""Rendered hands: a left and a right one share labels, fingers bend as fingers do. The hand here is made of boxes."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba", reason="the renderer's loops are compiled; pip install 'streamparts[bodies]'")

from train.bodies import fingers
from train.bodies.__main__ import main
from train.bodies.clips import render_clip
from train.bodies.fingers import FLEXION, THUMBS, HandPose, arm_pose, draw_hand_pose, overlap, set_fingers
from train.bodies.hand_mesh import (
    BONES,
    FINGERS,
    JOINTS,
    OTHER,
    PARENTS,
    PARTS,
    HandMesh,
    assemble,
    capped,
    make_hands,
    upright,
)
from train.bodies.hand_skin import draw_looks
from train.bodies.hands import FLIP, Hands, is_right
from train.bodies.picture import BodyPicture, draw_picture, smear_kernel
from train.bodies.pose import place_joints, turn
from train.bodies.scene import Photos
from train.bodies.shading import hollows
from train.bodies.shards import read_shards

SIZE = 96
PLACES = {
    "elbow": (-0.05, -0.04, -0.57), "upper_arm": (-0.05, -0.04, -0.57), "twist": (-0.04, -0.02, -0.29),
    "wrist": (0, 0, 0), "palm2": (-0.01, -0.01, 0.08), "palm3": (-0.01, -0.01, 0.08), "palm4": (0.04, -0.01, 0.09),
    "palm5": (0.04, -0.01, 0.09), "thumb1": (-0.06, -0.01, 0.09), "thumb2": (-0.1, -0.06, 0.12),
    "thumb3": (-0.145, -0.1, 0.175), "index1": (-0.06, -0.01, 0.24), "index2": (-0.07, -0.02, 0.3),
    "index3": (-0.07, -0.05, 0.345), "middle1": (0, 0, 0.24), "middle2": (0.01, -0.02, 0.31),
    "middle3": (0.015, -0.05, 0.37), "ring1": (0.045, 0, 0.22), "ring2": (0.065, -0.02, 0.29),
    "ring3": (0.08, -0.04, 0.34), "little1": (0.09, -0.01, 0.2), "little2": (0.11, -0.03, 0.245),
    "little3": (0.12, -0.045, 0.27), "thumb_tip": (-0.166, -0.13, 0.23), "index_tip": (-0.08, -0.08, 0.4),
    "middle_tip": (0.02, -0.075, 0.42), "ring_tip": (0.095, -0.065, 0.39), "little_tip": (0.136, -0.067, 0.31),
    "shoulder": (-0.5, -0.06, -1.0),
}  # fmt: skip
"""Joints of a left hand."""


def at_rest() -> np.ndarray:
    return np.array([PLACES[name] for name in JOINTS], np.float32)


def tube(start: np.ndarray, end: np.ndarray, wide: float) -> tuple[np.ndarray, np.ndarray]:
    """A closed tube with four sides and five rings, triangles counter-clockwise from outside."""
    along = (end - start) / np.linalg.norm(end - start)
    first = np.cross(along, (0.3, 1.0, 0.2))
    first /= np.linalg.norm(first)
    second = np.cross(along, first)
    corners = [first + second, second - first, -first - second, first - second]
    rings = [start + t * (end - start) + wide * corner for t in np.linspace(0, 1, 5) for corner in corners]
    faces = []
    for ring in range(4):
        for k in range(4):
            a, b = 4 * ring + k, 4 * ring + (k + 1) % 4
            faces += [(a, b, a + 4), (b, b + 4, a + 4)]
    faces += [(0, 2, 1), (0, 3, 2), (16, 17, 18), (16, 18, 19)]
    return np.array(rings, np.float32), np.array(faces, np.int32)


def boxes() -> HandMesh:
    """Two builds of a hand of tubes, one for each bone that has a length."""
    joints = at_rest()
    ends = {"elbow": "twist", "twist": "wrist", "upper_arm": "shoulder"}
    ends |= {f"{finger}{k}": f"{finger}{k + 1}" for finger in FINGERS for k in (1, 2)}
    ends |= {f"{finger}3": f"{finger}_tip" for finger in FINGERS}
    vertices, faces, owners = [], [], []
    pairs = [
        (one, one, other, 0.03 if "arm" in one or one in ("elbow", "twist") else 0.012) for one, other in ends.items()
    ]
    pairs += [(f"palm{n}", "wrist", f"{finger}1", 0.02) for n, finger in enumerate(FINGERS[1:], 2)]
    for owner, one, other, wide in pairs:
        points, triangles = tube(np.array(PLACES[one]), np.array(PLACES[other]), wide)
        faces.append(triangles + sum(len(v) for v in vertices))
        vertices.append(points)
        owners += [JOINTS.index(owner)] * len(points)
    weights = np.eye(len(JOINTS), dtype=np.float32)[owners]
    skin = np.concatenate(vertices)
    builds, all_joints = (np.stack([some * scale for scale in (1, 1, 1.05)]) for some in (skin, joints))
    return assemble(builds, all_joints, np.concatenate(faces), weights)


@pytest.fixture(scope="module")
def cast() -> Hands:
    return Hands(boxes())


@pytest.fixture(scope="module")
def pictures(cast: Hands) -> list[BodyPicture]:
    return [draw_picture(np.random.default_rng([3, i]), cast, Photos(), SIZE) for i in range(40)]


def bent(angle: float, thumb: str = "out") -> np.ndarray:
    """(J, 3) joints of a hand with all fingers' joints bent by so many degrees."""
    rng = np.random.default_rng(0)
    hand = HandPose(np.full((4, 3), angle, np.float32), 1.0, thumb)
    still = np.repeat(np.eye(3, dtype=np.float32)[None], len(JOINTS), 0)
    return place_joints(at_rest(), set_fingers(rng, at_rest(), hand, still), PARENTS)[0]


def test_every_joint_hangs_at_one_before_it() -> None:
    assert len(PARENTS) == len(JOINTS)
    for joint, parent in enumerate(PARENTS):
        assert parent < joint
    for finger in FINGERS:
        for k in (2, 3):
            assert JOINTS[PARENTS[JOINTS.index(f"{finger}{k}")]] == f"{finger}{k - 1}"
        assert JOINTS[PARENTS[JOINTS.index(f"{finger}_tip")]] == f"{finger}3"
        first = JOINTS[PARENTS[JOINTS.index(f"{finger}1")]]
        assert first == ("wrist" if finger == "thumb" else f"palm{FINGERS.index(finger) + 1}")


def test_any_turned_and_scaled_hand_is_set_upright() -> None:
    joints = at_rest()
    moved = 0.4 * (joints @ turn(20, 60, -100).T) + np.array([1, 2, 3])
    skin, again = upright(moved, moved)
    np.testing.assert_allclose(skin, again)
    wrist, middle, little = (again[JOINTS.index(name)] for name in ("wrist", "middle1", "little1"))
    np.testing.assert_allclose(wrist, 0, atol=1e-6)
    assert middle[2] > 0 and np.allclose(middle[:2], 0, atol=1e-5)
    assert little[0] > 0
    assert again[JOINTS.index("middle_tip"), 1] < 0  # fingers bend a little towards the palm at rest


def test_a_cut_mesh_is_closed() -> None:
    _, faces = tube(np.zeros(3), np.array([0, 0, 1.0]), 0.1)
    closed, rim = capped(faces[:-2].astype(np.int32), 20)
    assert set(rim) == {16, 17, 18, 19}
    edges = {(int(a), int(b)) for face in closed for a, b in zip(face, np.roll(face, -1), strict=True)}
    assert all((b, a) in edges for a, b in edges)


def test_parts_are_where_their_bones_are(cast: Hands) -> None:
    mesh = cast.mesh
    assert set(mesh.parts) == {*range(len(PARTS)), OTHER}
    owner = mesh.weights.argmax(1)
    for finger in FINGERS[1:]:
        mine = np.isin(owner, [JOINTS.index(f"{finger}{k}") for k in (1, 2, 3)])
        assert (mesh.parts[mine] == PARTS.index(finger)).all()
    assert (mesh.parts[owner == JOINTS.index("upper_arm")] == OTHER).all()
    assert (mesh.parts[owner == JOINTS.index("palm3")] == PARTS.index("palm")).mean() > 0.7
    tips = mesh.places[owner == JOINTS.index("index3"), 2]
    assert tips.min() > 1.5 and tips.max() > 2.9


def test_bending_brings_the_fingertips_to_the_palm() -> None:
    straight, half, closed = (bent(angle) for angle in (0, 40, 75))
    for finger in FINGERS[1:]:
        tip = JOINTS.index(f"{finger}_tip")
        assert abs(straight[tip, 1]) < 0.06 < -half[tip, 1]
        far = [np.linalg.norm(some[tip] - some[JOINTS.index("wrist")]) for some in (straight, half, closed)]
        assert far == sorted(far, reverse=True)


def test_fingers_stay_within_their_limits() -> None:
    np.testing.assert_allclose(bent(200.0), bent(110.0), atol=1e-5)
    rng = np.random.default_rng(1)
    for family in fingers.FAMILIES:
        hand = family(rng)
        assert hand.flexion.shape == (4, 3) and hand.thumb in THUMBS
    assert all(low < 0 < high for low, high in FLEXION)


def test_spread_fingers_are_further_apart() -> None:
    def gap(spread: float) -> float:
        hand = HandPose(np.zeros((4, 3), np.float32), spread, "out")
        still = np.repeat(np.eye(3, dtype=np.float32)[None], len(JOINTS), 0)
        places, _ = place_joints(at_rest(), set_fingers(np.random.default_rng(0), at_rest(), hand, still), PARENTS)
        return float(np.linalg.norm(places[JOINTS.index("index_tip")] - places[JOINTS.index("little_tip")]))

    assert gap(0) < gap(1) < gap(2)


def test_the_thumb_goes_to_its_side_or_before_the_palm() -> None:
    out, across = (bent(0, thumb)[JOINTS.index("thumb_tip")] for thumb in ("out", "across"))
    assert out[0] < -0.15 < across[0] and across[1] < out[1]


def test_fingers_in_each_other_cost() -> None:
    places = bent(0)
    assert overlap(places) == pytest.approx(0, abs=0.01)
    moved = places.copy()
    shift = places[JOINTS.index("ring1")] - places[JOINTS.index("middle1")]
    moved[[JOINTS.index(f"middle{name}") for name in ("2", "3", "_tip")]] += shift
    assert overlap(moved) > overlap(places) + 0.02


def test_a_right_hand_is_a_left_one_in_the_mirror(cast: Hands) -> None:
    looks = draw_looks(np.random.default_rng(2))
    left, right = (cast._posed(np.random.default_rng(5), looks, 0, is_it) for is_it in (False, True))
    assert not is_right(left) and is_right(right)
    np.testing.assert_allclose(left.vertices * FLIP, right.vertices, atol=1e-5)
    np.testing.assert_allclose(left.facing * FLIP, right.facing, atol=1e-6)
    np.testing.assert_allclose(left.rest * FLIP, right.rest, atol=1e-6)
    np.testing.assert_array_equal(left.parts, right.parts)
    np.testing.assert_allclose(left.normals * FLIP, right.normals, atol=1e-4)


def test_both_hands_of_a_person_differ_in_side_and_not_in_looks(cast: Hands) -> None:
    pairs = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        first, looks = cast.draw(rng)
        second, others = cast.second(rng, first, looks)
        if np.array_equal(others.phases, looks.phases):
            assert is_right(first) != is_right(second)
            pairs += 1
    assert 4 < pairs < 12


def test_equal_seeds_give_equal_pictures(cast: Hands, pictures: list[BodyPicture]) -> None:
    again = draw_picture(np.random.default_rng([3, 4]), cast, Photos(), SIZE)
    for field in fields(BodyPicture):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(pictures[4], field.name))
    assert not np.array_equal(pictures[4].image, pictures[5].image)


def test_every_part_is_seen_and_what_has_none_has_no_label(pictures: list[BodyPicture]) -> None:
    assert set(np.unique(np.stack([p.labels for p in pictures]))) == set(range(len(PARTS) + 1))
    assert 0 < sum(p.people == 0 for p in pictures) < len(pictures) / 2


def test_canonical_coordinates_tell_right_from_left_and_stay_in_range(pictures: list[BodyPicture]) -> None:
    sides = []
    for picture in pictures:
        thumb = picture.canonical[picture.labels == PARTS.index("thumb") + 1]
        little = picture.canonical[picture.labels == PARTS.index("little") + 1]
        if picture.people == 1 and len(thumb) > 4 and len(little) > 4:
            assert thumb[:, 0].mean() * little[:, 0].mean() < 0
            sides.append(np.sign(thumb[:, 0].mean()))
    assert set(sides) == {-1, 1}
    labelled = np.concatenate([p.canonical[p.labels > 0] for p in pictures])
    assert np.abs(labelled).max() < 127 / 200


def test_what_is_held_hides_the_hand(cast: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingers, "FAMILIES", {fingers.grasping: 1.0})
    figure, _ = cast.draw(np.random.default_rng(0))
    held = figure.materials[:, 0] > 1.5
    assert held.any() and (figure.parts[held] == OTHER).all()
    palm = figure.vertices[figure.parts == PARTS.index("palm")].mean(0)
    assert np.linalg.norm(figure.vertices[held].mean(0) - palm) < 0.6


def test_pinching_brings_the_tips_together(monkeypatch: pytest.MonkeyPatch) -> None:
    gaps = {}
    for family in (fingers.pinching, fingers.open_hand):
        monkeypatch.setattr(fingers, "FAMILIES", {family: 1.0})
        poses = [draw_hand_pose(np.random.default_rng(seed), at_rest())[0] for seed in range(12)]
        places = [place_joints(at_rest(), pose, PARENTS)[0] for pose in poses]
        thumb, index = (JOINTS.index(f"{name}_tip") for name in ("thumb", "index"))
        gaps[family] = [np.linalg.norm(some[thumb] - some[index]) for some in places]
    assert np.median(gaps[fingers.pinching]) < 0.1 < np.median(gaps[fingers.open_hand])
    assert min(gaps[fingers.pinching]) > 0.02


def test_a_pose_is_drawn_for_every_family(monkeypatch: pytest.MonkeyPatch) -> None:
    for family in list(fingers.FAMILIES):
        monkeypatch.setattr(fingers, "FAMILIES", {family: 1.0})
        pose, _ = draw_hand_pose(np.random.default_rng(0), at_rest())
        np.testing.assert_allclose(pose @ pose.transpose(0, 2, 1), np.tile(np.eye(3), (len(JOINTS), 1, 1)), atol=1e-5)
    assert arm_pose(np.random.default_rng(0)).shape == (len(JOINTS), 3, 3)


def test_looks_are_colours_from_pale_to_dark(cast: Hands) -> None:
    mesh, tones = cast.mesh, []
    for seed in range(40):
        looks = draw_looks(np.random.default_rng(seed))
        colour, uneven = looks.paint(mesh.places, np.zeros(len(mesh.places), np.float32), mesh.vertices[0])
        assert colour.shape == (len(mesh.places), 3) and uneven.shape == (len(mesh.places),)
        assert colour.min() >= 0 and colour.max() <= 1
        tones.append(looks.skin.mean())
    assert min(tones) < 0.3 and max(tones) > 0.7


def test_hollows_are_dark_and_flat_surfaces_are_not() -> None:
    nearness = np.full((64, 64), 0.5, np.float32)
    towards = np.array([0, 0, -1], np.float32)
    assert hollows(nearness, 8, towards).max() == pytest.approx(0, abs=1e-5)
    nearness[:, :32] = 0.6
    dark = hollows(nearness, 8, towards)[..., 0]
    assert dark[32, 34] > 0.1 and dark[32, 10] == pytest.approx(0, abs=1e-5) and dark[32, 60] < 0.01


def test_motion_blur_keeps_the_brightness() -> None:
    for seed in range(5):
        assert smear_kernel(np.random.default_rng(seed), 192).sum() == pytest.approx(1, abs=1e-5)


def test_the_command_writes_shards_that_name_their_parts(
    cast: Hands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.bodies.__main__.open_cast", lambda args: cast)
    assert main(["hand", "--out", str(tmp_path), "--num-pictures", "3", "--size", "64"]) == 0
    (shard,) = read_shards(tmp_path)
    assert shard.parts == PARTS and shard.affines.shape == (3, len(PARTS), 2, 3)
    drawn = draw_picture(np.random.default_rng([0, 2]), cast, Photos(), 64)
    np.testing.assert_array_equal(shard.images[2], drawn.image)


def test_a_clip_is_one_hand_that_moves_smoothly_about_its_wrist(cast: Hands) -> None:
    (clip,) = render_clip(np.random.default_rng(3), cast, Photos(), 12, SIZE)
    assert clip.part_names == PARTS and clip.joint_names == JOINTS
    assert all((labels > 0).mean() > 0.02 for labels in clip.labels)
    steps = np.linalg.norm(np.diff(clip.joints, axis=0), axis=-1)
    assert 0 < steps.max() < 0.15 * SIZE
    fingers, wrist = (clip.joints[:, JOINTS.index(name)] for name in ("index_tip", "wrist"))
    assert np.ptp(fingers - wrist, axis=0).max() > 1


def test_a_clip_says_which_hand_it_shows_and_a_second_one_is_the_other(cast: Hands) -> None:
    sides = []
    for seed in range(3):
        one, other = render_clip(np.random.default_rng(seed), cast, Photos(), 2, SIZE, bodies=2)
        assert {one.side, other.side} == {"left", "right"}
        assert one.facing.shape == (2, 3) and np.linalg.norm(one.facing, axis=1) == pytest.approx(1, abs=1e-3)
        sides.append(one.side)
        # seen on the palm, a left hand's thumb is on the left of its little finger when the fingers point up
        thumb, little, middle, wrist = (
            one.joints[0, JOINTS.index(name)] for name in ("thumb1", "little1", "middle1", "wrist")
        )
        across, along = thumb - little, middle - wrist
        turned = across[0] * along[1] - across[1] * along[0]
        if abs(one.facing[0, 2]) > 0.5:
            assert (turned * one.facing[0, 2] < 0) == (one.side == "left")
    assert len(set(sides)) == 2


def test_the_real_mesh_has_all_parts() -> None:
    pytest.importorskip("anny", reason="hands are cut out of anny's bodies; pip install 'streamparts[bodies]'")
    mesh = make_hands(2, 0)
    assert set(mesh.parts) == {*range(len(PARTS)), OTHER} and len(BONES) == 23
    assert 1500 < len(mesh.places) < 4000
    for finger in FINGERS:
        assert (mesh.parts == PARTS.index(finger)).sum() > 150
    thumb, little = (mesh.vertices[0][mesh.parts == PARTS.index(name)] for name in ("thumb", "little"))
    assert thumb[:, 0].mean() < -0.05 < 0.05 < little[:, 0].mean()
    length = mesh.joints[1][JOINTS.index("middle_tip")], mesh.joints[1][JOINTS.index("elbow")]
    assert sum(float(np.linalg.norm(end)) for end in length) == pytest.approx(1, abs=1e-4)
