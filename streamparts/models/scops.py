"""SCOPS: part masks from a convolutional network on single images.

After Hung et al., "SCOPS: Self-Supervised Co-Part Segmentation", CVPR 2019: the paper's DeepLab-V2, and two forms that
stream on a CPU: a `fast` one that learns from scratch, and one on a pretrained SqueezeNet. The losses are in train/.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamparts.models.layers import ConvBlock, UNet, has_bfloat16
from streamparts.models.resnet import AtrousPyramid, ResNet50, init_logits
from streamparts.models.squeezenet import PyramidHead, SqueezeNet

Backbone = Literal["fast", "squeezenet", "resnet50", "resnet50-half"]
LIGHT: tuple[Backbone, ...] = ("fast", "squeezenet")
"""Forms that stream on a CPU."""

FAST_WIDTHS = (24, 48, 80, 128, 160)
"""Channels of the fast form at strides 2, 4, 8, 16, 32."""
FAST_FEATURES = 64
"""Channels of the fast form at stride 4."""

BACKGROUND_LEVEL = 0.1
"""A pixel belongs to a part if the part exceeds this share of its own peak there; the release's value."""
LEVELS = 1024
"""Number of steps to which that share is rounded. In a uniform image, parts are at their peak everywhere: without
rounding, rounding errors would choose among them; with it, the first one gets the pixel, on every backend."""


@dataclass(frozen=True)
class ScopsConfig:
    """The shape of the network, saved with its weights."""

    num_parts: int = 8
    """K, without the background."""
    image_size: int = 256
    """Side of the square input in pixels, a multiple of 32 (fast, squeezenet) or 8; 128 makes these four times as
    fast."""
    backbone: Backbone = "fast"
    """A slim U-Net; SqueezeNet 1.1; ResNet-50, all of whose 2048 channels reach the head; or the published network,
    where only the second half does."""
    background_level: float = BACKGROUND_LEVEL
    """See `part_labels`."""
    peak_floor: float = 0.0
    """See `part_shares`."""


class ParameterGroups(NamedTuple):
    """Groups with their own learning rates: every parameter is in exactly one of the two."""

    backbone: list[nn.Parameter]
    head: list[nn.Parameter]


class FastBackbone(nn.Module):
    """Images (B, 3, S, S) RGB in [0, 1] -> features (B, C, S/4, S/4). BatchNorm, so that it can be folded."""

    out_channels = FAST_FEATURES

    def __init__(self) -> None:
        super().__init__()
        self.layers = UNet(FAST_WIDTHS, FAST_FEATURES, norm=nn.BatchNorm2d)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images)[0]
        return features


