"""benchmarks/covered.py: the area it covers, and the area it reports."""

from __future__ import annotations

import numpy as np

from benchmarks.covered import SETTLED, covered


def test_half_of_a_part_or_more_takes_the_colours_of_the_background() -> None:
    labels = np.zeros((80, 40, 40), np.uint8)
    for frame in range(80):
        labels[frame, 4:14, frame % 30 : frame % 30 + 10] = 1
    images = [np.where(label[..., None] == 1, 200, 50).astype(np.uint8).repeat(3, -1) for label in labels]
    out, cover = covered(images, labels, np.random.default_rng(0), 2)
    painted = np.array([(one != other).any(-1).sum() for one, other in zip(images, out, strict=True)])
    assert cover[:, 0].any() and not cover[:, 1].any(), "there is no second part to cover"
    assert not cover[:SETTLED].any()
    assert np.array_equal(painted > 0, cover[:, 0])
    assert painted[cover[:, 0]].min() >= 50 and painted.max() <= 100
    assert all((each[label == 0] == 50).all() for each, label in zip(out, labels, strict=True))
