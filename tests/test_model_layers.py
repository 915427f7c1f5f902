"""streamparts/models/layers.py: fast forms that must equal the direct ones."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from streamparts.models.layers import (  # noqa: E402
    Affine,
    DoublingConv,
    carry,
    enlarge,
    image_grid,
    some_channels,
    squared_norms,
    transform_points,
    warp,
)


def test_squared_norms_are_those_of_the_transformed_points() -> None:
    torch.manual_seed(0)
    matrix, points = torch.randn(2, 3, 2, 3, dtype=torch.float64), image_grid(6, 5).double()
    expected = transform_points(matrix, points).square().sum(-1)
    assert torch.allclose(squared_norms(matrix, points), expected)


def test_squared_norms_of_a_thin_ellipse_are_exact_enough_in_float32() -> None:
    """A part with a thirtieth of the image, at its border: terms of thousands cancel to about one."""
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


def test_a_doubling_convolution_is_the_pixels_doubled_then_convolved_and_so_are_its_gradients() -> None:
    torch.manual_seed(0)
    layer, maps, upstream = DoublingConv(3, 5), torch.randn(2, 3, 4, 6, requires_grad=True), torch.randn(2, 5, 8, 12)
    doubled = torch.nn.functional.interpolate(maps, scale_factor=2.0, mode="nearest")
    ours, theirs = layer(maps), torch.nn.functional.conv2d(doubled, layer.weight, layer.bias, padding=1)
    assert torch.allclose(ours, theirs, atol=1e-6)
    wanted = (maps, *layer.parameters())
    gradients = [torch.autograd.grad(x, wanted, upstream) for x in (ours, theirs)]
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(*gradients, strict=True))


def test_some_channels_of_a_convolution_are_those_of_the_whole_one() -> None:
    torch.manual_seed(0)
    layer, maps = torch.nn.Conv2d(3, 5, 3, padding=1), torch.randn(2, 3, 6, 6)
    assert torch.allclose(some_channels(layer, maps, slice(-2, None)), layer(maps)[:, -2:], atol=1e-6)


def test_a_picture_is_carried_by_each_motion_as_a_copy_of_it_would_be_warped() -> None:
    torch.manual_seed(0)
    picture = torch.zeros(2, 3, 8, 8)
    picture[:, :, 2:6, 2:6] = torch.rand(2, 3, 4, 4)  # black at the border, where the two differ
    shift = torch.eye(2, 3).repeat(2, 4, 1, 1)
    shift[..., 2] = torch.rand(2, 4, 2) - 0.5
    copies = picture.unsqueeze(1).expand(-1, 4, -1, -1, -1)
    assert torch.allclose(carry(picture, shift), warp(copies, shift), atol=1e-6)


def test_enlarging_can_be_trained_through_after_it_was_used_for_inference() -> None:
    with torch.inference_mode():
        enlarge(torch.ones(1, 1, 7, 7), 3)
    maps = torch.ones(1, 1, 7, 7, requires_grad=True)
    enlarge(maps, 3).sum().backward()
    assert maps.grad is not None and torch.allclose(maps.grad, torch.full_like(maps, 9.0))
