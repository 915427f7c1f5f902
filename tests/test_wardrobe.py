"""Garments and photographed skins on rendered people."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("anny", reason="people are rendered from anny's bodies; pip install 'streamparts[bodies]'")
pytest.importorskip("numba", reason="the renderer's loops are compiled; pip install 'streamparts[bodies]'")

from streamparts.errors import StreampartsError
from train.bodies.__main__ import main
from train.bodies.base_mesh import BaseMesh, load_base, make_base
from train.bodies.camera import Camera, Light
from train.bodies.cast import People
from train.bodies.figure import BodyFigure, dress
from train.bodies.garments import Garment, Worn, read_garment, sampled
from train.bodies.layers import paint_person
from train.bodies.mesh import JOINTS, PARTS, Bodies, make_bodies
from train.bodies.outfit import Outfit, draw_outfit
from train.bodies.picture import draw_picture
from train.bodies.scene import Photos
from train.bodies.wardrobe import load_wardrobe

SIZE, SEED = 96, 5
RED, BLUE = (255, 0, 0, 255), (0, 0, 255, 255)
CLEAR = (0, 255, 0, 0)


@pytest.fixture(scope="module")
def bodies() -> Bodies:
    return make_bodies(2, SEED)


@pytest.fixture(scope="module")
def base() -> BaseMesh:
    return make_base(2, SEED)


def plate(base: BaseMesh, texture: np.ndarray, hides: bool = False) -> Garment:
    """A plate of .3 m before the chest of the first build, fastened to a vertex there, textured all over."""
    anchor = breast(base)
    offsets = 0.15 * np.array([(-1, -1, -1), (1, -1, -1), (1, -1, 1), (-1, -1, 1)], np.float32)
    corners = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32)
    halves = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    hidden = np.zeros(base.vertices.shape[1], bool)
    hidden[base.rows] = hides
    return Garment(
        np.full((4, 3), anchor), np.full((4, 3), 1 / 3, np.float32), offsets, halves, corners[halves], texture, hidden
    )


def breast(base: BaseMesh) -> int:
    """The foremost vertex of the body at the height of the chest, near the middle."""
    own = base.vertices[0][base.rows]
    low, high = own[:, 2].min(), own[:, 2].max()
    near = (np.abs(own[:, 0]) < 0.05) & (np.abs((own[:, 2] - low) / (high - low) - 0.72) < 0.03)
    return int(base.rows[np.flatnonzero(near)[own[near, 1].argmin()]])


def texture(*rows: tuple[tuple[int, ...], ...]) -> np.ndarray:
    return np.array(rows, np.uint8)


def worn(garment: Garment) -> Worn:
    return Worn(garment, np.ones(3, np.float32), 0.0)


def plain(**changes: object) -> Outfit:
    outfit = replace(draw_outfit(np.random.default_rng(3)), skirt=0.0, on_head=(), face=False, beard=False)
    return replace(outfit, **changes)  # type: ignore[arg-type]


def painted(bodies: Bodies, base: BaseMesh, outfit: Outfit) -> tuple[BodyFigure, np.ndarray, np.ndarray]:
    """Somebody upright seen from the front in even light: the figure, RGB in [0, 1] and labels."""
    pose = np.repeat(np.eye(3, dtype=np.float32)[None], len(JOINTS), 0)
    figure = dress(bodies, 0, pose, outfit, np.random.default_rng(0), base)
    turned = np.array([(1, 0, 0), (0, 0, -1), (0, 1, 0)], np.float32)
    camera = Camera(turned, figure.vertices.mean(0) - (0, 4, 0), 1.6 * SIZE, (SIZE / 2, SIZE / 2))
    light = Light(np.array([0, -1, 0], np.float32), np.zeros(3, np.float32), np.ones(3, np.float32))
    layer = paint_person(figure, outfit, camera, light, SIZE, 1)
    return figure, layer.rgb, layer.labels


def is_of(colour: int, rgb: np.ndarray) -> np.ndarray:
    """Where one channel is much stronger than both others."""
    others = np.delete(rgb, colour, -1)
    return np.asarray((rgb[..., colour] > 0.3) & (others.max(-1) < 0.1))


def test_the_base_mesh_holds_the_bodies_of_the_same_seed(bodies: Bodies, base: BaseMesh, tmp_path: Path) -> None:
    assert np.allclose(base.vertices[:, base.rows], bodies.vertices, atol=1e-6)
    assert np.allclose(base.weights[base.rows], bodies.weights, atol=1e-6)
    assert base.corners.shape == (len(bodies.faces), 3, 2)
    kept = load_base(tmp_path, 1, SEED)
    assert np.array_equal(load_base(tmp_path, 1, SEED).vertices, kept.vertices)
    assert np.allclose(kept.vertices[0], base.vertices[0])


def test_a_garment_follows_the_vertices_that_it_is_fastened_to(base: BaseMesh) -> None:
    garment = plate(base, texture((RED,)))
    first, second = (garment.fitted(base.vertices[k]) for k in (0, 1))
    assert np.allclose(first.mean(0), base.vertices[0][breast(base)] + (0, -0.15, 0), atol=1e-5)
    assert np.allclose(second - first, base.vertices[1][breast(base)] - base.vertices[0][breast(base)], atol=1e-5)
    assert np.allclose(garment.carried(base.weights).sum(1), 1, atol=1e-5)


def test_its_pixels_have_its_texture_and_the_part_below(bodies: Bodies, base: BaseMesh) -> None:
    # upper half red, lower half blue
    garment = plate(base, texture((RED,), (BLUE,)))
    figure, rgb, labels = painted(bodies, base, plain(worn=(worn(garment),)))
    assert figure.corners is not None and len(figure.corners) == len(figure.faces)
    red, blue = (np.argwhere(is_of(colour, rgb)) for colour in (0, 2))
    assert min(len(red), len(blue)) > 20
    assert red[:, 0].max() < blue[:, 0].min()
    assert set(labels[tuple(np.concatenate([red, blue]).T)]) == {PARTS.index("torso") + 1}


def test_behind_a_transparent_pixel_is_the_body(bodies: Bodies, base: BaseMesh) -> None:
    outfit = plain(worn=(worn(plate(base, texture((RED, CLEAR)))),))
    rgb = painted(bodies, base, outfit)[1]
    whole = painted(bodies, base, replace(outfit, worn=(worn(plate(base, texture((RED, RED)))),)))[1]
    bare = painted(bodies, base, replace(outfit, worn=()))[1]
    left = is_of(0, rgb)
    right = is_of(0, whole) & ~left
    assert left.sum() > 20 and right.sum() > 20
    assert np.argwhere(left)[:, 1].max() < np.argwhere(right)[:, 1].min()
    assert np.allclose(rgb[right], bare[right], atol=0.02)


def test_what_a_garment_hides_is_left_out(bodies: Bodies, base: BaseMesh) -> None:
    garment = plate(base, texture((RED,)), hides=True)
    figure, rgb, _ = painted(bodies, base, plain(worn=(worn(garment),)))
    assert len(figure.faces) == 2
    assert is_of(0, rgb).sum() == rgb.any(-1).sum()


def test_a_photographed_skin_is_seen_where_nothing_is_worn(bodies: Bodies, base: BaseMesh) -> None:
    skin = np.full((4, 4, 3), (0, 0, 255), np.uint8)
    clothed = plain(skin_map=skin, sleeves=3.5, trousers=3.5, shod=1.9, bare=False)
    naked = replace(clothed, bare=True, sleeves=-0.5, trousers=0.2, shod=3.4, sock=3.4)
    _, rgb, labels = painted(bodies, base, naked)
    torso = labels == PARTS.index("torso") + 1
    shins = np.isin(labels, [PARTS.index(f"{side}_shin") + 1 for side in ("left", "right")])
    assert is_of(2, rgb)[torso].mean() > 0.5 and is_of(2, rgb)[shins].mean() > 0.9
    assert is_of(2, painted(bodies, base, clothed)[1])[torso | shins].mean() < 0.1


def test_colours_of_a_garment() -> None:
    own = texture(((200, 100, 0, 255),))
    garment = Garment(*(np.zeros((1, 3)),) * 3, np.zeros((1, 3), np.int32), np.zeros((1, 3, 2)), own, np.zeros(1, bool))
    at = np.zeros((1, 2), np.float32)
    assert np.allclose(Worn(garment, np.ones(3), 0.0).colours(at), np.array([[200, 100, 0]]) / 255)
    assert np.allclose(Worn(garment, np.array([1, 2, 0.5]), 1.0).colours(at), 100 / 255 * np.array([[1, 2, 0.5]]))
    assert np.allclose(sampled(own, np.array([[7.3, -2.4]])), own[0] / 255)


def written(folder: Path, name: str, **changes: object) -> Path:
    """A garment of one quad as the JSON files have it."""
    place = folder / "proxies" / "clothes" / name
    (place / "textures").mkdir(parents=True)
    cv2.imwrite(str(place / "textures" / "own.png"), np.full((2, 2, 3), (0, 0, 255), np.uint8))
    fastening = {
        "ref_vIdxs": [[0, 1, 2]] * 4, "weights": [[1, 0, 0]] * 4, "offsets": [[1, 2, 3]] * 4, "deleteVerts": [0, 1],
    }  # fmt: skip
    about = {
        "metadata": fastening, "uvs": [[0, 0, 1, 0, 1, 0.75, 0, 1]], "materials": [{"mapDiffuse": "textures/own.png"}],
        "faces": [11, 0, 1, 2, 3, 0, 0, 1, 2, 3],
    }  # fmt: skip
    (place / f"{name}.json").write_text(json.dumps(about | changes))
    return place / f"{name}.json"


def test_a_garment_is_read_in_the_axes_of_the_body(tmp_path: Path) -> None:
    garment = read_garment(written(tmp_path, "shoes01"))
    # decimetres with y up -> metres with z up
    assert np.allclose(garment.offsets[0], (0.1, -0.3, 0.2))
    assert garment.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert np.allclose(garment.corners[0], [(0, 1), (1, 1), (1, 0.25)])
    assert garment.texture.shape == (2, 2, 4) and garment.texture[0, 0].tolist() == list(RED)
    assert garment.hides.tolist() == [False, True] and not garment.see_through


@pytest.mark.parametrize(
    "changes", [{"faces": [10, 0, 1, 2, 3, 0, 0, 1, 2, 3]}, {"faces": [1]}, {"uvs": []}, {"metadata": {}}]
)
def test_another_format_is_refused_with_the_file(tmp_path: Path, changes: dict[str, object]) -> None:
    path = written(tmp_path, "shoes01", **changes)
    with pytest.raises(StreampartsError, match=r"shoes01\.json"):
        read_garment(path)


def test_a_folder_without_clothes_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["person", "--out", str(tmp_path / "out"), "--num-pictures", "1", "--num-bodies", "1"]
    (tmp_path / "empty").mkdir()
    assert main([*command, "--wardrobe", str(tmp_path / "empty")]) == 1
    assert "empty" in capsys.readouterr().err.splitlines()[-1]


def test_a_wardrobe_changes_looks_but_no_pose(bodies: Bodies, base: BaseMesh, tmp_path: Path) -> None:
    written(tmp_path, "shoes01", metadata={
        "ref_vIdxs": [[int(row)] * 3 for row in base.rows[:4]], "weights": [[1, 0, 0]] * 4,
        "offsets": [[0, 0, 0]] * 4, "deleteVerts": [0] * base.vertices.shape[1],
    })  # fmt: skip
    wardrobe = load_wardrobe(tmp_path, base)
    plain_ones, dressed = (
        [cast.draw(np.random.default_rng(i)) for i in range(30)] for cast in (People(bodies), People(bodies, wardrobe))
    )
    assert {len(outfit.worn) for _, outfit in dressed} == {0, 1}
    for (first, _), (second, _) in zip(plain_ones, dressed, strict=True):
        # soles lift a body from the floor
        assert np.array_equal(first.joints[:, :2], second.joints[:, :2])
    assert draw_picture(np.random.default_rng(1), People(bodies, wardrobe), Photos(), SIZE, 0.0).labels.any()
