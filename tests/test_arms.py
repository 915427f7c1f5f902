"""Rendered robot arms: MJCF and meshes are read, poses are possible, parts follow the links. The arm here is made of
boxes."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba", reason="the renderer's loops are compiled; pip install 'streamparts[arms]'")
pytest.importorskip("trimesh", reason="meshes are read with trimesh; pip install 'streamparts[arms]'")

from streamparts.errors import MissingExtraError, StreampartsError
from train.bodies import arm_kinds
from train.bodies.__main__ import main
from train.bodies.arm_kinds import HAND, JOINTS, PARTS, Arm, ArmKind, make_arm
from train.bodies.arm_paint import draw_arm_looks
from train.bodies.arms import OTHER, Arms, draw_angles, figure_of, makers_colours, next_angles, trouble
from train.bodies.camera import Camera, Light
from train.bodies.clips import render_clip
from train.bodies.mechanisms import Mechanism, creased, find_robots, joined, merged, place_links, read_mechanism
from train.bodies.picture import BodyPicture, draw_picture
from train.bodies.scene import Photos
from train.bodies.shading import highlight
from train.bodies.shards import read_shards

SIZE = 96
BOX = ArmKind(("base",), ("turn",), ("upper", "twist"), ("fore",), ("wrist",), "pads")
ARM = """<mujoco><asset>
  <material name="orange" rgba="1 0.4 0 1"/><material name="black" rgba="0.1 0.1 0.1 1"/>
  <mesh name="cube" file="cube.obj"/><mesh name="cube" file="missing.obj"/>
  <mesh name="bar" file="cube.obj" scale="1 1 5"/>
</asset><worldbody><body name="base">
  <geom mesh="cube" group="1" rgba="1 1 1 1"/><geom mesh="cube" group="0" rgba="1 1 1 1"/>
  <body name="turn" pos="0 0 0.1"><joint axis="0 0 2" range="-3 3"/><geom mesh="cube" material="black"/>
  <body name="upper" pos="0 0 0.1"><joint axis="0 1 0" range="-1.5 1.5"/>
    <geom mesh="bar" pos="0 0 0.2" material="orange"/>
  <body name="twist" pos="0 0 0.2"><joint axis="0 0 1" range="-3 3"/><geom mesh="cube" class="collision"/>
  <body name="fore" pos="0 0 0.2"><joint axis="0 1 0" range="-2.5 2.5"/><geom mesh="bar" pos="0 0 0.2"/>
  <body name="wrist" pos="0 0 0.4"><joint axis="0 1 0" range="-2 2"/><geom mesh="cube" pos="0 0 0.05"/>
  <body name="right_hand" pos="0 0 0.1" quat="2 0 0 0"/></body></body></body></body></body></body>
