"""Rendered animals: a skinned mesh is read and posed, and the labels match the images. The meshes here are boxes."""

from __future__ import annotations

import struct
from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("numba", reason="the renderer's loops are compiled; pip install 'streamparts[animals]'")

from streamparts.errors import MissingExtraError, StreampartsError
from train.bodies import animals as animals_module
from train.bodies.__main__ import main
from train.bodies.anatomy import DOG, RODENT_TOP
from train.bodies.animal_motion import dog_steps
from train.bodies.animals import Animals, make_animals
from train.bodies.camera import Camera
from train.bodies.clips import render_clip
from train.bodies.coats import draw_coat
from train.bodies.gaits import PHASES, STANCE, Pose, draw_dog_pose, draw_rodent_pose, step_of
from train.bodies.motion import blend, path_of, roam, standing_of, through
from train.bodies.picture import BodyPicture, draw_picture
from train.bodies.pose import place_joints, turn
from train.bodies.scene import Photos
from train.bodies.shards import read_shards
from train.bodies.skins import Rig, coarser, find_assets, read_rig, read_skin
from train.bodies.wheel import draw_wheel
from train.drawing.puppet_clips import load_truth

SIZE = 96
Bone = tuple[str, str, tuple[float, float, float], float]
"""Name, parent, place, and half the side of its box."""


def both_sides(name: str, parent: str, x: float, y: float, z: float, wide: float) -> list[Bone]:
    sided = parent if parent in ("torso", "pelvis") else f"{parent}_"
    return [
        (f"{name}_{s}", sided + (s if sided.endswith("_") else ""), (x, sign * y, z), wide)
        for s, sign in (("L", 1), ("R", -1))
    ]


def dog_bones() -> list[Bone]:
    """A dog of the real one's size, with the trunk, neck, tail and legs where its are."""
    out: list[Bone] = [("torso", "", (0.04, 0, 0.42), 0.1)]
    out += [(f"L_{n}", f"L_{n - 1}" if n > 1 else "torso", (-0.05 - 0.025 * n, 0, 0.5), 0.03) for n in range(1, 8)]
    out += [("pelvis", "L_7", (-0.3, 0, 0.47), 0.08)]
    out += both_sides("upper_leg", "pelvis", -0.32, 0.05, 0.42, 0.05)
    out += both_sides("lower_leg", "upper_leg", -0.35, 0.08, 0.28, 0.04)
    out += both_sides("foot", "lower_leg", -0.5, 0.07, 0.15, 0.03)
    out += both_sides("toe", "foot", -0.53, 0.08, 0.03, 0.03)
    out += [
        (f"Ca_{n}", f"Ca_{n - 1}" if n > 1 else "pelvis", (-0.3 - 0.02 * n, 0, 0.52 - 0.01 * n), 0.012)
        for n in range(1, 22)
    ]
    out += [
        (f"C_{n}", f"C_{n + 1}" if n < 7 else "torso", (0.26 - 0.012 * n, 0, 0.7 - 0.028 * n), 0.035)
        for n in range(7, 0, -1)
    ]
    out += [("skull", "C_1", (0.36, 0, 0.7), 0.09), ("jaw", "skull", (0.37, 0, 0.64), 0.03)]
    out += both_sides("scapula", "torso", 0.12, 0.02, 0.53, 0.03)
    out += both_sides("upper_arm", "scapula", 0.19, 0.05, 0.4, 0.04)
    out += both_sides("lower_arm", "upper_arm", 0.15, 0.06, 0.25, 0.035)
    out += both_sides("hand", "lower_arm", 0.15, 0.05, 0.09, 0.03)
    out += both_sides("finger", "hand", 0.17, 0.05, 0.03, 0.03)
    return out


