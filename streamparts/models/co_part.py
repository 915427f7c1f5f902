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
"""Temperature of the softmax over pixels that places a segment's frame; the release's value."""


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
    frames: Tensor
    """(B, K, 2, 3) [A_k | p_k]"""

    def select(self, rows: slice) -> Segments:
        return Segments(self.masks[rows], self.frames[rows])


def frames_of(heat: Tensor, linear: Tensor) -> Tensor:
    """[A_k | p_k] = sum_u H_k(u) [A_k(u) | u], (B, K, 2, 3), of heatmaps H (B, K, h, w) that sum to 1 over the pixels
    u, and of one linear map per pixel (B, K, 4, h, w)."""
    height, width = heat.shape[-2:]
    weights = heat.flatten(2)
    # (B, K, h w) @ (h w, 2), then (B, K, 4, h w) @ (B, K, h w, 1)
    position = weights @ image_grid(height, width, heat.device)
    mean = (linear.flatten(3) @ weights.unsqueeze(-1)).reshape(*heat.shape[:2], 2, 2)
    return torch.cat([mean, position.unsqueeze(-1)], dim=-1)


class CoPart(Segmenter):
    """Images (B, 3, S, S) RGB in [0, 1] -> Segments at S/2. The frames have heatmaps of their own, at S/4: a segment's
    position is not the middle of its mask."""

    config: CoPartConfig

    def __init__(self, config: CoPartConfig) -> None:
        super().__init__()
        require_multiple(config.image_size, 32)
        self.config = config
        self.encoder = FineUNet(config.widths, config.feature_channels)
        self.segment = nn.Conv2d(config.feature_channels // 2, config.num_parts + 1, 7, padding=3)
        self.place = nn.Conv2d(config.feature_channels, config.num_parts, 7, padding=3)
        self.affine = nn.Conv2d(config.feature_channels, 4 * config.num_parts, 7, padding=3)
        # A_k begins as the identity everywhere
        nn.init.zeros_(self.affine.weight)
        assert self.affine.bias is not None
        with torch.no_grad():
            self.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 1.0]).repeat(config.num_parts))

    def forward(self, images: Tensor) -> Segments:
        features, fine = self.encoder(images)
        # H_k = softmax over pixels of logits / TEMPERATURE
        places = self.place(features)
        heat = (places.flatten(2) / TEMPERATURE).softmax(dim=-1).reshape(places.shape)
        linear = self.affine(features).unflatten(1, (-1, 4))
        return Segments(self.segment(fine).softmax(dim=1), frames_of(heat, linear))

    def masks(self, images: Tensor) -> Tensor:
        _, fine = self.encoder(images)
        masks = self.segment(fine).softmax(dim=1)
        return F.interpolate(masks, scale_factor=2.0, mode="bilinear", align_corners=False)
