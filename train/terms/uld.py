"""The decoder of the baseline that Hung et al. 2019 call ULD, after Zhang et al., CVPR 2018. Its other terms are in
train/terms/scops_losses.py.

It reconstructs an image from the positions and appearances of its parts, which keeps landmarks away from uninformative
positions. It is not deployed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamparts.models.layers import ConvBlock, image_grid

from .scops_losses import to_cells

DECODER_STRIDE = 8
"""Pixels per cell of the decoder's initial maps."""


def gaussian_maps(centres: Tensor, side: int, sigma: float) -> Tensor:
    """(B, K, side, side) exp(-|u - c_k|^2 / (2 sigma^2)) of centres (B, K, 2), all in normalised units."""
    squared = (image_grid(side, side, centres.device) - centres.unsqueeze(2)).square().sum(-1)
    return torch.exp(-squared / (2 * sigma**2)).reshape(*centres.shape[:2], side, side)


def pooled_features(features: Tensor, masks: Tensor) -> Tensor:
    """(B, N, C): the mean of features (B, C, h, w) over each of N masks (B, N, S, S), resized to their grid by area
    averaging."""
    # (B, N, h w), summing to 1 over the cells, times (B, h w, C)
    weights = to_cells(masks, features).flatten(2)
    weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-6)
    return weights @ features.flatten(2).transpose(1, 2)


class UldDecoder(nn.Module):
    """Maps centres (B, K, 2) and appearances (B, 1 + K, C), the background's first, to the image (B, 3, S, S) in [0,
    1].

    Each part's Gaussian carries its appearance to the part's position; the background fills the rest. Positions affect
    the image only through the Gaussians, so the reconstruction moves the centres.
    """

    def __init__(self, num_parts: int, channels: int, image_size: int, width: int = 64, sigma: float = 0.1) -> None:
        super().__init__()
        if image_size % DECODER_STRIDE:
            raise ValueError(f"image_size must be a multiple of {DECODER_STRIDE}, got {image_size}")
        self.side, self.sigma = image_size // DECODER_STRIDE, sigma
        # strides 8 -> 4 -> 2 by two doublings, -> 1 by the pixel shuffle
        self.start = ConvBlock(1 + num_parts + channels, width)
        self.up = nn.ModuleList([ConvBlock(width, width // 2), ConvBlock(width // 2, width // 4)])
        self.last = nn.Sequential(nn.Conv2d(width // 4, 4 * 3, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, centres: Tensor, appearances: Tensor) -> Tensor:
        x = self.start(self.placed(centres, appearances))
        for up in self.up:
            x = up(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        image: Tensor = torch.sigmoid(self.last(x))
        return image

    def placed(self, centres: Tensor, appearances: Tensor) -> Tensor:
        """(B, 1 + K + C, S/8, S/8): the shares of background and parts in each cell, then the mean appearance weighted
        by these shares."""
        maps = gaussian_maps(centres, self.side, self.sigma)
        # the background's map is a constant 0.1, so that it fills what no part's Gaussian covers
        maps = torch.cat([torch.full_like(maps[:, :1], 0.1), maps], dim=1)
        shares = maps / maps.sum(dim=1, keepdim=True)
        return torch.cat([shares, torch.einsum("bnhw,bnc->bchw", shares, appearances)], dim=1)