def rodent_bones() -> list[Bone]:
    out: list[Bone] = [("torso", "", (0.04, 0, 0.08), 0.025)]
    out += [
        (f"vertebra_{n}", f"vertebra_{n - 1}" if n > 1 else "torso", (0.02 - 0.008 * n, 0, 0.09), 0.02)
        for n in range(1, 7)
    ]
    out += [("pelvis", "vertebra_6", (-0.04, 0, 0.08), 0.025)]
    out += both_sides("upper_leg", "pelvis", -0.045, 0.025, 0.05, 0.012)
    out += both_sides("lower_leg", "upper_leg", -0.03, 0.035, 0.03, 0.01)
    out += both_sides("foot", "lower_leg", -0.06, 0.03, 0.006, 0.006)
    out += both_sides("toe", "foot", -0.04, 0.04, 0.003, 0.004)
    out += [
        (f"vertebra_C{n}", f"vertebra_C{n - 1}" if n > 1 else "pelvis", (-0.06 - 0.006 * n, 0, 0.05), 0.005)
        for n in range(1, 31)
    ]
    names = [f"vertebra_cervical_{n}" for n in range(5, 0, -1)] + ["vertebra_axis", "vertebra_atlant"]
    out += [(name, names[n - 1] if n else "torso", (0.072 + 0.003 * n, 0, 0.08), 0.012) for n, name in enumerate(names)]
    out += [("skull", "vertebra_atlant", (0.12, 0, 0.085), 0.025), ("jaw", "skull", (0.12, 0, 0.07), 0.008)]
    out += both_sides("scapula", "torso", 0.05, 0.01, 0.09, 0.01)
    out += both_sides("upper_arm", "scapula", 0.08, 0.02, 0.06, 0.01)
    out += both_sides("lower_arm", "upper_arm", 0.065, 0.03, 0.035, 0.008)
    out += both_sides("hand", "lower_arm", 0.085, 0.04, 0.012, 0.006)
    out += both_sides("finger", "hand", 0.09, 0.043, 0.004, 0.004)
    return out


