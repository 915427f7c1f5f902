"""The student: one pass gives all masks and poses. This is what is exported.

It learns from a trained teacher (Assembly), which needs a decoder pass per part.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamparts.models.efficientnet import ALL_BLOCKS, EfficientNetLite0
from streamparts.models.layers import Affine, ConvBlock, UNet
from streamparts.models.pose_head import PoseHead


@dataclass(frozen=True)
class StudentConfig:
    """The shape of the network, saved with its weights."""

    num_parts: int
    """K, without the background."""
    image_size: int = 128
    """Side of the square input in pixels, a multiple of 32."""
    widths: tuple[int, ...] = (16, 32, 64, 96, 128)
    """Encoder channels at strides 2, 4, 8, 16, 32; only for "unet"."""
    feature_channels: int = 64
    """Encoder output channels at stride 4."""
    mask_channels: int = 24
    """Channels of the mask head at stride 2."""
    encoder: StudentEncoder = "unet"
    """Either "unet", trained from scratch, or "lite0", pretrained on ImageNet."""
    blocks: tuple[int, ...] = ()
    """Blocks of EfficientNet-lite0 that are kept, see EfficientNetLite0; only for "lite0"."""
    up_channels: tuple[int, ...] = ()
    """Channels of the upward path, from the deepest level to stride 8; if empty, `feature_channels` for all of them.
    Only for "lite0"."""


StudentEncoder = Literal["unet", "lite0"]
StudentSize = Literal["nano", "small", "base"]

STUDENT_SIZES: dict[StudentSize, dict[str, Any]] = {
    "nano": {"widths": (12, 24, 48, 64, 80), "feature_channels": 40, "mask_channels": 16},
    "small": {},
    "base": {"widths": (24, 56, 112, 160, 208), "feature_channels": 96, "mask_channels": 32},
}
"""Changes of each size to StudentConfig's defaults: about 0.4, 1 and 2.8 million parameters."""
LITE0_SIZES: dict[StudentSize, dict[str, Any]] = {
    "nano": {"blocks": (1, 2, 2, 3, 2), "feature_channels": 32, "mask_channels": 16},
    "small": {"blocks": (1, 2, 2, 3, 3, 2), "feature_channels": 40, "mask_channels": 20},
    "base": {"blocks": ALL_BLOCKS, "feature_channels": 64, "mask_channels": 32},
}
"""The same with encoder "lite0": 0.7, 1.6 and 3.4 million parameters."""


def student_config(num_parts: int, image_size: int, encoder: StudentEncoder, size: StudentSize) -> StudentConfig:
    """The student of that size."""
    sizes = STUDENT_SIZES if encoder == "unet" else LITE0_SIZES
    return StudentConfig(num_parts, image_size, encoder=encoder, **sizes[size])


class StudentOutput(NamedTuple):
    """Logits of the masks and the part poses."""

    logits: Tensor
    """(B, 1 + K, S, S), background first; softmax gives the masks."""
    affine: Affine


class LiteUNet(nn.Module):
    """layers.UNet on EfficientNet-lite0: (B, 3, S, S) -> features (B, out_channels, S/4, S/4), the encoder's own at
    stride 2 and the mean of its deepest."""

    def __init__(self, blocks: tuple[int, ...], out_channels: int, up_channels: tuple[int, ...] = ()) -> None:
        """Raises ValueError if `up_channels` is neither empty nor one number for each level but the finest."""
        super().__init__()
        self.lite0 = EfficientNetLite0(blocks)
        fine_to_coarse = self.lite0.widths[1:]
        wanted = len(fine_to_coarse) - 1
        if len(up_channels) not in (0, wanted):
            raise ValueError(f"up_channels must be empty or {wanted} numbers, got {up_channels}")
        widths = (*(up_channels or (out_channels,) * wanted), out_channels)  # coarse to fine
        self.context = nn.Linear(fine_to_coarse[-1], widths[0])
        self.across = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(fine_to_coarse, widths[::-1], strict=True))
        self.narrow = nn.ModuleList(nn.Conv2d(a, b, 1) if a != b else nn.Identity() for a, b in pairwise(widths))
        self.up = nn.ModuleList(ConvBlock(width, width, norm=nn.BatchNorm2d) for width in widths[1:])
        self.train()

    def train(self, mode: bool = True) -> LiteUNet:
        """The encoder keeps ImageNet's statistics, because a batch of a dozen images gives no useful ones."""
        super().train(mode)
        self.lite0.eval()
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        stem, *levels = self.lite0(images)
        summary = levels[-1].mean(dim=(2, 3))
        # (B, out_channels, h, w) at the coarsest stride; the mean of the whole image is added to every cell
        x = self.across[-1](levels[-1]) + self.context(summary)[:, :, None, None]
        steps = zip(self.narrow, self.across[-2::-1], self.up, levels[-2::-1], strict=True)
        for narrow, across, up, level in steps:
            # feature pyramid: coarse features, narrowed before they are enlarged, at a quarter of the multiplications,
            # plus the encoder's own at this stride
            x = up(F.interpolate(narrow(x), scale_factor=2.0, mode="nearest") + across(level))
        return x, stem, summary


class Student(nn.Module):
    """Images (B, 3, S, S) RGB in [0, 1] -> masks and poses. BatchNorm, so that it can be folded into the
    convolutions."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        if config.image_size % 32:
            raise ValueError(f"image_size must be a multiple of 32, got {config.image_size}")
        self.config = config
        mask = config.mask_channels
        self.encoder = (
            UNet(config.widths, config.feature_channels, norm=nn.BatchNorm2d)
            if config.encoder == "unet"
            else LiteUNet(config.blocks or ALL_BLOCKS, config.feature_channels, config.up_channels)
        )
        widths = config.widths if isinstance(self.encoder, UNet) else self.encoder.lite0.widths
        self.pose = PoseHead(config.num_parts, config.feature_channels, widths[-1])
        self.lift = nn.Sequential(nn.Conv2d(config.feature_channels, 4 * mask, 1), nn.PixelShuffle(2))
        self.sharpen = ConvBlock(mask + widths[0], mask, norm=nn.BatchNorm2d)
        # a 1x1 convolution gives four logits per slot and cell, so no layer works at full resolution
        self.mask = nn.Sequential(nn.Conv2d(mask, 4 * (config.num_parts + 1), 1))

    def forward(self, images: Tensor) -> StudentOutput:
        # (B, 1 + K, 4, S/2, S/2) -> (B, 1 + K, S, S)
        quarters, affine = self.quarters(images)
        return StudentOutput(F.pixel_shuffle(quarters.flatten(1, 2), 2), affine)

    def quarters(self, images: Tensor) -> tuple[Tensor, Affine]:
        """Logits as (B, 1 + K, 4, S/2, S/2), with the four pixels of every two by two in the third dimension, and
        poses."""
        features, stem, summary = self.encoder(images)
        # (B, mask_channels, S/2, S/2): lifted from stride 4, sharpened with the stem's own features
        fine = self.sharpen(torch.cat([self.lift(features), stem], dim=1))
        return self.mask(fine).unflatten(1, (-1, 4)), self.pose(features, summary)
