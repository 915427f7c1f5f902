"""streamparts/models/layers.py: short cuts that must give what the long way gives."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from streamparts.models.layers import Affine, enlarge, image_grid, squared_norms, transform_points  # noqa: E402


def test_squared_norms_are_those_of_the_transformed_points() -> None:
    torch.manual_seed(0)
    matrix, points = torch.randn(2, 3, 2, 3, dtype=torch.float64), image_grid(6, 5).double()
    expected = transform_points(matrix, points).square().sum(-1)
    assert torch.allclose(squared_norms(matrix, points), expected)


def test_squared_norms_of_a_thin_ellipse_are_exact_enough_in_float32() -> None:
    """A part of a thirtieth of the picture, at its rim: terms of thousands cancel to about one."""
    matrix = Affine(
        torch.tensor([[[0.6, 0.8]]]), torch.tensor([[[0.03, 0.03]]]), torch.tensor([[[0.9, -0.9]]])
    ).inverse_matrix()
    points = torch.tensor([[0.9, -0.9]]) + 0.05 * torch.randn(100, 2)
    exact = transform_points(matrix.double(), points.double()).square().sum(-1)
    assert (squared_norms(matrix, points) - exact).abs().max() < 2e-3


def test_enlarging_is_bilinear_interpolation_and_so_is_its_gradient() -> None:
    torch.manual_seed(0)
    maps, upstream = torch.randn(2, 3, 4, 5, requires_grad=True), torch.randn(2, 3, 16, 20)
    ours = enlarge(maps, 4)
    theirs = torch.nn.functional.interpolate(maps, scale_factor=4.0, mode="bilinear", align_corners=False)
    assert torch.allclose(ours, theirs, atol=1e-6)
    gradients = [torch.autograd.grad(x, maps, upstream)[0] for x in (ours, theirs)]
    assert torch.allclose(*gradients, atol=1e-5)


def test_enlarging_can_be_trained_through_after_it_was_used_for_inference() -> None:
    with torch.inference_mode():
        enlarge(torch.ones(1, 1, 7, 7), 3)
    maps = torch.ones(1, 1, 7, 7, requires_grad=True)
    enlarge(maps, 3).sum().backward()
    assert maps.grad is not None and torch.allclose(maps.grad, torch.full_like(maps, 9.0))