class FastHead(nn.Sequential):
    """(B, C, h, w) -> logits (B, out_channels, h, w)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        logits = nn.Conv2d(in_channels, out_channels, 1)
        init_logits(logits)
        super().__init__(ConvBlock(in_channels, in_channels, norm=nn.BatchNorm2d), logits)


class Scops(nn.Module):
    """Images (B, 3, S, S) RGB in [0, 1] -> coarse logits (B, 1 + K, h, w), background first; the images' mean is
    subtracted inside. h = w is S/4 in the light forms, S/8 + 1 with ResNet-50.

    Coarse cells are spread over the image as everywhere here (align_corners=False). ResNet-50's S/8 + 1 cells extend
    half a cell beyond the image on each side, so the border of its masks is up to 4 pixels farther inside than the
    cells' centres; the head learns to compensate.

    The light forms train in bfloat16 if the machine supports it, in half of the time.
    """

    def __init__(self, config: ScopsConfig) -> None:
        super().__init__()
        if config.backbone not in get_args(Backbone):
            raise ValueError(f"backbone must be one of {', '.join(get_args(Backbone))}, got {config.backbone!r}")
        multiple = 32 if config.backbone in LIGHT else 8
        if config.image_size < multiple or config.image_size % multiple:
            raise ValueError(f"image_size must be a multiple of {multiple}, got {config.image_size}")
        if not 0 <= config.background_level < 1:
            raise ValueError(f"background_level must be in [0, 1), got {config.background_level}")
        if not 0 <= config.peak_floor <= 1:
            raise ValueError(f"peak_floor must be in [0, 1], got {config.peak_floor}")
        if not 1 <= config.num_parts <= 254:
            raise ValueError(f"num_parts must be 1 to 254, got {config.num_parts}")
        self.config = config
        # K parts and the background
        slots = config.num_parts + 1
        self.backbone: FastBackbone | SqueezeNet | ResNet50
        self.head: FastHead | PyramidHead | AtrousPyramid
        if config.backbone == "fast":
            self.backbone = FastBackbone()
            self.head = FastHead(self.backbone.out_channels, slots)
        elif config.backbone == "squeezenet":
            # features at several strides, which the head combines
            self.backbone, self.head = SqueezeNet(), PyramidHead(slots)
        else:
            self.backbone = ResNet50()
            share = 2 if config.backbone == "resnet50-half" else 1
            self.head = AtrousPyramid(self.backbone.out_channels // share, slots)

    def forward(self, images: Tensor) -> Tensor:
        return self.seen(images)[0]

    def seen(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The logits, and the backbone's deepest features (B, `feature_channels`, h', w')."""
        kind = images.device.type
        cheap = self.training and self.config.backbone in LIGHT and has_bfloat16(kind)
        with torch.autocast(kind, torch.bfloat16) if cheap else nullcontext():
            features = self.backbone(images)
            # (B, 1 + K, h, w) before the upsampling
            logits: Tensor = self.head(features)
        # the coarsest features, where a network gives several
        deepest: Tensor = features[-1] if isinstance(features, list) else features
        return logits.float(), deepest.float()

    @property
    def feature_channels(self) -> int:
        """Channels of the deepest features from `seen`."""
        return self.backbone.out_channels

    def masks(self, images: Tensor) -> Tensor:
        """Soft masks (B, 1 + K, S, S) of images, background first, summing to 1."""
        return upsampled_masks(self(images), self.config.image_size)

    @property
    def parameter_groups(self) -> ParameterGroups:
        """The parameters; the head's learning rate is ten times the backbone's in the paper's training."""
        return ParameterGroups(list(self.backbone.parameters()), list(self.head.parameters()))

    def freeze_norms(self, statistics: bool = False) -> None:
        """Freeze gamma and beta of ResNet-50's norms, except in the shortcuts, as in the paper's training.

        Their statistics continue to follow the batches, as in the paper. `statistics` True also freezes these, and the
        shortcuts' norms: for small batches, and for weights whose norms were folded into convolutions. The light forms
        have no such norms.
        """
        if isinstance(self.backbone, ResNet50):
            self.backbone.freeze_norms(statistics)


def upsampled_masks(logits: Tensor, size: int) -> Tensor:
    """Coarse logits (B, 1 + K, h, w) -> soft masks (B, 1 + K, size, size), with the softmax after the upsampling.

    The softmax is written out: ONNX Runtime's own softmax over channels takes several times as long.
    """
    # logits are interpolated, not probabilities: borders between parts stay sharp
    fine = F.interpolate(logits, size=(size, size), mode="bilinear", align_corners=False)
    # the maximum is subtracted, so that exp cannot overflow
    powers = (fine - fine.amax(dim=1, keepdim=True)).exp()
    return powers / powers.sum(dim=1, keepdim=True)


def part_labels(masks: Tensor, level: float = BACKGROUND_LEVEL, peak_floor: float = 0.0) -> Tensor:
    """Soft masks (B, 1 + K, S, S), background first -> labels (B, S, S), 0 background, k + 1 part k.

    Each part is divided by its own peak in the image, and the largest quotient gets the pixel if it exceeds `level`.
    With this rule of the release, every part that is not fully covered by a stronger one is found, however uncertain;
    its score is the confidence. `peak_floor` as for part_shares.
    """
    # (B, S, S) the largest quotient and its part, in whole steps of 1 / LEVELS
    share, part = (part_shares(masks, peak_floor) * LEVELS).round().max(dim=1)
    return torch.where(share > level * LEVELS, part + 1, 0)


def part_shares(masks: Tensor, peak_floor: float = 0.0) -> Tensor:
    """Soft masks (B, 1 + K, S, S), background first -> (B, K, S, S) each part divided by its own peak in the image,
    which is at least `peak_floor`: with 0, the release's rule, a hidden part is found somewhere nevertheless."""
    # M_k(u) / max_u M_k
    parts = masks[:, 1:]
    return parts / parts.amax(dim=(2, 3), keepdim=True).clamp(min=max(peak_floor, 1e-30))
