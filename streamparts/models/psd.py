"""PSD: parts, their structure and their dynamics, from motion that is decoded part by part.

After Xu, Liu, Sun, Murphy, Freeman, Tenenbaum and Wu, "Unsupervised Discovery of Parts, Structure, and Dynamics", ICLR
2019. Image encoder, kernel decoder and motion decoder are deployed; train/baselines/psd.py has the rest and the losses.

As in the release, a part is one feature map with one latent number, a kernel decoder and a motion decoder of its own.
The paper's masks are the places that a latent motion moves. Our rule for a single image: part k's heat is how far its
unit motions move a pixel, in the largest of the image's heats, and the background is where all are below `threshold`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamparts.models.segmenter import FineUNet, Segmenter, require_multiple

KERNEL = 5
"""Side of the kernels that move feature maps."""
DEEP = 8
"""Numbers of each part within its decoders."""
SMOOTH = 9
"""Side of the motion decoder's first kernel, which spreads a motion over its part; the second has KERNEL."""


@dataclass(frozen=True)
class PsdConfig:
    """The shape of the network, saved with its weights."""

    num_parts: int = 10
    """K, without the background."""
    image_size: int = 64
    """Side of the square input in pixels, a multiple of 32."""
    widths: tuple[int, ...] = (16, 32, 48, 64, 96)
    """Encoder channels at strides 2, 4, 8, 16, 32."""
    feature_channels: int = 48
    """Encoder output channels at stride 4."""
    threshold: float = 0.3
    """Share of the image's largest heat below which a pixel is background."""


class Psd(Segmenter):
    """Images (B, 3, S, S) RGB in [0, 1] and latent motions -> local motion maps, and masks of images alone."""

    config: PsdConfig

    def __init__(self, config: PsdConfig) -> None:
        super().__init__()
        require_multiple(config.image_size, 32)
        if not 0 < config.threshold < 1:
            raise ValueError(f"threshold must be between 0 and 1, got {config.threshold}")
        self.config = config
        self.encoder = FineUNet(config.widths, config.feature_channels)
        count = config.num_parts
        self.maps = nn.Conv2d(config.feature_channels // 2, count, 1)
        # Grouped: nothing passes from part to part.
        self.kernels = nn.Sequential(
            nn.Conv1d(count, 4 * DEEP * count, 1, groups=count), nn.ReLU(),
            nn.Conv1d(4 * DEEP * count, KERNEL**2 * count, 1, groups=count),
        )  # fmt: skip
        # without biases: where no map was moved, the motion is zero
        self.motion = nn.Sequential(
            nn.Conv2d(count, DEEP * count, SMOOTH, padding=SMOOTH // 2, bias=False, groups=count), nn.LeakyReLU(0.1),
            nn.Conv2d(DEEP * count, 2 * count, KERNEL, padding=KERNEL // 2, bias=False, groups=count),
        )  # fmt: skip

    def features(self, images: Tensor) -> Tensor:
        """(B, K, S/2, S/2), >= 0"""
        found: Tensor = self.maps(self.encoder(images)[1]).relu()
        return found

    def local_motions(self, features: Tensor, latent: Tensor) -> Tensor:
        """M_k, (B, K, 2, h, w) in pixels at S/2, of `features` and latent motions (B, K): each part's map is convolved
        with the kernel that its latent motion decodes to, and the result decoded to motion, zero where nothing was
        moved."""
        batch, parts, height, width = features.shape
        kernels = self.kernels_of(latent).reshape(batch * parts, 1, KERNEL, KERNEL)
        grouped = features.reshape(1, batch * parts, height, width)
        moved = F.conv2d(grouped, kernels, padding=KERNEL // 2, groups=batch * parts)
        motion: Tensor = self.motion(moved.reshape(features.shape))
        return motion.reshape(batch, parts, 2, height, width)

    def kernels_of(self, latent: Tensor) -> Tensor:
        """(B, K, KERNEL^2) of (B, K). The kernel of no motion is taken away, so that a latent of zero moves nothing."""
        found: Tensor = self.kernels(latent.unsqueeze(-1)) - self.kernels(torch.zeros_like(latent).unsqueeze(-1))
        return found.reshape(*latent.shape, KERNEL**2)

    def heat(self, images: Tensor) -> Tensor:
        """(B, K, S/2, S/2) mean length of each part's motion for unit latents of both signs."""
        features = self.features(images)
        parts = features.shape[1]
        total = torch.zeros_like(features)
        for sign in (1.0, -1.0):
            # the same kernels for all images: one grouped convolution of the batch
            kernels = self.kernels_of(torch.full((1, parts), sign, device=images.device))
            moved = F.conv2d(features, kernels.reshape(parts, 1, KERNEL, KERNEL), padding=KERNEL // 2, groups=parts)
            motion = self.motion(moved).unflatten(1, (parts, 2))
            total = total + motion.square().sum(dim=2).add(1e-12).sqrt()
        return total / 2

    def masks(self, images: Tensor) -> Tensor:
        fine = F.interpolate(self.heat(images), scale_factor=2.0, mode="bilinear", align_corners=False)
        return shares_of(fine, self.config.threshold)


def shares_of(heat: Tensor, threshold: float) -> Tensor:
    """Heats (B, K, h, w) >= 0 -> masks (B, 1 + K, h, w): the heats relative to the largest of the image, and the
    threshold as that of the background, divided by their sum."""
    relative = heat / heat.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-6)
    # (B, 1 + K, h, w): a pixel whose heats are all below the threshold belongs mostly to the background
    both = torch.cat([torch.full_like(relative[:, :1], threshold), relative], dim=1)
    return both / both.sum(dim=1, keepdim=True)
