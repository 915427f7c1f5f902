"""The mask network: one image in, one mask of the subject out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamparts.models.efficientnet import EfficientNetLite0
from streamparts.models.layers import ConvBlock, UNet

from ..pretrained.lite0 import lite0_file, load_lite0
from ..running.loop import channels_last

WIDTH = 32
"""Channels of the lateral layers."""
FROZEN = 2
"""Number of the backbone's first stages, up to stride 4, that stay frozen: their gradients are half of a step's
cost."""
UNET_WIDTHS = (16, 32, 64, 96, 128)
"""Channels of the network that is trained from scratch if the backbone is not installed."""


class SubjectNetwork(nn.Module):
    """Maps images (B, 3, S, S) RGB in [0, 1], S a multiple of 32, to logits of the subject (B, 1, S, S)."""

    def __init__(self, pretrained: bool = True) -> None:
        """Build it on EfficientNet-lite0 with ImageNet's weights, or on a small U-Net."""
        super().__init__()
        self.pretrained = pretrained
        if pretrained:
            self.encoder = EfficientNetLite0()
            load_lite0(self.encoder)
            for part in (self.encoder.stem, *self.encoder.stages[:FROZEN]):
                part.requires_grad_(False)
            self.across = nn.ModuleList(nn.Conv2d(width, WIDTH, 1) for width in self.encoder.widths)
            self.up = nn.ModuleList(ConvBlock(WIDTH, WIDTH) for _ in self.encoder.widths[:-1])
        else:
            self.scratch = UNet(UNET_WIDTHS, WIDTH)
            self.lift = ConvBlock(WIDTH + UNET_WIDTHS[0], WIDTH)
        self.mask = nn.Conv2d(WIDTH, 1, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        if self.pretrained:
            levels = self.encoder(images)
            x = self.across[-1](levels[-1])
            for across, up, level in zip(self.across[-2::-1], self.up, levels[-2::-1], strict=True):
                x = up(F.interpolate(x, size=level.shape[-2:], mode="nearest") + across(level))
        else:
            features, stem, _ = self.scratch(images)
            x = self.lift(torch.cat([F.interpolate(features, scale_factor=2.0, mode="nearest"), stem], 1))
        return F.interpolate(self.mask(x), size=images.shape[-2:], mode="bilinear", align_corners=False)

    def train(self, mode: bool = True) -> SubjectNetwork:
        """Keep ImageNet's statistics in the backbone's norms, since a few clips would spoil them."""
        super().train(mode)
        if self.pretrained:
            self.encoder.eval()
        return self


def build_network(seed: int) -> SubjectNetwork:
    torch.manual_seed(seed)
    return channels_last(SubjectNetwork(pretrained=lite0_file() is not None))