def ball(steps: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """A closed box of radius 1 with (steps + 1)^2 vertices on a side, triangles counter-clockwise from outside."""
    line = np.linspace(-1, 1, steps + 1)
    u, v = (x.ravel() for x in np.meshgrid(line, line))
    vertices: list[np.ndarray] = []
    faces: list[np.ndarray] = []
    first = (np.arange(steps)[:, None] * (steps + 1) + np.arange(steps)).ravel()
    one = np.stack([first, first + 1, first + steps + 1], 1)
    two = np.stack([first + 1, first + steps + 2, first + steps + 1], 1)
    for axis in range(3):
        for sign in (1, -1):
            sheet = np.zeros((len(u), 3))
            sheet[:, axis], sheet[:, (axis + 1) % 3], sheet[:, (axis + 2) % 3] = sign, u, v
            both = np.concatenate([one, two])
            faces.append((both if sign > 0 else both[:, ::-1]) + len(u) * len(vertices))
            vertices.append(sheet)
    return np.concatenate(vertices), np.concatenate(faces)


def write_files(folder: Path, bones: list[Bone]) -> tuple[Path, Path]:
    """Write a box for each bone as a .skn file, and the tree as MJCF."""
    points, faces = ball()
    vertices = np.concatenate([np.array(place) + wide * points for _, _, place, wide in bones]).astype("<f4")
    triangles = np.concatenate([faces + n * len(points) for n in range(len(bones))]).astype("<i4")
    data = struct.pack("<4i", len(vertices), 0, len(triangles), len(bones)) + vertices.tobytes() + triangles.tobytes()
    for n, (name, _, place, _) in enumerate(bones):
        rows = np.arange(n * len(points), (n + 1) * len(points), dtype="<i4")
        data += name.encode().ljust(40, b"\0") + struct.pack("<3f4f", *place, 1, 0, 0, 0) + struct.pack("<i", len(rows))
        data += rows.tobytes() + np.ones(len(rows), "<f4").tobytes()
    skin, model = folder / "a.skn", folder / "a.xml"
    skin.write_bytes(data)

    def tree(parent: str) -> str:
        return "".join(f'<body name="{name}">{tree(name)}</body>' for name, above, *_ in bones if above == parent)

    model.write_text(f"<mujoco><worldbody><geom/>{tree('')}</worldbody></mujoco>")
    return skin, model


@pytest.fixture(scope="module")
def dogs(tmp_path_factory: pytest.TempPathFactory) -> Animals:
    return make_animals(DOG, read_rig(*write_files(tmp_path_factory.mktemp("dog"), dog_bones())))


@pytest.fixture(scope="module")
def rodents(tmp_path_factory: pytest.TempPathFactory) -> Animals:
    return make_animals(RODENT_TOP, read_rig(*write_files(tmp_path_factory.mktemp("rodent"), rodent_bones())))


@pytest.fixture(scope="module")
def pictures(dogs: Animals) -> list[BodyPicture]:
    return [draw_picture(np.random.default_rng([3, i]), dogs, Photos(), SIZE) for i in range(30)]


def test_a_skin_is_read_with_its_tree(tmp_path: Path) -> None:
    bones = dog_bones()[::-1]  # children first: they are sorted
    rig = read_rig(*write_files(tmp_path, bones))
    assert set(rig.names) == {bone[0] for bone in bones}
    for name, parent, place, _ in bones:
        b = rig.names.index(name)
        np.testing.assert_allclose(rig.joints[b], place, atol=1e-6)
        assert rig.parents[b] < b
        assert (rig.names[rig.parents[b]] if rig.parents[b] >= 0 else "") == parent
    np.testing.assert_allclose(rig.weights.sum(1), 1)


@pytest.mark.parametrize("cut", [3, 40, 5000, -1])
def test_a_damaged_skin_is_refused_in_one_line(tmp_path: Path, cut: int) -> None:
    skin, _ = write_files(tmp_path, dog_bones())
    skin.write_bytes(skin.read_bytes()[:cut])
    with pytest.raises(StreampartsError, match=str(skin)):
        read_skin(skin)


@pytest.mark.parametrize(
    "text",
    ["", "<mujoco/>", "<mujoco><worldbody><body name='torso'/></worldbody></mujoco>", "<!DOCTYPE x []><mujoco/>"],
)
def test_a_wrong_tree_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    skin, model = write_files(tmp_path, dog_bones())
    model.write_text(text)
    with pytest.raises(StreampartsError, match=str(model)):
        read_rig(skin, model)


def test_a_coarser_mesh_keeps_its_shape_and_who_moves_it(tmp_path: Path) -> None:
    rig = read_rig(*write_files(tmp_path, dog_bones()))
    less = coarser(rig, 0.05)
    assert len(less.vertices) < 0.6 * len(rig.vertices) and len(less.faces) < len(rig.faces)
    assert less.faces.max() < len(less.vertices)
    np.testing.assert_allclose(less.vertices.min(0), rig.vertices.min(0), atol=0.05)
    np.testing.assert_allclose(less.weights.sum(1), 1, atol=1e-5)
    assert set(less.weights.argmax(1)) == set(rig.weights.argmax(1))


def test_parts_are_named_by_side_and_lie_on_it(dogs: Animals, rodents: Animals) -> None:
    for cast in (dogs, rodents):
        for k, name in enumerate(cast.parts):
            y = cast.rig.vertices[cast.parts_of_vertices == k, 1]
            assert len(y), name
            if name.startswith("left_"):
                assert y.mean() > 0, name
            if name.startswith("right_"):
                assert y.mean() < 0, name


def test_a_levelled_dog_stands_on_all_fours(dogs: Animals) -> None:
    pose = Pose(dogs.rig)
    for side in "LR":
        pose.hind(side, 10, 60, 60)  # low behind
    pose.level()
    places, _ = place_joints(dogs.rig.joints, pose.turns, dogs.rig.parents)
    front, hind = (min(places[b, 2] for b in dogs.rig.bones(name)) for name in ("finger_", "toe_"))
    assert front == pytest.approx(hind, abs=1e-3)
    assert places[dogs.rig.names.index("C_7"), 2] > places[dogs.rig.names.index("pelvis"), 2]


def test_a_leg_goes_back_on_the_floor_and_ahead_in_the_air() -> None:
    for gait in PHASES:
        stance = STANCE[gait]
        assert step_of(0, stance) == (1, 0)
        assert step_of(stance * 0.999, stance)[0] == pytest.approx(-1, abs=0.01)
        swing, lift = step_of((1 + stance) / 2, stance)
        assert swing == pytest.approx(0) and lift == pytest.approx(1)


def test_the_legs_swing_ahead_for_a_positive_swing(dogs: Animals) -> None:
    for joint, move in (("finger_L", Pose.front), ("toe_L", Pose.hind)):
        pose = Pose(dogs.rig)
        move(pose, "L", 30.0)
        places, _ = place_joints(dogs.rig.joints, pose.turns, dogs.rig.parents)
        b = dogs.rig.names.index(joint)
        assert places[b, 0] > dogs.rig.joints[b, 0] + 0.05


def test_equal_seeds_give_equal_pictures(dogs: Animals, pictures: list[BodyPicture]) -> None:
    again = draw_picture(np.random.default_rng([3, 4]), dogs, Photos(), SIZE)
    for field in fields(BodyPicture):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(pictures[4], field.name))
    assert not np.array_equal(pictures[4].image, pictures[5].image)


def test_every_part_is_seen_and_some_pictures_are_empty(dogs: Animals, pictures: list[BodyPicture]) -> None:
    assert set(np.unique(np.stack([p.labels for p in pictures]))) == set(range(len(dogs.parts) + 1))
    empty = [p for p in pictures if p.people == 0]
    assert 0 < len(empty) < len(pictures) / 2
    assert all(not p.labels.any() and not p.seen.any() and p.affines.shape == (len(dogs.parts), 2, 3) for p in empty)


