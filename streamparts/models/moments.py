"""Mean and covariance of masks, and poses from them, in operations that every backend supports."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from streamparts.geometry import CANONICAL_SIGMAS
from streamparts.models.layers import Affine, centres

ROUNDNESS = 1e-5
"""Share of a covariance's trace below which a difference of its axes is rounding error."""


class Moments(NamedTuple):
    """Moments of (B, K, h, w) masks, in normalised coordinates: Eq. 10 and 11 of Gao et al. 2021."""

    mass: Tensor
    """(B, K) sum of the mask."""
    mean: Tensor
    """(B, K, 2) x, y; the image's middle for an empty mask."""
    variance: Tensor
    """(B, K, 2) of x and of y; zero for an empty mask."""
    covariance_xy: Tensor
    """(B, K) between x and y."""


def mask_moments(masks: Tensor) -> Moments:
    """Moments of non-negative (B, K, h, w) masks.

    Rows and columns are summed first, and distances are taken from the mean: accurate for small parts, too, where E[xx]
    - E[x]E[x] would cancel.
    """
    height, width = masks.shape[-2:]
    # (B, K, w) and (B, K, h): the sums along the other axis
    columns, rows = masks.sum(2), masks.sum(3)
    mass = rows.sum(2)
    safe = mass.clamp(min=1e-12).unsqueeze(-1)
    columns, rows = columns / safe, rows / safe
    x, y = centres(width, masks.device), centres(height, masks.device)
    mean_x, mean_y = (columns * x).sum(-1, keepdim=True), (rows * y).sum(-1, keepdim=True)
    dx, dy = x - mean_x, y - mean_y
    variance = torch.stack([(columns * dx.square()).sum(-1), (rows * dy.square()).sum(-1)], dim=-1)
    # (B, K, h) sum over x of M dx; then sum over y of that times dy
    along_rows = (masks @ dx.unsqueeze(-1)).squeeze(-1) / safe
    return Moments(mass, torch.cat([mean_x, mean_y], dim=-1), variance, (along_rows * dy).sum(-1))


def pose_from_moments(moments: Moments, min_variance: float, sigmas: float = CANONICAL_SIGMAS) -> Affine:
    """Poses with A A^T = sigmas^2 Sigma, the first axis the longest: geometry.affine_from_moments, in closed form.

    Variances are at least `min_variance`: a mask of one pixel, or an empty one, gets a finite, invertible pose. An axis
    has no direction: the first one points to the right, and that of a round mask along x.
    """
    xx, yy = moments.variance.unbind(-1)
    trace, off = xx + yy, 2 * moments.covariance_xy
    difference = xx - yy + ROUNDNESS * trace
    # Not "+ 1e-20": the exporter takes it for zero and drops it.
    spread = (difference.square() + off.square()).clamp(min=1e-20).sqrt()
    # Half of the double angle, in the form without cancellation: (1 + cos, sin) near the x axis, (sin, 1 - cos) near y.
    lying = difference >= 0
    downwards = torch.where(off >= 0, 1.0, -1.0)
    axis = torch.stack(
        [
            torch.where(lying, spread + difference, off.abs()),
            torch.where(lying, off, downwards * (spread - difference)),
        ],
        dim=-1,
    )
    rotation = axis / axis.square().sum(-1, keepdim=True).sqrt()
    variances = torch.stack([trace + spread, trace - spread], dim=-1) / 2
    return Affine(rotation, sigmas * variances.clamp(min=min_variance).sqrt(), moments.mean)


def pixel_variance(height: int, width: int) -> float:
    """Variance of a pixel's area about its centre, in normalised coordinates: the geometric mean of both axes'."""
    return (2 / height) * (2 / width) / 12
