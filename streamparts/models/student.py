"""The student: one pass gives all masks and poses. This is what is exported.

It learns from a trained teacher (Assembly), which needs a decoder pass per part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamparts.models.layers import Affine, ConvBlock, PoseHead, UNet


@dataclass(frozen=True)
class StudentConfig:
    """The shape of the network; saved beside its weights."""

    num_parts: int
    """K, without the background."""
    image_size: int = 128
    """Side of the square input in pixels, a multiple of 32."""
    widths: tuple[int, ...] = (16, 32, 64, 96, 128)
    """Encoder channels at strides 2, 4, 8, 16, 32."""
    feature_channels: int = 64
    """Encoder output channels at stride 4."""
    mask_channels: int = 24
    """Channels of the mask head at stride 2."""


class StudentOutput(NamedTuple):
    """Logits of the masks and the part poses."""

    logits: Tensor
    """(B, 1 + K, S, S), background first; softmax gives the masks."""
    affine: Affine


class Student(nn.Module):
    """Images (B, 3, S, S) RGB in [0, 1] -> masks and poses. BatchNorm, so that it folds into the convolutions."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        if config.image_size % 32:
            raise ValueError(f"image_size must be a multiple of 32, got {config.image_size}")
        self.config = config
        mask = config.mask_channels
        self.encoder = UNet(config.widths, config.feature_channels, norm=nn.BatchNorm2d)
        self.pose = PoseHead(config.num_parts, config.feature_channels, config.widths[-1])
        self.lift = nn.Sequential(nn.Conv2d(config.feature_channels, 4 * mask, 1), nn.PixelShuffle(2))
        self.sharpen = ConvBlock(mask + config.widths[0], mask, norm=nn.BatchNorm2d)
        self.mask = nn.Sequential(nn.Conv2d(mask, 4 * (config.num_parts + 1), 1))

    def forward(self, images: Tensor) -> StudentOutput:
        quarters, affine = self.quarters(images)
        return StudentOutput(F.pixel_shuffle(quarters.flatten(1, 2), 2), affine)

    def quarters(self, images: Tensor) -> tuple[Tensor, Affine]:
        """Logits as (B, 1 + K, 4, S/2, S/2), the four pixels of every two by two in the third dimension, and poses."""
        features, stem, summary = self.encoder(images)
        fine = self.sharpen(torch.cat([self.lift(features), stem], dim=1))
        return self.mask(fine).unflatten(1, (-1, 4)), self.pose(features, summary)