def test_canonical_coordinates_tell_the_sides_and_stay_in_range(pictures: list[BodyPicture]) -> None:
    assert max(np.abs(p.canonical).max() for p in pictures) < 127 / 200
    for side, sign in (("left", 1), ("right", -1)):
        rows = [k for k, name in enumerate(DOG.parts) if name.startswith(side)]
        found = np.concatenate([p.canonical[np.isin(p.labels, np.array(rows) + 1)] for p in pictures])
        assert (np.sign(found[:, 0]) == sign).mean() > 0.95


def test_who_faces_the_camera_shows_the_head_in_front(rodents: Animals) -> None:
    """From above, the facing direction in the image runs from the hind part to the front."""
    seen = right = 0
    for i in range(16):
        picture = draw_picture(np.random.default_rng([5, i]), rodents, Photos(), SIZE, 0.0)
        front, rear = (rodents.parts.index(name) for name in ("torso_front", "torso_rear"))
        if picture.people != 1 or abs(picture.facing[2]) > 0.5:
            continue
        along = picture.affines[front, :, 2] - picture.affines[rear, :, 2]
        right += int(along @ picture.facing[:2] > 0)
        seen += 1
    assert seen > 5 and right >= seen - 1  # one may be curled up


def test_coats_are_colours(dogs: Animals) -> None:
    rest = dogs.rig.vertices
    colours = []
    for seed in range(40):
        coat = draw_coat(np.random.default_rng(seed), rodent=False)
        colour, uneven = coat.paint(dogs.places, np.zeros(len(rest), np.float32), rest)
        assert colour.shape == (len(rest), 3) and uneven.shape == (len(rest),)
        assert colour.min() >= 0 and colour.max() <= 1
        colours.append(colour.mean(0))
    assert np.ptp(np.stack(colours), axis=0).min() > 0.4  # from dark to light


