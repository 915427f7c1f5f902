"""Networks that give only masks, those of the methods in train/baselines: their interface, and a shared encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import Field
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from streamparts.models.layers import UNet, group_norm


class SegmenterConfig(Protocol):
    """Shape fields shared by all segmenters, in a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def num_parts(self) -> int: ...

    @property
    def image_size(self) -> int: ...


class Segmenter(nn.Module, ABC):
    """Images (B, 3, S, S) RGB in [0, 1] -> masks. A frame's masks do not depend on its batch."""

    config: SegmenterConfig

    @abstractmethod
    def masks(self, images: Tensor) -> Tensor:
        """Soft masks (B, 1 + K, S, S), background first, summing to 1."""


class FineUNet(nn.Module):
    """layers.UNet with one more level: (B, 3, S, S) -> features (B, feature_channels, S/4, S/4) and finer ones
    (B, feature_channels / 2, S/2, S/2)."""

    def __init__(self, widths: tuple[int, ...], feature_channels: int) -> None:
        super().__init__()
        fine = feature_channels // 2
        self.encoder = UNet(widths, feature_channels)
        self.lift = nn.Sequential(nn.Conv2d(feature_channels, 4 * fine, 1), nn.PixelShuffle(2))
        self.sharpen = nn.Sequential(
            nn.Conv2d(fine + widths[0], fine, 3, padding=1, bias=False), group_norm(fine), nn.ReLU()
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features, stem, _ = self.encoder(images)
        return features, self.sharpen(torch.cat([self.lift(features), stem], dim=1))


def require_multiple(image_size: int, multiple: int) -> None:
    """Raise ValueError unless the side of the image is a positive multiple."""
    if image_size < multiple or image_size % multiple:
        raise ValueError(f"image_size must be a multiple of {multiple}, got {image_size}")
