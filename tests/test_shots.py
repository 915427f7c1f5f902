"""How clips of rendered bodies are filmed: the shutter, things in front, several bodies, compression."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("numba", reason="the renderer's loops are compiled; pip install 'streamparts[bodies]'")

from train.bodies.builds import Array
from train.bodies.camera import Camera, draw_light
from train.bodies.cast import Act, act_beside
from train.bodies.clips import render_clip, write_clips
from train.bodies.figure import BodyFigure, moved
from train.bodies.film import FilmSet, film
from train.bodies.scene import Photos
from train.bodies.shot import MOST_COVERED, MOST_SAMPLES, Filming, Thing, draw_shot, draw_thing, exposure, moment
from train.drawing.puppet_clips import load_truth
from train.labels.puppets import open_folder

SIZE = 64
STILL, AHEAD = np.eye(3, dtype=np.float32), np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)
"""A camera that looks along y."""


def box(x: float, y: float, parts: int = 2) -> BodyFigure:
    """A box of 0.4 x 0.4 x 1 on the floor; its upper half is the last part."""
    corners = np.array([(i, j, k) for k in (0, 0.5, 1) for j in (-0.2, 0.2) for i in (-0.2, 0.2)], np.float32)
    rings = [(0, 1, 3, 2), (4, 5, 7, 6), (8, 9, 11, 10)]
    faces = [
        (a, b, c)
        for low, high in pairwise(rings)
        for n in range(4)
        for a, b, c in (
            (low[n], low[(n + 1) % 4], high[n]),
            (low[(n + 1) % 4], high[(n + 1) % 4], high[n]),
        )
    ]
    vertices = corners[np.array(faces).ravel()] + np.array([x, y, 0], np.float32)
    count = len(vertices)
    labels = np.repeat([0, parts - 1], count // 2).astype(np.uint8)
    normals = np.tile(np.array([0, -1, 0], np.float32), (count, 1))
    joints = np.array([(x, y, 0), (x, y, 1)], np.float32)
    ends = np.array([[(x, y, 0), (x, y, 0.5)], [(x, y, 0.5), (x, y, 1)]], np.float32)
    return BodyFigure(
        vertices, normals, np.arange(count, dtype=np.int32).reshape(-1, 3), labels,
        np.zeros((count, 8), np.float32), np.zeros((count, 1), np.float32), vertices, joints, ends,
        np.array([0, -1, 0], np.float32),
    )  # fmt: skip


@dataclass(frozen=True)
class White:
    """Looks of one colour."""

    phases: Array = field(default_factory=lambda: np.zeros(6, np.float32))
    contact: float = 0.0
    gloss: float = 0.0

    def paint(self, places: Array, _material: Array, _rest: Array, _uv: Array | None = None) -> tuple[Array, Array]:
        return np.ones((len(places), 3), np.float32), np.zeros(len(places), np.float32)


@dataclass(frozen=True)
class Boxes:
    """Boxes that move to the right by `speed` a second."""

    speed: float = 1.0
    parts: tuple[str, ...] = ("low", "high")
    joints: tuple[str, ...] = ("foot", "top")
    together: float = 1.0
    animals: bool = True
    blurred: float = 0.0

    def draw(self, _rng: np.random.Generator) -> tuple[BodyFigure, White]:
        return box(0, 0), White()

    def second(self, rng: np.random.Generator, _first: BodyFigure, _looks: object) -> tuple[BodyFigure, White]:
        return self.draw(rng)

    def act(self, _rng: np.random.Generator, seconds: Array) -> Act:
        return Act([box(self.speed * float(time), 0) for time in seconds], White())

    def second_act(self, rng: np.random.Generator, seconds: Array, first: Act) -> Act:
        return act_beside(rng, self.act(rng, seconds), first)

    def side(self, _figure: BodyFigure) -> str:
        return ""

    def view(self, _rng: np.random.Generator, figure: BodyFigure, _size: int) -> Camera:
        return Camera(AHEAD, figure.vertices.mean(0) + np.array([0, -4, 0], np.float32))

    def background(self, _rng: np.random.Generator, size: int, _horizon: float, _photos: Photos) -> Array:
        return np.zeros((size, size, 3), np.float32)


def cameras(count: int) -> list[Camera]:
    return [Camera(AHEAD, np.array([0, -4, 0.5], np.float32), 60.0, (SIZE / 2, SIZE / 2))] * count


def test_an_exposure_is_as_long_as_the_shutter_is_open_and_centred_on_its_frame() -> None:
    act = Boxes(speed=6.0).act(np.random.default_rng(0), np.arange(5) / 30)
    moments = exposure([act], cameras(5), np.zeros((5, 2)), 2, shutter=0.5)
    places = np.array([each.figures[0].vertices.mean(0) for each in moments])
    assert 1 < len(moments) <= MOST_SAMPLES
    assert places[:, 0].mean() == pytest.approx(act.figures[2].vertices[:, 0].mean(), abs=1e-6)
    step = 6.0 / 30 * 0.5  # way while the shutter is open; samples are in the middle of their times
    assert np.ptp(places[:, 0]) == pytest.approx(step * (len(moments) - 1) / len(moments), rel=1e-4)
    assert len(exposure([act], cameras(5), np.zeros((5, 2)), 2, shutter=0.0)) == 1
    panned = np.arange(5)[:, None] * np.array([[8.0, 0.0]])
    still = replace(act, figures=[act.figures[0]] * 5)
    pans = [each.pan[0] for each in exposure([still], cameras(5), panned, 2, shutter=1.0)]
    assert len(pans) > 3 and np.mean(pans) == pytest.approx(16) and len(np.unique(pans)) == len(pans)


@pytest.mark.parametrize(("frame", "later"), [(0, -0.5), (4, 0.5), (2, 0.25)])
def test_a_body_goes_on_as_before_beyond_the_first_and_the_last_frame(frame: int, later: float) -> None:
    act = Boxes().act(np.random.default_rng(0), np.arange(5) / 30)
    there = moment([act], cameras(5), np.zeros((5, 2)), frame, later)
    assert there.figures[0].vertices.mean(0)[0] == pytest.approx((frame + later) / 30, abs=1e-6)
    alone = moment([replace(act, figures=act.figures[:1])], cameras(1), np.zeros((1, 2)), 0, later)
    np.testing.assert_array_equal(alone.figures[0].vertices, act.figures[0].vertices)


def test_motion_blur_is_in_the_image_and_not_in_the_truth() -> None:
    """A box of even white that moves to the right: its left and right edges become ramps as wide as its way, its upper
    edge stays."""
    boxes, shots = Boxes(speed=6.0), (Filming(), Filming(shutter=1.0))
    sharp, blurred = (render_clip(np.random.default_rng(0), boxes, Photos(), 9, 96, shot)[0] for shot in shots)
    for name in ("labels", "affines", "joints", "visible_fraction", "depths"):
        np.testing.assert_array_equal(getattr(sharp, name), getattr(blurred, name))
    row = [int(each.joints[4].mean(0)[1]) for each in (sharp, blurred)]
    ramps = []
    for clip, y in zip((sharp, blurred), row, strict=True):
        line = clip.frames[4, y].mean(1) / clip.frames[4].max()
        ramps.append(int(((line > 0.05) & (line < 0.85)).sum()))
    way = float(np.diff(sharp.joints[3:5, 0, 0])[0])
    assert way > 3 and ramps[1] - ramps[0] > way
    assert blurred.frames[4].mean() == pytest.approx(sharp.frames[4].mean(), rel=0.05)


def test_a_thing_in_front_hides_bodies_and_pans_at_least_as_the_floor() -> None:
    rgba = np.zeros((SIZE, SIZE, 4), np.float32)
    rgba[:, SIZE // 2 :] = (0, 1, 0, 1)
    thing = Thing(rgba, parallax=1.5)
    act = Act([box(0, 0)], White())
    light = draw_light(np.random.default_rng(0), cameras(1)[0])
    stage = FilmSet([act], np.zeros((SIZE, SIZE, 3), np.float32), 0, light, SIZE, thing)
    image, (labels,) = stage.paint(moment([act], cameras(1), np.zeros((1, 2)), 0), [], 2)
    assert labels[:, : SIZE // 2].any() and not labels[:, SIZE // 2 :].any()
    assert (image[:, SIZE // 2 :] == (0, 1, 0)).all()
    panned = thing.seen(np.array([4.0, 0.0]))
    assert not panned[:, : SIZE // 2 + 6, 3].any() and panned[:, SIZE // 2 + 6 :, 3].all()


def test_things_cover_some_of_the_image() -> None:
    for seed in range(12):
        thing = draw_thing(np.random.default_rng(seed), SIZE, animals=True)
        opacity = thing.rgba[..., 3]
        assert opacity.min() >= 0 and opacity.max() <= 1.001 and 0 < opacity.mean() < MOST_COVERED
        assert (thing.rgba[..., :3].max(2) <= opacity + 1e-3).all(), "colours are multiplied by the opacity"


def test_bodies_side_by_side_keep_their_distance_and_their_motion() -> None:
    rng, seconds = np.random.default_rng(3), np.arange(20) / 30
    first = Boxes().act(rng, seconds)
    other = act_beside(rng, Boxes().act(rng, seconds), first, (0.5, 2.5))
    places = [np.stack([figure.joints[0, :2] for figure in act.figures]) for act in (first, other)]
    assert 0.5 <= np.linalg.norm(places[1][10] - places[0][10]) <= 2.5
    steps = [np.linalg.norm(np.diff(each, axis=0), axis=1) for each in places]
    np.testing.assert_allclose(steps[0], steps[1], atol=1e-5)
    assert all(figure.vertices[:, 2].min() == pytest.approx(0, abs=1e-6) for figure in other.figures)


def test_of_two_boxes_the_nearer_one_is_first_and_hides_the_other() -> None:
    act = Act([box(0, 0)], White())
    behind = replace(act, figures=[moved(act.figures[0], STILL, np.array([0.15, 1.0, 0], np.float32))])
    camera = Camera(AHEAD, np.array([0, -4, 0.5], np.float32))
    near, far = film(np.random.default_rng(0), Boxes(), [act, behind], camera, Photos(), SIZE)
    assert near.depths.max() < far.depths.min()
    assert far.depths.min() - near.depths.min() == pytest.approx(1, abs=0.01), "metres apart along the view"
    assert near.visible_fraction.min() > 0.9 > far.visible_fraction.max()
    assert near.facing[0] == pytest.approx((0, 0, -1), abs=1e-6), "it looks at the camera"


def test_shots_vary_and_equal_draws_give_equal_ones() -> None:
    shots = [draw_shot(np.random.default_rng(seed), Boxes(), SIZE) for seed in range(60)]
    assert 0 < sum(shot.shutter > 0 for shot in shots) < 60
    assert 0 < sum(shot.thing is not None for shot in shots) < 60
    assert len({shot.rate_factor for shot in shots}) > 5
    again = draw_shot(np.random.default_rng(7), Boxes(), SIZE)
    assert again.shutter == shots[7].shutter and again.rate_factor == shots[7].rate_factor


def test_clips_on_disk_have_the_truth_of_each_body_and_a_sheet(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_clips(tmp_path / folder, Boxes(), Photos(), 2, 4, SIZE, seed=5, say=lambda done: None)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == [
        "clip_0000.mp4", "clip_0000.npz", "clip_0000.subject1.npz",
        "clip_0001.mp4", "clip_0001.npz", "clip_0001.subject1.npz", "clips.png",
    ]  # fmt: skip
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
               for name in files if name.endswith((".mp4", ".png")))  # fmt: skip
    stored = np.load(tmp_path / "one" / "clip_0001.npz")
    assert {"depths", "facing", "side", "labels", "joints", "affines"} <= set(stored) and "frames" not in stored
    assert stored["depths"].shape == (4, 2) and stored["facing"].shape == (4, 3) and stored["side"].shape == ()
    one, other = (load_truth(tmp_path / "one" / f"clip_0000{end}.npz") for end in ("", ".subject1"))
    assert one.labels.any() and other.labels.any() and not ((one.labels > 0) & (other.labels > 0)).any()
    frames = list(open_folder(tmp_path / "one", 8).read())
    np.testing.assert_array_equal(frames[0].labels, np.maximum(one.labels[0], other.labels[0]))
    assert cv2.imread(str(tmp_path / "one" / "clips.png")).shape == (4 * 2 * SIZE, 2 * SIZE, 3)


def test_plain_clips_show_a_single_body(tmp_path: Path) -> None:
    write_clips(tmp_path, Boxes(), Photos(), 2, 2, SIZE, seed=5, say=lambda done: None, plain=True)
    assert not list(tmp_path.glob("*.subject1.npz")) and len(list(tmp_path.glob("clip_*.npz"))) == 2
