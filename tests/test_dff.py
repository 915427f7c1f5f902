"""Factorised features: synthetic networks with known factors, and the command on a few drawn images."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

import torch

from streamparts.errors import StreampartsError
from tests.media import GREEN, GREY, RED
from train.dff import main
from train.evaluate import main as evaluate
from train.judging.factors import DffConfig, coarse_features, fit, open_features, read_parts, soft_masks
from train.judging.finding import open_finder
from train.pretrained.perceptual import FeatureNetwork, random_vgg

SIDE = 128
COLOURS = np.array([RED, GREEN, GREY], np.float32)
CONFIG = DffConfig(num_parts=2, image_size=SIDE)


def figure(left: int) -> tuple[np.ndarray, np.ndarray]:
    """A red square on a green one before grey, and the labels 1 and 2 of the squares."""
    image, labels = np.full((SIDE, SIDE, 3), GREY, np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    for label, colour in ((1, RED), (2, GREEN)):
        box = slice(16 + 32 * label - 16, 48 + 32 * label - 16), slice(left, left + 48)
        image[box], labels[box] = colour, label
    return image, labels


def colour_features(image: np.ndarray) -> np.ndarray:
    """(8, 8, 3) how near each cell is to each colour, as a network would see it."""
    cells = cv2.resize(image, (SIDE // 16, SIDE // 16), interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.exp(-np.square((cells[..., None, :] - COLOURS) / 60).sum(-1)).astype(np.float32)


def test_factors_are_the_concepts_and_the_one_along_the_borders_is_background() -> None:
    pictures = [figure(left)[0] for left in (16, 32, 48)]
    factors = fit(pictures, colour_features, CONFIG)
    assert factors.basis.shape == (3, 3)
    assert factors.basis[2].argmax() == 2
    assert factors.border_shares[2] > 1 > factors.border_shares[1]
    assert set(factors.basis[:2].argmax(1)) == {0, 1}


def test_a_new_picture_is_read_with_the_same_parts() -> None:
    factors = fit([figure(left)[0] for left in (16, 48)], colour_features, CONFIG)
    image, labels = figure(32)
    parts = read_parts(soft_masks(factors.heat(colour_features(image)), 2, 0.3, (SIDE, SIDE)))
    first = 1 + int(factors.basis[0].argmax())
    expected = np.array([0, 1, 2])[labels] if first == 1 else np.array([0, 2, 1])[labels]
    assert (parts.labels == expected).mean() > 0.9
    assert parts.masks is not None
    np.testing.assert_allclose(parts.masks.sum(0), 1, rtol=1e-5)
    np.testing.assert_allclose(parts.affines[:, 0, 2], (32 + 24) / SIDE * 2 - 1, atol=0.06)


def test_the_foreground_is_what_exceeds_the_threshold_and_the_background_factor() -> None:
    heat = np.array([[[0.2, 0.4, 0.4, 0.9]], [[0.1, 0.1, 0.5, 0.1]], [[0.0, 0.0, 0.1, 1.0]]], np.float32)
    assert soft_masks(heat, 2, 0.3, (1, 4)).argmax(0).tolist() == [[0, 1, 2, 0]]
    assert soft_masks(heat, 2, 0.0, (1, 4)).argmax(0).tolist() == [[1, 1, 2, 0]]


def test_pictures_without_any_heat_are_background() -> None:
    parts = read_parts(soft_masks(np.zeros((3, 4, 4), np.float32), 2, 0.3, (8, 8)))
    assert not parts.labels.any()
    assert np.isfinite(parts.affines).all()


class Plain(FeatureNetwork):
    """Mean brightness of each cell, times a number."""

    def __init__(self, gain: float) -> None:
        super().__init__({})
        self.gain = gain

    def forward(self, images: torch.Tensor) -> dict[int, torch.Tensor]:
        return {16: self.gain * torch.nn.functional.avg_pool2d(images.mean(1, keepdim=True), 16)}


def test_features_of_several_networks_stand_side_by_side_at_one_scale() -> None:
    images = torch.rand(2, 3, 64, 32)
    features = coarse_features([Plain(1), Plain(100)], images)
    assert features.shape == (2, 2, 4, 2)
    torch.testing.assert_close(features[:, 0], features[:, 1])
    torch.testing.assert_close(features[1:], coarse_features([Plain(1), Plain(100)], images[1:]))


def weights_file(path: Path, widths: tuple[int, ...] = (4, 4, 4, 4, 8)) -> Path:
    weights = random_vgg(torch.Generator().manual_seed(0), widths)
    np.savez(path, **{"conv0.weight": np.eye(3, dtype=np.float32)[:, :, None, None]}, **{"conv0.bias": np.zeros(3)},
             **{name: value.numpy() for name, value in weights.items()})  # fmt: skip
    return path


def test_the_command_leaves_a_folder_that_can_be_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(4):
        image, labels = figure(16 + 8 * number)
        for name, picture in (("rgb", image[..., ::-1]), ("mask", (labels > 0) * np.uint8(255))):
            (tmp_path / "horses" / name).mkdir(parents=True, exist_ok=True)
            data = cv2.imencode(".png", picture)[1].tobytes()
            (tmp_path / "horses" / name / f"{number}.png").write_bytes(data)
    features, out = weights_file(tmp_path / "features.npz"), tmp_path / "dff"
    options = ["--num-parts", "2", "--image-size", "64", "--half", "fit"]
    assert main([str(tmp_path / "horses/rgb"), "--out", str(out), "--features", str(features), *options]) == 0
    assert "2 images" in capsys.readouterr().out
    assert open_finder(str(out)).part_names == ("part0", "part1")
    figures = tmp_path / "figures.json"
    assert evaluate([str(out), f"horses:{tmp_path / 'horses'},test", "--crf", "--out", str(figures)]) == 0
    sets = json.loads(figures.read_text())["sets"]
    assert [name.partition(",")[2] for name in sets] == ["test", "test +CRF"]
    assert all(section["frames"] == 2 and section["foreground"]["iou"] is not None for section in sets.values())


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--features", "missing.npz"], "no features file"),
        (["--features", "missing.npz", "--image-size", "100"], "multiple of 16"),
        (["--features", "missing.npz", "--half", "best"], "is not a half of a set"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], expected: str
) -> None:
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", figure(16)[0])[1].tobytes())
    assert main([str(tmp_path), "--out", str(tmp_path / "out"), *more]) == 1
    assert expected in capsys.readouterr().err


def test_a_network_without_coarse_features_is_refused(tmp_path: Path) -> None:
    path = weights_file(tmp_path / "short.npz")
    with np.load(path) as stored:
        np.savez(path, **{name: stored[name] for name in stored.files if "conv5" not in name})
    with pytest.raises(StreampartsError, match="stride 16"):
        open_features([path])


def test_a_damaged_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "factors.json").write_text("{}")
    with pytest.raises(StreampartsError, match="train-dff"):
        open_finder(str(tmp_path))
