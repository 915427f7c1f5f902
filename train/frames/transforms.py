"""Images as tensors: conversion from bytes, similarities and warps, random draws, and jitter of colour."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from streamparts.models.layers import in_float32, invert


def to_images(frames: Tensor) -> Tensor:
    """(B, S, S, 3) uint8 -> (B, 3, S, S) in [0, 1]."""
    return frames.permute(0, 3, 1, 2).contiguous().float().div_(255)


def similarity(angle: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """(B, 2, 3) from angles in radians (B,), scales (B,) and shifts (B, 2)."""
    cos, sin = scale * angle.cos(), scale * angle.sin()
    # s R(angle) and the shift: [s cos, -s sin, tx; s sin, s cos, ty]
    rows = [torch.stack([cos, -sin, shift[:, 0]], dim=-1), torch.stack([sin, cos, shift[:, 1]], dim=-1)]
    return torch.stack(rows, dim=-2)


@in_float32
def warp_images(images: Tensor, transform: Tensor) -> Tensor:
    """Warp (B, C, S, S) by the (B, 2, 3) affine `transform`, image -> warped image; the border is replicated."""
    # grid_sample needs the map from warped to original coordinates
    grid = F.affine_grid(invert(transform), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


class Draws:
    """Random numbers of one step: the same after a resume, and the same for a pair whether one process draws the whole
    batch or several share it."""

    def __init__(self, seed: int, step: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        """`batch_size` rows, from rank * batch_size, belong to this process."""
        self._generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        self._total = batch_size * world_size
        self._rows = slice(rank * batch_size, (rank + 1) * batch_size)

    def uniform(self, *shape: int) -> Tensor:
        """(B, *shape) in [0, 1)."""
        return torch.rand(self._total, *shape, generator=self._generator)[self._rows]

    def normal(self, *shape: int) -> Tensor:
        """(B, *shape) of the standard normal distribution."""
        # sqrt(2) erfinv(2 u - 1) of uniform numbers u
        return torch.erfinv(self.uniform(*shape).clamp(1e-6, 1 - 1e-6) * 2 - 1) * math.sqrt(2)

    def offset(self) -> float:
        """One number in [0, 1) for the whole step."""
        return float(torch.rand((), generator=self._generator))


def random_similarity(draws: Draws, degrees: float, scale: tuple[float, float], shift: float) -> Tensor:
    """(B, 2, 3): angle in +-degrees, scale in the given range, shift in +-`shift` normalised units."""
    uniform = draws.uniform(4)
    angle = (uniform[:, 0] * 2 - 1) * math.radians(degrees)
    size = scale[0] + (scale[1] - scale[0]) * uniform[:, 1]
    return similarity(angle, size, (uniform[:, 2:] * 2 - 1) * shift)


def jitter_colour(pair: Tensor, draws: Draws, strength: float, gains: float | None = None) -> Tensor:
    """Apply the same random contrast, brightness and channel gains to all frames of a (B, F, 3, S, S) pair, in place.
    The channel gains use their own strength if given."""
    gain = 1 + (strength if gains is None else gains) * (draws.uniform(1, 3, 1, 1) * 2 - 1)
    contrast = 1 + strength * (draws.uniform(1, 1, 1, 1) * 2 - 1)
    brightness = strength * 0.5 * (draws.uniform(1, 1, 1, 1) * 2 - 1)
    # contrast about mid-grey, then brightness, as one multiplication and one addition
    factor, offset = gain * contrast, 0.5 * (1 - contrast) + brightness
    return pair.mul_(factor.to(pair.device)).add_(offset.to(pair.device)).clamp_(0, 1)


_TO_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


def jitter_hue(pair: Tensor, draws: Draws, strength: float) -> Tensor:
    """Apply the same random hue, up to +-`strength` of a full turn, and saturation, by a factor of 1 +- `strength`, to
    all frames of a (B, F, 3, S, S) pair: rotates and scales the chroma plane (I and Q of YIQ)."""
    uniform = draws.uniform(2) * 2 - 1
    angle, stretch = 2 * math.pi * strength * uniform[:, 0], 1 + strength * uniform[:, 1]
    cos, sin, zero, one = stretch * angle.cos(), stretch * angle.sin(), 0 * angle, 1 + 0 * angle
    turn = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], dim=-1).reshape(-1, 3, 3)
    # (B, 3, 3): RGB -> YIQ, rotate and scale I and Q, back to RGB
    matrix = (torch.linalg.inv(_TO_YIQ) @ turn @ _TO_YIQ).to(pair.device)
    return torch.einsum("bij,bfjhw->bfihw", matrix, pair).clamp(0, 1)
