"""SqueezeNet 1.1 (Iandola et al., 2016) as a backbone: features of a small classification network at four scales.

Layers are called conv1 and fire2.squeeze1x1 to fire9.expand3x3, as in Caffe's weight files.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamparts.models.layers import ConvBlock
from streamparts.models.resnet import CAFFE_MEAN, init_logits

WIDTHS = {2: (16, 64), 3: (16, 64), 4: (32, 128), 5: (32, 128), 6: (48, 192), 7: (48, 192), 8: (64, 256), 9: (64, 256)}
"""Channels of each fire: squeezed, and in each of its two expansions."""
STAGES = ((2, 3), (4, 5), (6, 7, 8, 9))
"""Indices of the fires at strides 4, 8 and 16."""
PYRAMID = 96
"""Channels in which the scales are merged."""


class Fire(nn.Module):
    """A 1x1 convolution to few channels, then parallel 1x1 and 3x3 convolutions."""

    def __init__(self, in_channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze1x1 = nn.Conv2d(in_channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze1x1(x))
        return F.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], dim=1))


class SqueezeNet(nn.Module):
    """Images (B, 3, S, S) RGB in [0, 1] -> features (B, 128, S/4, S/4), (B, 256, S/8, S/8) and (B, 512, S/16, S/16).

    Its first convolution and its pools are padded by one, so that cells are aligned over the scales; in its pretraining
    they were not. `mean` and `std`, RGB in [0, 255], normalise the images as the weights expect.
    """

    out_channels = 2 * WIDTHS[9][1]
    """Channels of the last scale."""
    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(CAFFE_MEAN))
        self.register_buffer("std", torch.ones(3))
        self.conv1 = nn.Conv2d(3, 64, 3, stride=2, padding=1)
        channels = 64
        for index, (squeezed, expanded) in WIDTHS.items():
            self.add_module(f"fire{index}", Fire(channels, squeezed, expanded))
            channels = 2 * expanded

    def forward(self, images: Tensor) -> list[Tensor]:
        x = F.relu(self.conv1((images * 255 - self.mean[:, None, None]) / self.std[:, None, None]))
        scales = []
        for fires in STAGES:
            x = F.max_pool2d(x, 3, 2, 1)
            for index in fires:
                x = self.get_submodule(f"fire{index}")(x)
            scales.append(x)
        return scales


class PyramidHead(nn.Module):
    """The scales of SqueezeNet -> logits (B, out_channels, S/4, S/4), merged from coarse to fine (Lin et al., CVPR
    2017). BatchNorm, so that it can be folded."""

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.sides = nn.ModuleList(nn.Conv2d(channels, PYRAMID, 1) for channels in (128, 256, 512))
        self.joins = nn.ModuleList(ConvBlock(PYRAMID, PYRAMID, norm=nn.BatchNorm2d) for _ in range(3))
        self.logits = nn.Conv2d(PYRAMID, out_channels, 1)
        init_logits(self.logits)

    def forward(self, scales: list[Tensor]) -> Tensor:
        x: Tensor | None = None
        for scale, side, join in reversed(list(zip(scales, self.sides, self.joins, strict=True))):
            level = side(scale)
            x = join(level if x is None else level + F.interpolate(x, scale_factor=2.0, mode="nearest"))
        logits: Tensor = self.logits(x)
        return logits
