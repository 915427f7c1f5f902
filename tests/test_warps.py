"""The perturbations of Eq. 3: images and points must be warped alike."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("decord")

from streamparts.models.layers import image_grid, invert  # noqa: E402
from train.frames.transforms import Draws, random_similarity, warp_images  # noqa: E402
from train.inputs.warps import (  # noqa: E402
    MAX_JITTER,
    Warp,
    control_points,
    fit_spline,
    perturb_colours,
    random_warp,
    spline_basis,
)
from train.terms.losses import mask_moments  # noqa: E402


def dots(centres: torch.Tensor, side: int, radius: float = 0.03) -> torch.Tensor:
    """(B, 1, side, side) a round spot at each of (B, 2)."""
    squared = (image_grid(side, side) - centres.unsqueeze(1)).square().sum(-1)
    return torch.exp(-squared / (2 * radius**2)).reshape(-1, 1, side, side)


def test_a_similarity_moves_pictures_as_warp_images_does() -> None:
    images = torch.rand(4, 3, 24, 24)
    sampling = random_similarity(Draws(1, 0, 4), 60, (0.5, 1.4), 0.1)
    expected = warp_images(images, invert(sampling))
    torch.testing.assert_close(Warp(sampling).apply(images, padding="border"), expected, atol=1e-5, rtol=0)


def test_a_spline_of_unmoved_control_points_is_the_identity() -> None:
    images = torch.rand(2, 3, 16, 16)
    still = Warp(torch.eye(2, 3).repeat(2, 1, 1), fit_spline(torch.zeros(2, 25, 2)))
    torch.testing.assert_close(still.apply(images), images, atol=1e-5, rtol=0)
    assert torch.equal(still.points(torch.full((2, 1, 2), 0.3)), torch.full((2, 1, 2), 0.3))
    assert still.valid(16, 16).eq(1).all()


def test_the_spline_passes_through_its_values_and_is_affine_where_they_are() -> None:
    values = torch.rand(3, 25, 2)
    torch.testing.assert_close(spline_basis(control_points()) @ fit_spline(values), values, atol=1e-5, rtol=0)
    affine = control_points() @ torch.tensor([[0.2, 0.1], [-0.3, 0.4]]) + 0.7
    coefficients = fit_spline(affine.unsqueeze(0))[0]
    assert coefficients[:25].abs().max() < 1e-5
    torch.testing.assert_close(coefficients[25:], torch.tensor([[0.2, 0.1], [-0.3, 0.4], [0.7, 0.7]]))


def test_the_kernel_is_r_squared_log_r() -> None:
    values = spline_basis(torch.tensor([[-1.0, 1.0]]))[0]  # two units from the first control point, none from the 21st
    assert values[0].item() == pytest.approx(4 * 0.693147, rel=1e-5)
    assert values[20].item() == pytest.approx(0, abs=1e-9)
    assert values[25:].tolist() == [-1, 1, 1]


@pytest.mark.parametrize("jitter", [0.0, 0.01, MAX_JITTER])
def test_points_land_where_the_pictures_dots_land(jitter: float) -> None:
    warp = random_warp(Draws(5, 0, 64), jitter=jitter)
    centres = 0.8 * Draws(6, 0, 64).uniform(2) - 0.4
    landed = warp.points(centres.unsqueeze(1))[:, 0]
    found = mask_moments(warp.apply(dots(centres, 128)), threshold=1e-3)[0][:, 0]
    shown = (landed.abs() < 0.75).all(-1)
    assert shown.sum() > 40
    assert (found - landed)[shown].abs().max() * 64 < 0.5, "pixels"


@pytest.mark.parametrize(("jitter", "tolerance"), [(0.0, 1e-6), (0.01, 2e-6), (MAX_JITTER, 1e-5)])
def test_points_go_back_to_where_they_came_from(jitter: float, tolerance: float) -> None:
    warp = random_warp(Draws(2, 0, 100), jitter=jitter)
    points = 2 * torch.rand(100, 6, 2, generator=torch.Generator().manual_seed(0)) - 1
    moved = warp.points(points)
    for i in range(100):
        one = Warp(warp.sampling[i : i + 1], None if warp.spline is None else warp.spline[i : i + 1])
        torch.testing.assert_close(one.sources(moved[i])[0], points[i], atol=tolerance, rtol=0)


def test_centres_get_gradients_through_a_spline() -> None:
    points = torch.tensor([[[0.1, -0.2]]], dtype=torch.float64, requires_grad=True)
    drawn = random_warp(Draws(0, 0, 1), jitter=MAX_JITTER)
    assert drawn.spline is not None
    warp = Warp(drawn.sampling.double(), drawn.spline.double())
    assert torch.autograd.gradcheck(warp.points, points)


def test_only_pixels_interpolated_from_four_of_the_image_are_valid() -> None:
    half = Warp(torch.tensor([[[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]]))  # shows the image half as large
    expected = torch.zeros(8, 8)
    expected[2:6, 2:6] = 1
    assert torch.equal(half.valid(8, 8)[0, 0], expected)
    shifted = Warp(torch.tensor([[[1.0, 0.0, 0.25], [0.0, 1.0, 0.0]]]))  # by one pixel of 8
    assert shifted.valid(8, 8)[0, 0].sum(0).tolist() == [8] * 7 + [0]


def test_padding_takes_no_part_where_pixels_are_valid() -> None:
    warp = random_warp(Draws(3, 0, 16))
    ones = warp.apply(torch.ones(16, 1, 32, 32))
    valid = warp.valid(32, 32)
    assert 0.3 < valid.mean() < 0.95
    torch.testing.assert_close(ones[valid > 0], torch.ones(int(valid.sum())), atol=1e-4, rtol=0)


def test_a_step_draws_the_same_whatever_the_number_of_processes() -> None:
    whole = random_warp(Draws(1, 7, 4))
    shares = [random_warp(Draws(1, 7, 2, rank, 2)) for rank in range(2)]
    assert torch.equal(whole.grid(8, 8), torch.cat([share.grid(8, 8) for share in shares]))
    assert not torch.equal(whole.sampling, random_warp(Draws(1, 8, 4)).sampling)


@pytest.mark.parametrize("jitter", [-0.01, 0.2])
def test_a_jitter_that_could_fold_the_picture_is_refused(jitter: float) -> None:
    with pytest.raises(ValueError, match="jitter"):
        random_warp(Draws(0, 0, 1), jitter=jitter)


def test_colours_change_for_each_image_by_itself_and_grey_stays_grey() -> None:
    images = torch.full((3, 3, 4, 4), 0.5)
    images[2] = torch.tensor([0.7, 0.4, 0.3])[:, None, None]
    before = images.clone()
    jittered = perturb_colours(images, Draws(0, 0, 3))
    assert torch.equal(images, before)
    assert (jittered[:2].amax(1) - jittered[:2].amin(1)).max() < 2e-3
    assert not torch.allclose(jittered[0], jittered[1], atol=0.01)
    assert (jittered[:2] - 0.5).abs().max() <= 0.15 + 2e-3
    turned = jittered[2, :, 0, 0].diff()
    assert not torch.allclose(turned, before[2, :, 0, 0].diff(), atol=0.02)
