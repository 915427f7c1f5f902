"""Augmentation: from the sampler's bytes to the inputs of the losses."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("decord")

from train.drawing.puppet_clips import render_clip  # noqa: E402
from train.frames.transforms import Draws, jitter_hue, random_similarity, to_images, warp_images  # noqa: E402
from train.inputs.augment import Pair, prepare_pair, silhouette, turned  # noqa: E402
from train.inputs.pairs import PairBatch, wholly  # noqa: E402

CPU = torch.device("cpu")


def batch_of(
    source: np.ndarray, target: np.ndarray, background: np.ndarray, known: np.ndarray | None = None
) -> PairBatch:
    everywhere = np.ones(source.shape[:3], np.bool_)
    known = everywhere if known is None else known
    return PairBatch(source, target, background, background, known, everywhere, wholly(known))


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (3, 16, 16, 3), np.uint8)


def prepared(batch: PairBatch, degrees: float = 10.0, colour: float = 0.3) -> Pair:
    return prepare_pair(batch, CPU, Draws(1, 0, len(batch.source)), degrees, colour)


def test_both_frames_and_backgrounds_of_a_pair_are_turned_and_coloured_alike() -> None:
    same = noise(0)
    pair = prepared(batch_of(same, same, same))
    for other in (pair.target, pair.source_background, pair.target_background):
        assert torch.equal(pair.source, other)
    assert not torch.allclose(pair.source, to_images(torch.from_numpy(same)), atol=0.02)


def test_pairs_of_a_batch_are_turned_and_coloured_differently() -> None:
    same = noise(0)[:1].repeat(3, 0)
    pair = prepared(batch_of(same, same, same))
    assert not torch.allclose(pair.source[0], pair.source[1], atol=0.02)


def test_opencv_turns_pictures_as_torch_does() -> None:
    smooth = render_clip("human", seed=0, num_frames=3, size_hw=(64, 64)).frames
    moves = random_similarity(Draws(0, 0, 3), 180, (0.8, 1.1), 0.1)
    expected = warp_images(to_images(torch.from_numpy(smooth)), moves)
    difference = (turned([smooth], moves, CPU)[:, 0] - expected).abs()
    assert difference.mean() < 0.003 and difference.quantile(0.999) < 0.03
    still = torch.eye(2, 3).repeat(3, 1, 1)
    assert torch.equal(turned([smooth], still, CPU)[:, 0], to_images(torch.from_numpy(smooth)))


def test_each_frames_silhouette_is_against_its_own_background() -> None:
    source, target = noise(0), noise(1)
    batch = PairBatch(source, target, source, target, *[np.ones((3, 16, 16), np.bool_)] * 2, True)
    pair = prepared(batch, degrees=0, colour=0)
    nothing = silhouette(pair.source, pair.source)
    torch.testing.assert_close(pair.source_silhouette, nothing, atol=1e-3, rtol=0)
    torch.testing.assert_close(pair.target_silhouette, nothing, atol=1e-3, rtol=0)


def test_what_is_not_known_turns_with_the_picture_and_known_stays_exactly_one() -> None:
    same = noise(0)
    known = np.ones((3, 16, 16), np.bool_)
    known[:, :8] = False
    pair = prepared(batch_of(same, same, same, known))
    assert pair.target_known.eq(1).all()
    assert set(pair.source_known.unique().tolist()) == {0.0, 1.0}
    assert 0.35 < pair.source_known.mean() <= 0.5


def test_a_pair_most_of_which_differs_from_its_background_is_not_known() -> None:
    dark, bright = np.zeros((3, 16, 16, 3), np.uint8), np.full((3, 16, 16, 3), 200, np.uint8)
    pair = prepared(batch_of(bright, bright, dark))
    assert not pair.source_known.any() and not pair.target_known.any()


def test_hue_jitter_turns_colours_alike_in_all_frames_and_leaves_grey_and_brightness_alone() -> None:
    grey = torch.full((2, 1, 3, 4, 4), 0.4)
    assert torch.allclose(jitter_hue(grey, Draws(0, 0, 2), 0.3), grey, atol=1e-3)
    colour = torch.tensor([0.6, 0.4, 0.4])[:, None, None].expand(2, 2, 3, 4, 4)
    turned = jitter_hue(colour, Draws(0, 0, 2), 0.1)
    assert torch.equal(turned[:, 0], turned[:, 1])
    assert not torch.allclose(turned[0], turned[1], atol=0.01)
    assert not torch.allclose(turned, colour, atol=0.01)
    brightness = torch.tensor([0.299, 0.587, 0.114])
    before, after = (torch.einsum("c,bfchw->bfhw", brightness, x) for x in (colour, turned))
    assert torch.allclose(before, after, atol=1e-3)
    assert torch.allclose(jitter_hue(colour, Draws(0, 0, 2), 0.0), colour, atol=1e-3)
