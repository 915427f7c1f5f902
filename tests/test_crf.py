"""The dense CRF compared with its definition, computed for every pair of pixels, and on images with an obvious
result."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from tests.media import GREY, RED
from train.judging.crf import (
    CONFIDENCE,
    RELEASED,
    CrfConfig,
    appearance_mean,
    refine,
    refine_found,
    smoothness_mean,
    unary_of_labels,
)
from train.judging.found import FoundParts


def square(side: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """A red square on grey, and its (side, side) mask."""
    image, mask = np.full((side, side, 3), GREY, np.uint8), np.zeros((side, side), np.bool_)
    mask[side // 4 : -side // 4, side // 4 : -side // 4] = True
    image[mask] = RED
    return image, mask


def soft(mask: np.ndarray, probability: float = 0.7) -> np.ndarray:
    """(2, H, W) background and one part."""
    part = np.where(mask, probability, 1 - probability).astype(np.float32)
    return np.stack([1 - part, part])


def exact_mean(image: np.ndarray, values: np.ndarray, sigma_px: float, sigma_rgb: float) -> np.ndarray:
    """The Gaussian mean over all pairs of pixels."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] / sigma_px
    points = np.concatenate([x.reshape(-1, 1), y.reshape(-1, 1), image.reshape(-1, 3) / sigma_rgb], axis=1)
    kernel = np.exp(-np.square(points[:, None] - points[None]).sum(-1) / 2)
    flat = kernel @ values.reshape(-1, values.shape[-1]) / kernel.sum(1)[:, None]
    return flat.reshape(values.shape)


def test_both_means_are_the_gaussians_they_stand_for() -> None:
    rng = np.random.default_rng(0)
    image = np.kron(rng.integers(0, 255, (6, 6, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    image += rng.integers(0, 12, image.shape, np.uint8)
    values = np.stack([image[..., 0] > 128, image[..., 1] > 128], axis=-1).astype(np.float32)
    appearance = appearance_mean(image, 8, 20)(values) - exact_mean(image, values, 8, 20)
    assert np.abs(appearance).mean() < 0.01
    smoothness = smoothness_mean((24, 24), 3)(values) - exact_mean(image, values, 3, 1e9)
    assert np.abs(smoothness).max() < 0.01


def test_a_constant_stays_what_it_is_in_both_means() -> None:
    image, _ = square()
    ones = np.full((32, 32, 3), 0.4, np.float32)
    for mean in (smoothness_mean((32, 32), 3), appearance_mean(image, 40, 13)):
        np.testing.assert_allclose(mean(ones), 0.4, rtol=1e-4)


def test_a_soft_mask_moves_to_the_border_in_the_picture() -> None:
    image, mask = square()
    shifted = np.roll(mask, (3, 3), (0, 1))
    assert (shifted != mask).sum() > 80
    found = refine(soft(shifted), image).argmax(0) == 1
    assert (found == mask).all()


def test_the_release_smooths_and_does_not_see_the_picture() -> None:
    image, mask = square()
    speck = mask.copy()
    speck[2, 2] = True
    found = refine(soft(speck), image, RELEASED)
    assert found[1, 2, 2] < 0.1
    np.testing.assert_array_equal(found, refine(soft(speck), np.zeros_like(image), RELEASED))


def test_without_terms_or_iterations_nothing_changes() -> None:
    image, mask = square()
    for config in (CrfConfig(smoothness_weight=0, appearance_weight=0), CrfConfig(num_iterations=0)):
        np.testing.assert_allclose(refine(soft(mask), image, config), soft(mask), rtol=1e-5)


@pytest.mark.parametrize("hw", [(1, 1), (1, 7), (3, 2), (24, 40)])
@pytest.mark.parametrize("labels", [1, 2, 6])
def test_any_size_and_number_of_labels_gives_probabilities(hw: tuple[int, int], labels: int) -> None:
    rng = np.random.default_rng(0)
    masks = rng.dirichlet(np.ones(labels), hw).astype(np.float32).transpose(2, 0, 1)
    found = refine(masks, rng.integers(0, 255, (*hw, 3), np.uint8))
    assert (found.shape, found.dtype) == (masks.shape, np.float32)
    np.testing.assert_allclose(found.sum(0), 1, rtol=1e-5)


def test_what_does_not_fit_is_refused() -> None:
    image, mask = square()
    with pytest.raises(ValueError, match="probabilities"):
        refine(soft(mask)[:, :-1], image)
    with pytest.raises(ValueError, match="sigmas"):
        CrfConfig(appearance_sigma_rgb=0)


def test_hard_labels_are_taken_as_certain_to_nine_tenths() -> None:
    unary = unary_of_labels(np.array([[0, 2]], np.uint8), 2)
    np.testing.assert_allclose(unary[:, 0, 0], [CONFIDENCE, 0.05, 0.05], rtol=1e-5)
    np.testing.assert_allclose(unary.sum(0), 1, rtol=1e-5)


def test_found_parts_are_refined_at_the_size_of_the_picture_and_keep_their_poses() -> None:
    image, mask = square(64)
    affines = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    coarse = FoundParts((64, 64), np.roll(mask[::4, ::4], 1, 0).astype(np.uint8), affines)
    refined = refine_found(coarse, image)
    assert refined.masks is not None
    assert refined.masks.shape == (2, 64, 64)
    assert (refined.affines == affines).all()
    assert (refined.labels_at_frame() == mask).mean() > 0.99 > (coarse.labels_at_frame() == mask).mean()
