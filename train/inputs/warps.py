"""The perturbations T_s and T_a of Hung et al., CVPR 2019, Eq. 3: a similarity with a thin-plate spline, and colours.

The paper refers to its supplement for the ranges; the defaults are the release's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from streamparts.models.layers import image_grid, invert, transform_points

from ..frames.transforms import Draws, jitter_colour, jitter_hue, random_similarity

CONTROL_SIDE = 5
"""Control points along x and along y, evenly spaced from -1 to 1."""
MAX_JITTER = 0.05
NUM_STEPS = 10
"""Iterations of `Warp.points`. Each leaves at most 0.34 of the error over 500 splines of the largest jitter, 0.07 at
0.01."""


@dataclass(frozen=True)
class Warp:
    """T_s, image -> warped image, one for each image of a batch.

    It is stored as the map T_s^-1(q) = A (q + d(q)) + t that sampling needs: A and t of a similarity, d a thin-plate
    spline. `grid` is therefore exact. A point p maps to the q with q + d(q) = A^-1 (p - t), which has no closed form;
    it is found by iterating q <- A^-1 (p - t) - d(q). The iteration converges because d is small and smooth, so
    `points` is also exact to float32 rounding, and so are its gradients. Without a spline, both are affine maps.
    """

    sampling: Tensor
    """(B, 2, 3) [A | t], normalised coordinates of the warped image -> those of the image."""
    spline: Tensor | None = None
    """(B, 5 * 5 + 3, 2) coefficients of d, those of the affine part last."""

    def sources(self, points: Tensor) -> Tensor:
        """Source positions (B, N, 2) of points (N, 2) of the warped image."""
        if self.spline is None:
            return transform_points(self.sampling, points)
        # A (q + d(q)) + t
        return transform_points(self.sampling, points + spline_basis(points) @ self.spline)

    def grid(self, height: int, width: int) -> Tensor:
        """(B, height, width, 2) for grid_sample with align_corners=False."""
        return self.sources(image_grid(height, width, self.sampling.device)).reshape(-1, height, width, 2)

    def apply(self, maps: Tensor, padding: str = "zeros") -> Tensor:
        """T_s of (B, C, H, W), bilinear. The release pads with zeros, after it has subtracted the images' mean."""
        return F.grid_sample(maps, self.grid(*maps.shape[-2:]), padding_mode=padding, align_corners=False)

    def points(self, points: Tensor) -> Tensor:
        """T_s of points (B, K, 2) in the image, such as the centres of parts."""
        affine = transform_points(invert(self.sampling), points)
        if self.spline is None:
            return affine
        # q <- A^-1 (p - t) - d(q), which converges because d is small and smooth
        moved = affine
        for _ in range(NUM_STEPS):
            moved = affine - spline_basis(moved) @ self.spline
        return moved

    def valid(self, height: int, width: int) -> Tensor:
        """(B, 1, height, width) 1 where a pixel of the warped image is interpolated from four pixels of the image, 0
        where it uses padding."""
        # the centres of the outermost pixels lie half a pixel inside [-1, 1]
        rim = 1 - torch.tensor([1 / width, 1 / height], device=self.sampling.device) + 1e-6
        return (self.grid(height, width).abs() <= rim).all(dim=-1).unsqueeze(1).to(self.sampling.dtype)


def random_warp(
    draws: Draws,
    degrees: float = 60.0,
    scale: tuple[float, float] = (0.5, 1 / 0.7),
    shift: float = 0.1,
    jitter: float = 0.01,
    device: torch.device | None = None,
) -> Warp:
    """A similarity of angle +-`degrees`, of `scale` (of the sampling: 0.5 shows the image twice as large) and of
    +-`shift` normalised units along x and y; with control points moved by +-`jitter` units if it is not 0."""
    if not 0 <= jitter <= MAX_JITTER:
        raise ValueError(f"jitter must be between 0 and {MAX_JITTER}, or the spline may fold, got {jitter}")
    sampling = random_similarity(draws, degrees, scale, shift).to(device)
    if jitter == 0:
        return Warp(sampling)
    # (B, 25, 2) displacements of the control points, in normalised units
    offsets = (draws.uniform(CONTROL_SIDE**2, 2) * 2 - 1) * jitter
    return Warp(sampling, fit_spline(offsets).to(device))


def control_points() -> Tensor:
    """(5 * 5, 2) of the spline, in the warped image."""
    axis = torch.linspace(-1, 1, CONTROL_SIDE)
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).reshape(-1, 2)


def spline_basis(points: Tensor) -> Tensor:
    """(..., N, 2) -> (..., N, 5 * 5 + 3): r^2 log r of the distances r to the control points, then x, y and 1."""
    squared = (points.unsqueeze(-2) - control_points().to(points)).square().sum(-1)
    # r^2 log r = 0.5 r^2 log r^2; the clamp keeps the gradient finite at a control point
    kernel = 0.5 * squared * squared.clamp(min=1e-12).log()
    return torch.cat([kernel, points, torch.ones_like(points[..., :1])], dim=-1)


@cache
def _solution() -> Tensor:
    """(28, 25) float64: maps values at the control points to coefficients, by inversion of the usual system [[K, P],
    [P^T, 0]] with the kernel K between the control points and P their (x, y, 1)."""
    # (25, 28): [K, P] of the control points themselves; in float64, because K is badly conditioned
    rows = spline_basis(control_points().double())
    side = rows[:, -3:]
    system = torch.cat([rows, torch.cat([side.T, rows.new_zeros(3, 3)], dim=1)])
    inverse: Tensor = torch.linalg.inv(system)
    return inverse[:, : len(rows)]


def fit_spline(values: Tensor) -> Tensor:
    """Values (B, 5 * 5, 2) at the control points -> coefficients (B, 5 * 5 + 3, 2) of the spline through them."""
    coefficients: Tensor = _solution() @ values.double()
    return coefficients.to(values.dtype)


def perturb_colours(images: Tensor, draws: Draws) -> Tensor:
    """T_a of (B, 3, S, S) in [0, 1]: brightness and contrast by 0.3, saturation by 0.2, hue by 0.2 of a turn, for each
    image separately. Brightness is additive: by as much as the release's multiplication changes a grey of 0.5. Hue and
    saturation are those of transforms.jitter_hue."""
    return jitter_hue(jitter_colour(images.unsqueeze(1).clone(), draws, 0.3, gains=0.0), draws, 0.2).squeeze(1)