</worldbody></mujoco>"""
PADS = """<mujoco><asset><mesh name="cube" file="cube.obj" scale="0.3 0.3 0.6"/></asset><worldbody>
  <body name="root"><body name="eef" pos="0 0 0.1"/>
    <body name="one" pos="0 0 0.06"><joint type="slide" axis="0 1 0" range="0 0.04"/><geom mesh="cube"/></body>
    <body name="two" pos="0 0 0.06"><joint type="slide" axis="0 1 0" range="-0.04 0"/><geom mesh="cube"/></body>
  </body></worldbody></mujoco>"""


def write_files(folder: Path) -> tuple[Path, Path]:
    """Write the arm, its gripper, and a cube with sides of 8 cm."""
    corners = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    sides = ["1 2 4", "1 4 3", "5 7 8", "5 8 6", "1 5 6", "1 6 2", "3 4 8", "3 8 7", "1 3 7", "1 7 5", "2 6 8", "2 8 4"]
    text = "".join(f"v {0.04 * x} {0.04 * y} {0.04 * z}\n" for x, y, z in corners)
    (folder / "cube.obj").write_text(text + "".join(f"f {side}\n" for side in sides))
    arm, pads = folder / "arm.xml", folder / "pads.xml"
    arm.write_text(ARM)
    pads.write_text(PADS)
    return arm, pads


@pytest.fixture(scope="module")
def mechanism(tmp_path_factory: pytest.TempPathFactory) -> Mechanism:
    arm, pads = write_files(tmp_path_factory.mktemp("arm"))
    return joined(read_mechanism(arm, 0.001), read_mechanism(pads, 0.001), HAND)


@pytest.fixture(scope="module")
def arm(mechanism: Mechanism) -> Arm:
    return make_arm("box", BOX, mechanism)


@pytest.fixture(scope="module")
def pictures(arm: Arm) -> list[BodyPicture]:
    return [draw_picture(np.random.default_rng([3, i]), Arms((arm,)), Photos(), SIZE) for i in range(30)]


def test_links_turn_about_their_axes_and_carry_the_next(mechanism: Mechanism) -> None:
    angles = np.zeros(len(mechanism.links), np.float32)
    angles[mechanism.number("turn")], angles[mechanism.number("upper")] = np.pi / 2, np.pi / 2
    turned, places = place_links(mechanism, angles)
    # the upper arm leans ahead, and the turn makes that the left
    np.testing.assert_allclose(places[mechanism.number("fore")], (0, 0.4, 0.2), atol=1e-5)
    np.testing.assert_allclose(turned[mechanism.number(HAND)] @ (0, 0, 1), (0, 1, 0), atol=1e-5)
    upright, _ = places_of(mechanism, 0.0), None
    np.testing.assert_allclose(upright[mechanism.number("right_hand")], (0, 0, 1.1), atol=1e-5)


def places_of(mechanism: Mechanism, angle: float) -> np.ndarray:
    return place_links(mechanism, np.full(len(mechanism.links), angle, np.float32))[1]


def test_slides_shift_and_do_not_turn(mechanism: Mechanism) -> None:
    angles = np.zeros(len(mechanism.links), np.float32)
    angles[mechanism.number("one")] = 0.03
    turned, places = place_links(mechanism, angles)
    apart = places[mechanism.number("one")] - places[mechanism.number("two")]
    np.testing.assert_allclose(apart, (0, 0.03, 0), atol=1e-6)
    np.testing.assert_allclose(turned[mechanism.number("one")], np.eye(3), atol=1e-6)


def test_only_visible_geoms_are_drawn_in_their_colours(mechanism: Mechanism) -> None:
    assert (mechanism.owners == mechanism.number("base")).sum() == 24  # one cube, each side with its own corners
    assert not (mechanism.owners == mechanism.number("twist")).any()
    np.testing.assert_allclose(
        mechanism.colours[mechanism.owners == mechanism.number("upper")], [[1, 0.4, 0]] * 24, atol=1e-6
    )
    bar = mechanism.vertices[mechanism.owners == mechanism.number("upper")]
    np.testing.assert_allclose(np.ptp(bar, axis=0), (0.08, 0.08, 0.4), atol=1e-5)
    np.testing.assert_allclose(bar.mean(0), (0, 0, 0.2), atol=1e-5)


def test_angles_are_read_against_the_files_drawing(tmp_path: Path) -> None:
    path, _ = write_files(tmp_path)
    text = ARM.replace('axis="0 1 0" range="-1.5 1.5"', 'axis="0 1 0" range="0 2" ref="0.5"')
    path.write_text(text.replace('pos="0 0 0.1" quat="2 0 0 0"', 'euler="0 1.5707963 0"'))
    mechanism = read_mechanism(path, 0.001)
    assert mechanism.links[mechanism.number("upper")].limits == (-0.5, 1.5)
    np.testing.assert_allclose(mechanism.links[mechanism.number(HAND)].turned @ (0, 0, 1), (1, 0, 0), atol=1e-5)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('range="-3 3"', 'range="-3"'),
        ('pos="0 0 0.1"', 'pos="0 0 x"'),
        ('mesh="bar"', 'mesh="rod"'),
        ('file="cube.obj"/><mesh name="cube"', 'file="none.obj"/><mesh name="cube"'),
        ("<worldbody>", "<worldbody"),
        ("<mujoco>", "<!DOCTYPE a []><mujoco>"),
        ("worldbody", "world"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, old: str, new: str) -> None:
    path, _ = write_files(tmp_path)
    assert old in ARM
    path.write_text(ARM.replace(old, new))
    with pytest.raises(StreampartsError, match=str(tmp_path)) as refused:
        read_mechanism(path, 0.001)
    assert "\n" not in str(refused.value)


def test_near_vertices_merge_and_collapsed_triangles_go() -> None:
    points = np.array([[0, 0, 0], [0.01, 0, 0], [1, 0, 0], [0, 1, 0]], np.float64)
    faces = np.array([[0, 2, 3], [1, 2, 3], [0, 1, 2]])
    less, kept = merged(points, faces, 0.1)
    assert len(less) == 3 and len(kept) == 1
    np.testing.assert_allclose(sorted(less[:, 0]), (0, 0.005, 1))


def test_sharp_edges_stay_sharp_and_flat_ones_do_not() -> None:
    for bend, count in ((10, 4), (90, 6)):
        angle = np.radians(bend)
        points = np.array([[0, 0, 0], [0, 1, 0], [1, 0, 0], [-np.cos(angle), 0, np.sin(angle)]], np.float32)
        _, normals, _ = creased(points, np.array([[0, 2, 1], [0, 1, 3]]))
        assert len(normals) == count
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)


def test_parts_follow_the_links(arm: Arm, mechanism: Mechanism) -> None:
    for link, part in (("base", "base"), ("upper", "upper_arm"), ("fore", "forearm"), ("one", "gripper")):
        assert (arm.parts[mechanism.owners == mechanism.number(link)] == PARTS.index(part)).all()
    joints = arm.joints(*place_links(arm.mechanism, np.zeros(len(mechanism.links), np.float32)))
    assert joints.shape == (len(JOINTS), 3)
    assert np.linalg.norm(np.diff(joints[:-1], axis=0), axis=1).sum() == pytest.approx(1, abs=1e-5)
    along = [arm.places[arm.parts == k, 1].mean() for k in range(len(PARTS))]
    assert all(-0.1 < some < 1.2 for some in along)


def test_a_box_arm_lies_in_canonical_order_from_foot_to_tip(arm: Arm) -> None:
    assert not arm.canonical[:, 0].any()
    assert np.abs(arm.canonical).max() <= 0.6
    heights = [arm.canonical[arm.parts == k, 2].mean() for k in range(len(PARTS))]
    assert heights == sorted(heights)


def test_poses_are_within_limits_and_possible(arm: Arm) -> None:
    for seed in range(20):
        angles = draw_angles(np.random.default_rng(seed), arm)
        for link, angle in zip(arm.mechanism.links, angles, strict=True):
            assert link.limits[0] - 1e-6 <= angle <= link.limits[1] + 1e-6
        joints = arm.joints(*place_links(arm.mechanism, angles))
        assert trouble(joints) == 0 and joints[2:, 2].min() > 0


def test_a_hand_in_the_column_or_the_floor_is_trouble() -> None:
    good = np.array([(0, 0, 0), (0, 0, 0.1), (0, 0, 0.2), (0.3, 0, 0.5), (0.6, 0, 0.4), (0.7, 0, 0.3), (0.75, 0, 0.2)])
    assert trouble(good) == 0
    for joint, place in ((6, (0.7, 0, -0.1)), (5, (0.02, 0, 0.1)), (6, (0.15, 0, 0.35))):
        bad = good.copy()
        bad[joint] = place
        assert trouble(bad) > 0


def test_grippers_open_symmetrically(arm: Arm) -> None:
    one, two = (arm.mechanism.number(name) for name in ("one", "two"))
    seen = [draw_angles(np.random.default_rng(seed), arm)[[one, two]] for seed in range(8)]
    np.testing.assert_allclose([some[0] for some in seen], [-some[1] for some in seen], atol=1e-6)
    assert np.ptp([some[0] for some in seen]) > 0.01


def test_stands_have_no_label_and_cables_have_their_neighbours(arm: Arm) -> None:
    kinds = set()
    for seed in range(20):
        figure = figure_of(arm, draw_angles(np.random.default_rng(seed), arm), seed)
        assert figure.vertices[:, 2].min() > -0.05 and figure.joints[0, 2] > -0.01
        np.testing.assert_allclose(np.linalg.norm(figure.normals, axis=1), 1, atol=0.1)
        material = figure.materials[:, 0]
        assert (figure.parts[material == 2] == OTHER).all() and (figure.parts[material < 2] < len(PARTS)).all()
        kinds |= set(material)
    assert kinds == {0, 1, 2}


def test_equal_seeds_give_equal_pictures(arm: Arm, pictures: list[BodyPicture]) -> None:
    again = draw_picture(np.random.default_rng([3, 4]), Arms((arm,)), Photos(), SIZE)
    for field in fields(BodyPicture):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(pictures[4], field.name))
    assert not np.array_equal(pictures[4].image, pictures[5].image)


def test_every_part_is_seen_and_some_pictures_are_empty(pictures: list[BodyPicture]) -> None:
    assert set(np.unique(np.stack([p.labels for p in pictures]))) == set(range(len(PARTS) + 1))
    assert 0 < sum(p.people == 0 for p in pictures) < len(pictures) / 2
    assert all(np.abs(p.canonical[p.labels > 0]).max(initial=0) < 127 / 200 for p in pictures)


def test_paint_is_the_makers_or_another(arm: Arm) -> None:
    table = makers_colours(arm)
    np.testing.assert_allclose(table[2], (1, 0.4, 0), atol=0.01)
    looks = replace(
        draw_arm_looks(np.random.default_rng(0), table), table=table, seconds=(), bands=(),
        letters=(-1, 0, 0), worn=0.0, parts=np.ones((6, 3), np.float32),
    )  # fmt: skip
    colour, _ = looks.paint(arm.places, np.zeros(len(arm.places)), arm.canonical)
    upper = arm.parts == PARTS.index("upper_arm")
    np.testing.assert_allclose(colour[upper], np.tile(table[2], (upper.sum(), 1)), atol=1e-5)
    means = []
    for seed in range(40):
        colour, _ = draw_arm_looks(np.random.default_rng(seed), table).paint(
            arm.places, np.zeros(len(arm.places)), arm.canonical
        )
        assert colour.min() >= 0 and colour.max() <= 1
        means.append(colour.mean(0))
    assert np.ptp(np.stack(means), axis=0).min() > 0.4


def test_a_clip_is_one_arm_that_moves_smoothly_on_its_foot(arm: Arm) -> None:
    act = Arms((arm,)).act(np.random.default_rng(4), np.arange(40) / 30)
    joints = np.stack([figure.joints for figure in act.figures])
    np.testing.assert_allclose(joints[:, :2], np.tile(joints[:1, :2], (40, 1, 1)), atol=1e-5)
    steps = np.linalg.norm(np.diff(joints, axis=0), axis=-1).max(1)
    assert 0.001 < steps.max() < 0.15
    assert len({len(figure.vertices) for figure in act.figures}) == 1 and act.framed is not None
    (clip,) = render_clip(np.random.default_rng(2), Arms((arm,)), Photos(), 4, 64)
    assert clip.frames.shape == (4, 64, 64, 3) and clip.part_names == PARTS


def test_an_arm_moves_on_only_where_it_can(arm: Arm) -> None:
    rng = np.random.default_rng(0)
    angles = draw_angles(rng, arm)
    for _ in range(6):
        new = next_angles(rng, arm, angles)
        for share in (0.5, 1.0):
            assert trouble(arm.joints(*place_links(arm.mechanism, angles + share * (new - angles)))) == 0
        angles = new


def test_highlights_are_where_the_lamp_is_mirrored() -> None:
    camera = Camera(np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32), np.zeros(3, np.float32))
    light = Light(np.array([1, 0, 0], np.float32), np.ones(3, np.float32), np.ones(3, np.float32))
    half = np.array([1, -1, 0]) / np.sqrt(2)
    shine = highlight(np.array([half, [1, 0, 0], -half], np.float32), camera, light)
    np.testing.assert_allclose(shine[0], 1, atol=1e-3)
    assert shine[1].max() < 0.01 and shine[2].max() == 0


def test_the_command_writes_shards_that_name_their_parts(
    arm: Arm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.bodies.__main__.load_arms", lambda: (arm,))
    assert main(["arm", "--out", str(tmp_path), "--num-pictures", "3", "--size", "64"]) == 0
    (shard,) = read_shards(tmp_path)
    assert shard.parts == PARTS and shard.affines.shape == (3, len(PARTS), 2, 3)
    drawn = draw_picture(np.random.default_rng([0, 2]), Arms((arm,)), Photos(), 64)
    np.testing.assert_array_equal(shard.images[2], drawn.image)


def test_without_the_files_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.bodies.mechanisms.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="arms"):
        arm_kinds.load_arms()


def test_the_real_arms_have_all_parts() -> None:
    try:
        find_robots()
    except MissingExtraError:
        pytest.skip("robosuite is not installed (extra arms)")
    arms = arm_kinds.load_arms()
    assert {arm.name for arm in arms} == set(arm_kinds.KINDS)
    for arm in arms:
        assert set(arm.parts) == set(range(len(PARTS))), arm.name
        assert len(arm.mechanism.vertices) < 40_000
