"""DeepLab-V2 on ResNet-50 (Chen et al., TPAMI 2018; He et al., CVPR 2016), the network of Hung et al., CVPR 2019.

Layers are called conv1, bn1, layer1.0.conv1 ... layer4.2.bn3 and layerN.0.downsample.0 and .1, as in most weight files.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

CAFFE_MEAN = (122.679, 116.669, 104.007)
"""ImageNet's mean, RGB values in [0, 255], used to train the paper's weights. Each channel is reduced by its own mean
here; the release swaps the means of red and blue when it reverses the normalisation."""

EXPANSION = 4
"""Output channels of a bottleneck per channel inside."""
STAGES = ((3, 1, 1), (4, 2, 1), (6, 1, 2), (3, 1, 4))
"""Blocks, stride and dilation of layer1 to layer4: layer3 and layer4 enlarge the receptive field without further
downsampling."""
HEAD_DILATIONS = (6, 12, 18, 24)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with a shortcut. The stride is in the first one, as in Caffe's network."""

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        out = EXPANSION * width
        self.conv1 = nn.Conv2d(in_channels, width, 1, stride, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if in_channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(in_channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        # (B, 4 width, h, w)
        shortcut = self.downsample(x) if self.downsample is not None else x
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + shortcut)  # type: ignore[no-any-return]


class ResNet50(nn.Module):
    """Images (B, 3, S, S) RGB in [0, 1] -> features (B, 2048, S/8 + 1, S/8 + 1), centred on pixels 0, 8, ..., S. `mean`
    and `std`, RGB in [0, 255], normalise the images as the weights expect."""

    mean: Tensor
    std: Tensor
    out_channels = 2048

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(CAFFE_MEAN))
        self.register_buffer("std", torch.ones(3))
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        # ceil_mode gives the S/8 + 1 cells
        self.pool = nn.MaxPool2d(3, 2, 1, ceil_mode=True)
        channels = 64
        for number, (blocks, stride, dilation) in enumerate(STAGES):
            width = 64 * 2**number
            self.add_module(f"layer{number + 1}", _stage(channels, width, blocks, stride, dilation))
            channels = EXPANSION * width
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # for training from scratch; pretrained weights replace it
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self._keep_statistics = False

    def forward(self, images: Tensor) -> Tensor:
        # [0, 1] -> bytes, then the weights' own normalisation
        x: Tensor = (images * 255 - self.mean[:, None, None]) / self.std[:, None, None]
        x = self.pool(self.relu(self.bn1(self.conv1(x))))
        for number in range(len(STAGES)):
            x = self.get_submodule(f"layer{number + 1}")(x)
        return x

    def freeze_norms(self, statistics: bool) -> None:
        """See Scops.freeze_norms."""
        self._keep_statistics = statistics
        for name, module in self.named_modules():
            if isinstance(module, nn.BatchNorm2d) and (statistics or "downsample" not in name):
                module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> ResNet50:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d) and self._keep_statistics:
                module.eval()
        return self


def _stage(in_channels: int, width: int, blocks: int, stride: int, dilation: int) -> nn.Sequential:
    rest = (Bottleneck(EXPANSION * width, width, 1, dilation) for _ in range(blocks - 1))
    return nn.Sequential(Bottleneck(in_channels, width, stride, dilation), *rest)


class AtrousPyramid(nn.Module):
    """DeepLab-V2's head: the sum of 3x3 convolutions with several dilations. It reads only the last `in_channels`
    channels of its input."""

    def __init__(self, in_channels: int, out_channels: int, dilations: Sequence[int] = HEAD_DILATIONS) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.branches = nn.ModuleList(
            nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation) for dilation in dilations
        )
        for branch in self.branches:
            init_logits(branch)

    def forward(self, features: Tensor) -> Tensor:
        # the published network reads only the second half of the channels
        x = features[:, -self.in_channels :]
        return torch.stack([branch(x) for branch in self.branches]).sum(0)


def init_logits(layer: nn.Module) -> None:
    """Weights N(0, 0.01), no bias: all slots start nearly equal."""
    if isinstance(layer, nn.Conv2d) and layer.bias is not None:
        nn.init.normal_(layer.weight, std=0.01)
        nn.init.zeros_(layer.bias)