def test_the_command_writes_shards_that_name_their_parts(
    dogs: Animals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.bodies.__main__.load_animals", lambda name: dogs)
    assert main(["dog", "--out", str(tmp_path), "--num-pictures", "3", "--size", "64"]) == 0
    (shard,) = read_shards(tmp_path)
    assert shard.parts == DOG.parts and shard.affines.shape == (3, len(DOG.parts), 2, 3)
    drawn = draw_picture(np.random.default_rng([0, 2]), dogs, Photos(), 64)
    np.testing.assert_array_equal(shard.images[2], drawn.image)
    assert (tmp_path / "sheet.png").exists()


def test_the_command_writes_clips_of_animals_with_their_parts_and_joints(
    dogs: Animals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.bodies.__main__.load_animals", lambda name: dogs)
    words = ["dog", "--out", str(tmp_path), "--num-clips", "2", "--num-frames", "5", "--size", "64", "--plain"]
    assert main(words) == 0
    truth = load_truth(tmp_path / "clip_0001.mp4")
    assert truth.part_names == DOG.parts and truth.joint_names == dogs.joints
    assert truth.labels.shape == (5, 64, 64) and truth.labels.any(axis=(1, 2)).all()
    (drawn,) = render_clip(np.random.default_rng([0, 1, 1]), dogs, Photos(), 5, 64)
    np.testing.assert_array_equal(drawn.labels, truth.labels)
    sheet = cv2.imread(str(tmp_path / "clips.png"))
    assert sheet.shape == (4 * 2 * 64, 2 * 64, 3), "a column of four frames for each clip, their parts below"


@pytest.mark.parametrize("kind", ["walk", "trot", "gallop"])
def test_a_gait_is_smooth_and_comes_back_after_a_cycle(dogs: Animals, kind: str) -> None:
    def at(phase: float) -> np.ndarray:
        return draw_dog_pose(np.random.default_rng(8), dogs.rig, kind, phase)[1:]  # all but the levelled body

    np.testing.assert_allclose(at(1.0 - 1e-4), at(0.0), atol=0.02)
    steps = [np.abs(at(phase + 0.01) - at(phase)).max() for phase in np.linspace(0, 0.98, 50)]
    assert 0 < max(steps) < 0.12
    assert np.abs(at(0.5) - at(0.0)).max() > 0.2


def test_a_dog_that_trots_moves_ahead_and_its_paws_on_the_floor_stay(dogs: Animals) -> None:
    seconds = np.arange(24) / 30
    for seed in range(20):
        steps = dog_steps(np.random.default_rng(seed), dogs.rig, dogs.joints, seconds)
        if steps.standing is not None:
            break
    assert steps.standing is not None
    standing = steps.standing
    figures = roam([dogs.posed(dogs.rig, dogs.rig.vertices, pose) for pose in steps.poses], np.zeros(24), steps)
    joints = np.stack([figure.joints for figure in figures])
    assert joints[-1, 0, 0] - joints[0, 0, 0] > 0.2
    moved = np.abs(np.diff(joints[..., 0], axis=0))
    held, toes = (standing[1:] * standing[:-1]) > 0, standing.any(0)
    assert np.median(moved[held]) < 0.4 * np.median(moved[:, toes][~held[:, toes]])
    assert all(figure.vertices[:, 2].min() == pytest.approx(0, abs=1e-5) for figure in figures)


def test_what_stands_on_the_floor_stays_there() -> None:
    """A body around whose origin two feet turn: it goes on on the one that stands."""
    angles = np.linspace(0, 1, 11)
    foot = np.stack([np.cos(angles), -np.sin(angles), np.zeros(11)], 1)
    joints = np.stack([foot, foot * (-1, -1, 1) + (0, 0, 1)], 1)
    path = path_of(joints, standing_of(joints), smooth=1e-3)
    np.testing.assert_allclose(foot[:, :2] + path, np.tile([[1, 0]], (11, 1)), atol=1e-3)


def test_rotations_between_two_are_on_the_shortest_way() -> None:
    first, second = (np.array([[turn(0, 0, z)]], np.float32) for z in (10.0, 50.0))
    np.testing.assert_allclose(blend(first, second, np.array([0.25]))[0, 0], turn(0, 0, 20), atol=1e-6)
    keys = np.array([[turn(0, 0, z)] for z in (0.0, 90.0, 0.0)], np.float32)
    path = through(keys, np.array([0.0, 0.5, 1.0, 1.5]))
    np.testing.assert_allclose(path[:, 0], [turn(0, 0, z) for z in (0, 45, 90, 45)], atol=1e-6)


def test_a_rodent_from_the_side_is_seen_across_and_its_tail_lies_on_the_floor(rodents: Animals) -> None:
    beside = replace(rodents, anatomy=replace(rodents.anatomy, name="rodent-side", view="side"))
    rng = np.random.default_rng(4)
    for _ in range(4):
        figure, _ = beside.draw(rng)
        ahead = beside.view(rng, figure, SIZE).turned[2]
        assert abs(ahead[2]) < 0.6 and abs(ahead @ figure.facing) < 0.9
    pose = draw_rodent_pose(np.random.default_rng(1), rodents.rig, "trot", 0.3)
    places, _ = place_joints(rodents.rig.joints, pose, rodents.rig.parents)
    low = min(places[b, 2] for b in rodents.rig.bones("finger_", "toe_"))
    tip = places[rodents.rig.names.index("vertebra_C30"), 2]
    assert low - 0.02 < tip < places[rodents.rig.names.index("vertebra_C1"), 2]


def test_a_wheel_hides_and_turns_under_the_runner(rodents: Animals) -> None:
    wheel = draw_wheel(np.random.default_rng(2), np.linspace(0, 1, 6))
    camera = Camera(
        np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32), np.array([0, -6, 1], np.float32), 120, (48, 48)
    )
    first, later, front = (np.zeros((SIZE, SIZE, 3), np.float32) for _ in range(3))
    wheel.behind(first, camera, 0)
    wheel.behind(later, camera, 5)
    assert first.any() and not np.array_equal(first, later)
    hidden = wheel.before(front, camera, 0)
    rows, columns = np.nonzero(hidden)
    x, y, away = camera.project(np.array([[0, -wheel.wide, wheel.radius]], np.float32))[0]
    radius = np.hypot(columns + 0.5 - x, rows + 0.5 - y)
    np.testing.assert_allclose(radius, 120 * wheel.radius / away, atol=2.5)
    assert front[hidden].any()


def test_without_the_files_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.bodies.skins.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="animals"):
        animals_module.load_animals("dog")


@pytest.mark.parametrize("name", ["dog", "rodent-top", "rodent-side"])
def test_the_real_meshes_have_all_parts(name: str) -> None:
    try:
        find_assets()
    except MissingExtraError:
        pytest.skip("dm_control is not installed (extra animals)")
    cast = animals_module.load_animals(name)
    assert set(cast.parts_of_vertices) == set(range(len(cast.parts)))
    assert isinstance(cast.rig, Rig) and len(cast.rig.vertices) < 8000
