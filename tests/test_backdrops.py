"""Hard backgrounds of rendered bodies."""

from __future__ import annotations

import numpy as np
import pytest

from streamparts.arrays import ByteArray
from train.inputs import backdrops
from train.inputs.backdrops import clutter, hard_background, recoloured_like
from train.inputs.negatives import Negatives

SIDE = 48
BODY = (slice(10, 30), slice(12, 32))
INSIDE = (slice(13, 27), slice(15, 29))
SKIN, WALL = (200, 120, 90), (40, 90, 160)


@pytest.fixture
def image() -> ByteArray:
    out = np.full((SIDE, SIDE, 3), WALL, np.uint8)
    out[BODY] = SKIN
    return out


@pytest.fixture
def labels() -> ByteArray:
    out = np.zeros((SIDE, SIDE), np.uint8)
    out[BODY] = 3
    return out


@pytest.fixture
def negatives() -> Negatives:
    grey = tuple(np.full((60, 80, 3), level, np.uint8) for level in (10, 250))
    return Negatives(photos=(grey,))


def drawn(seed: int, image: ByteArray, labels: ByteArray, negatives: Negatives) -> ByteArray:
    return hard_background(np.random.default_rng(seed), image, labels, negatives)


def test_the_body_stays_and_equal_seeds_are_equal(image: ByteArray, labels: ByteArray, negatives: Negatives) -> None:
    changed = [drawn(seed, image, labels, negatives) for seed in range(40)]
    assert all(np.abs(each[INSIDE].astype(int) - SKIN).max() <= 1 for each in changed)
    kinds = {tuple(each[0, 0]) for each in changed}
    assert WALL in kinds and len(kinds) > 3
    assert np.array_equal(changed[7], drawn(7, image, labels, negatives))


def test_clutter_is_of_the_colours_of_other_images(negatives: Negatives) -> None:
    out = [clutter(np.random.default_rng(seed), SIDE, negatives) for seed in range(30)]
    assert all(each.shape == (SIDE, SIDE, 3) and each.dtype == np.uint8 for each in out)
    # a dark image has bright things on it, and most images have many edges
    edges = [float((np.abs(np.diff(each[..., 0].astype(int), axis=1)) > 40).mean()) for each in out]
    assert max(edges) > 0.1 and np.median(edges) > 0.01
    assert all(np.ptp(each, axis=-1).max() <= 1 for each in out)


def test_the_background_takes_the_colour_of_a_part(
    image: ByteArray, labels: ByteArray, negatives: Negatives, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backdrops, "ALIKE", 1.0)
    monkeypatch.setattr(backdrops, "CLUTTERED", 0.0)
    before = np.linalg.norm(np.subtract(SKIN, WALL))
    apart = [np.linalg.norm(drawn(seed, image, labels, negatives)[0, 0].astype(float) - SKIN) for seed in range(20)]
    assert max(apart) <= 0.72 * before and min(apart) < 0.2 * before


def test_of_several_parts_one_is_chosen(image: ByteArray, labels: ByteArray) -> None:
    image[20:30, 12:32], labels[20:30, 12:32] = (0, 255, 0), 5
    means = [
        recoloured_like(np.random.default_rng(seed), image.astype(np.float32), image, labels)[0, 0]
        for seed in range(30)
    ]
    greener = [float(mean[1] - mean[0]) for mean in means]
    assert max(greener) > 60 and min(greener) < 0


def test_without_a_body_or_negatives_nothing_is_replaced(
    image: ByteArray, labels: ByteArray, negatives: Negatives, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backdrops, "ALIKE", 0.0)
    monkeypatch.setattr(backdrops, "CLUTTERED", 1.0)
    assert drawn(1, image, np.zeros_like(labels), negatives) is image
    assert drawn(1, image, labels, Negatives()) is image
    assert np.ptp(drawn(1, image, labels, negatives)[labels == 0], axis=-1).max() < 60
