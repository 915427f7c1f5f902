"""Saliency by robust background detection."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from train.inputs.saliency import saliency_map
from train.inputs.superpixels import CELL, superpixels


def disc(center_x: int, height: int = 150, width: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """A red disc on a noisy green ground, and its mask."""
    y, x = np.mgrid[:height, :width]
    mask = (x - center_x) ** 2 + (y - height // 2) ** 2 < 35**2
    image = np.random.default_rng(1).normal((90, 120, 90), 10, (height, width, 3))
    image[mask] = (220, 60, 40)
    return np.clip(image, 0, 255).astype(np.uint8), mask


def test_a_bright_disc_on_a_textured_background_is_salient() -> None:
    image, mask = disc(100)
    saliency = saliency_map(image)
    assert saliency.shape == mask.shape and saliency.dtype == np.float32
    assert saliency.min() >= 0 and saliency.max() <= 1
    assert saliency[mask].mean() > 0.9 and saliency[~mask].mean() < 0.1


def test_a_disc_that_touches_the_border_is_less_salient() -> None:
    inside, cut = disc(100), disc(0)
    assert saliency_map(cut[0])[cut[1]].mean() < saliency_map(inside[0])[inside[1]].mean() - 0.2


def test_a_drawn_frame_changes_nothing_and_is_not_salient() -> None:
    image, _ = disc(100)
    framed = saliency_map(np.pad(image, ((10, 12), (9, 30), (0, 0)), constant_values=255))
    np.testing.assert_allclose(framed[10:-12, 9:-30], saliency_map(image), atol=1e-6)
    assert framed[:10].max() == framed[:, -30:].max() == 0


def test_plain_background_around_a_subject_is_no_frame() -> None:
    image = np.full((150, 200, 3), 255, np.uint8)
    image[40:110, 60:150] = (200, 30, 30)
    saliency = saliency_map(image)
    assert saliency[50:100, 70:140].min() > 0.8 and saliency[:25].max() < 0.2


def test_the_same_picture_gives_the_same_map() -> None:
    image, _ = disc(70)
    assert (saliency_map(image) == saliency_map(image.copy())).all()


@pytest.mark.parametrize("hw", [(1, 1), (1, 300), (2, 4000), (3, 5), (37, 900), (900, 8), (60, 60)])
def test_any_size_works_and_a_flat_picture_has_no_subject(hw: tuple[int, int]) -> None:
    assert saliency_map(np.full((*hw, 3), 130, np.uint8)).tolist() == np.zeros(hw).tolist()
    noise = np.random.default_rng(0).integers(0, 256, (*hw, 1), np.uint8).repeat(3, axis=2)
    saliency = saliency_map(noise)
    assert saliency.shape == hw and np.isfinite(saliency).all()


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        saliency_map(np.zeros((4, 4), np.uint8))
    with pytest.raises(ValueError, match="no pixel"):
        saliency_map(np.zeros((0, 4, 3), np.uint8))


def test_superpixels_are_numbered_without_gaps_and_follow_edges() -> None:
    lab = np.zeros((6 * CELL, 8 * CELL, 3), np.float32)
    lab[:, 55:] = 50
    labels = superpixels(lab)
    assert np.unique(labels).tolist() == list(range(labels.max() + 1))
    assert not set(labels[:, :55].ravel()) & set(labels[:, 55:].ravel())
