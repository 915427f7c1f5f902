"""Assigns pixels to parts by colour: a loss that keeps each part's colours, on pixels drawn by importance."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_FAINT = -30.0
"""Logarithm of the smallest colour density: negligible compared with the 1e-4 that every part has for any colour, but
not denormal, since denormals slow a CPU down tenfold."""


def appearance_loss(
    masks: Tensor,
    colours: Tensor,
    offset: float | Tensor,
    sharpness: float = 3.0,
    spread: float = 0.06,
    samples: tuple[int, int] = (1536, 320),
) -> Tensor:
    """A rigid part keeps its colours, so pixels with a part's colours should belong to it: cross-entropy of the masks
    with their own foreground, redistributed in proportion to M_k(u) p_k(c_u)^sharpness.

    p_k is the colour density of part k, a sum of Gaussians with deviation `spread` around the colours of its pixels.
    This moves a border across a uniformly coloured region to the region's edge, at any distance; parts of similar
    colours do not change. `masks` (B, 1 + K, P) and `colours` (B, 3, P), in [0, 1], contain the pixels of all frames
    that share their colours. `samples` pixels are compared with as many Gaussians, drawn from the foreground; `offset`
    in [0, 1) shifts the draw. Only the compared masks get gradients.
    """
    fixed = masks.detach()
    foreground = 1.1 - fixed[:, 0]  # (B, P) > 0, so that background pixels are also drawn, rarely
    compared, references = (systematic_sample(foreground, n, offset) for n in samples)
    scaled = colours.detach() / spread
    # (B, m, n) between m reference and n compared pixels
    kernel = gaussians(take(scaled, references.pixel), take(scaled, compared.pixel))
    owned = take(fixed[:, 1:], references.pixel) * references.weight.unsqueeze(1)
    # (B, K, n): small parts are regularised with 0.25 % of the pixels, and every colour has density 1e-4
    density = owned @ kernel / (owned.sum(-1, keepdim=True) + 0.0025 * masks.shape[-1]) + 1e-4
    own = take(fixed, compared.pixel)
    shares = own[:, 1:] * density**sharpness
    # the target keeps each pixel's foreground 1 - M_0 and divides it anew among the parts
    shares = (1 - own[:, :1]) * shares / shares.sum(1, keepdim=True).clamp(min=1e-12)
    entropy = -(torch.cat([own[:, :1], shares], dim=1) * take(masks, compared.pixel).clamp(min=1e-4).log()).sum(1)
    return (entropy * compared.weight).sum(1).div(compared.weight.sum(1)).mean()


def gaussians(centres: Tensor, points: Tensor) -> Tensor:
    """(B, C, m) and (B, C, n) -> (B, m, n): exp(-|c - x|^2 / 2), at least e^_FAINT. The exponent c x - |c|^2 / 2 -
    |x|^2 / 2 is one matrix product with two additional columns, so millions of numbers are written only once."""
    halves = [-0.5 * x.square().sum(1, keepdim=True) for x in (centres, points)]
    left = torch.cat([centres, halves[0], torch.ones_like(halves[0])], dim=1)
    right = torch.cat([points, torch.ones_like(halves[1]), halves[1]], dim=1)
    return (left.mT @ right).clamp_(_FAINT, 0).exp_()


class PixelSample(NamedTuple):
    """Pixels drawn in proportion to their importance."""

    pixel: Tensor
    """(B, n)"""
    weight: Tensor
    """(B, n) number of pixels that each stands for."""


def systematic_sample(importance: Tensor, count: int, offset: float | Tensor) -> PixelSample:
    """Draw `count` of P pixels from `importance` (B, P) > 0 at even steps of its cumulative sum."""
    running = importance.cumsum(-1)
    total = running[:, -1:]
    steps = (torch.arange(count, device=importance.device) + offset) / count
    index = torch.searchsorted(running, total * steps).clamp(max=importance.shape[1] - 1)
    # a pixel is drawn with probability count * importance / total, so it stands for the inverse
    return PixelSample(index, total / (count * importance.gather(1, index)))


def take(values: Tensor, index: Tensor) -> Tensor:
    """(B, C, P) at (B, n) -> (B, C, n)."""
    return values.gather(2, index.unsqueeze(1).expand(-1, values.shape[1], -1))
