"""The level of the mask network's outline."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from train.subject.outline import LEVELS, best_level, rim_of


def disc(radius: float, side: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc of that radius, and each pixel's distance from the middle."""
    y, x = np.mgrid[:side, :side] + 0.5 - side / 2
    away = np.hypot(x, y).astype(np.float32)
    noise = np.random.default_rng(0).integers(0, 20, (side, side, 3))
    return (np.where(away[..., None] < radius, 200, 40) + noise).astype(np.uint8), away


def test_the_outline_comes_to_lie_on_the_edge() -> None:
    image, away = disc(16)
    logits = (20 - away).astype(np.float32)  # a halo of four pixels, which ends at logit 4
    assert best_level([image], [logits], [away < 12]) == pytest.approx(4, abs=0.5)
    assert best_level([image], [logits - 4], [away < 12]) == pytest.approx(0, abs=0.5)


def test_a_mask_is_not_cut_down_to_a_pattern_on_the_subject() -> None:
    image, away = disc(16)
    image[away < 5] = 0  # a spot inside, with a stronger edge than the outline
    image[(away >= 5) & (away < 16)] = 90
    logits = (16 - away).astype(np.float32)
    assert best_level([image], [logits], [away < 14]) <= 4


def test_without_an_outline_nothing_changes() -> None:
    image, away = disc(16)
    assert best_level([image], [np.full((64, 64), -3, np.float32)], [away < 14]) == 0
    assert best_level([], [], []) == 0
    assert LEVELS[0] == 0


def test_the_border_of_the_image_is_no_outline() -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[:, :4] = 1
    assert rim_of(mask).sum() == 8
