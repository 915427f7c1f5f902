"""Motion Co-part: part masks, and one affine frame per part, from a convolutional network on single images.

After Siarohin, Roy, Lathuiliere, Tulyakov, Ricci and Sebe, "Motion-supervised Co-Part Segmentation", 2020. This is the
segmentation module, which is deployed; the reconstruction module and the losses are in train/baselines/co_part.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamparts.models.layers import image_grid
from streamparts.models.segmenter import FineUNet, Segmenter, require_multiple

TEMPERATURE = 0.1
"""Temperature of the softmax over segments; the release's value."""


@dataclass(frozen=True)
class CoPartConfig:
    """The shape of the network, saved with its weights."""

    num_parts: int = 10
    """K, without the background."""
    image_size: int = 64
    """Side of the square input in pixels, a multiple of 32. Masks are computed at half of it."""
    widths: tuple[int, ...] = (24, 48, 96, 128, 160)
    """Encoder channels at strides 2, 4, 8, 16, 32."""
    feature_channels: int = 64
    """Encoder output channels at stride 4."""


@dataclass(frozen=True)
class Segments:
    """Segments of (B, 3, S, S) images."""

    masks: Tensor
    """(B, 1 + K, h, w) Y_k, background first, summing to 1."""
    linear: Tensor
    """(B, K, 2, 2) A_k, the linear part of each segment's frame."""

    def frames(self) -> Tensor:
        """(B, K, 2, 3) [A_k | p_k]: p_k is the mean position of the segment's mask."""
        height, width = self.masks.shape[-2:]
        points = image_grid(height, width, self.masks.device)
        weights = self.masks[:, 1:].flatten(2)
        # p_k = sum_u Y_k(u) u / sum_u Y_k(u)
        position = weights @ points / weights.sum(-1, keepdim=True).clamp(min=1e-6)
        return torch.cat([self.linear, position.unsqueeze(-1)], dim=-1)

    def select(self, rows: slice) -> Segments:
        return Segments(self.masks[rows], self.linear[rows])


class CoPart(Segmenter):
    """Images (B, 3, S, S) RGB in [0, 1] -> Segments at S/2."""

    config: CoPartConfig

    def __init__(self, config: CoPartConfig) -> None:
        super().__init__()
        require_multiple(config.image_size, 32)
        self.config = config
        self.encoder = FineUNet(config.widths, config.feature_channels)
        self.segment = nn.Conv2d(config.feature_channels // 2, config.num_parts + 1, 7, padding=3)
        self.affine = nn.Conv2d(config.feature_channels, 4 * config.num_parts, 7, padding=3)
        # A_k begins as the identity everywhere
        nn.init.zeros_(self.affine.weight)
        assert self.affine.bias is not None
        with torch.no_grad():
            self.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 1.0]).repeat(config.num_parts))

    def forward(self, images: Tensor) -> Segments:
        features, fine = self.encoder(images)
        masks = self._masks(fine)
        # A_k = sum_u Y_k(u) A_k(u) / sum_u Y_k(u), at stride 4
        coarse = F.avg_pool2d(masks[:, 1:], 2).flatten(2)
        maps = self.affine(features).unflatten(1, (-1, 4)).flatten(3)
        linear = (maps * coarse.unsqueeze(2)).sum(-1) / coarse.sum(-1).clamp(min=1e-6).unsqueeze(-1)
        return Segments(masks, linear.unflatten(-1, (2, 2)))

    def masks(self, images: Tensor) -> Tensor:
        _, fine = self.encoder(images)
        return F.interpolate(self._masks(fine), scale_factor=2.0, mode="bilinear", align_corners=False)

    def _masks(self, fine: Tensor) -> Tensor:
        logits: Tensor = self.segment(fine)
        return (logits / TEMPERATURE).softmax(dim=1)
