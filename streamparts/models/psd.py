"""PSD: parts, their structure and their dynamics, from motion that is decoded part by part.

After Xu, Liu, Sun, Murphy, Freeman, Tenenbaum and Wu, "Unsupervised Discovery of Parts, Structure, and Dynamics", ICLR
2019. Image encoder, kernel decoder and motion decoder are deployed; train/baselines/psd.py has the rest and the losses.

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
CHANNELS = 4
"""Feature maps of each part."""
LATENT = 2
"""Latent numbers of each part's motion: a motion in the plane needs two."""


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
        self.maps = nn.Conv2d(config.feature_channels // 2, config.num_parts * CHANNELS, 1)
        self.kernels = nn.Sequential(nn.Linear(LATENT, 32), nn.ReLU(), nn.Linear(32, CHANNELS * KERNEL**2))
        # without biases: where no map was moved, the motion is zero
        self.motion = nn.Sequential(
            nn.Conv2d(CHANNELS, 16, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(16, 2, 3, padding=1, bias=False)
        )

    def features(self, images: Tensor) -> Tensor:
        """(B, K, CHANNELS, S/2, S/2), >= 0"""
        found: Tensor = self.maps(self.encoder(images)[1]).relu()
        return found.reshape(-1, self.config.num_parts, CHANNELS, *found.shape[2:])

    def local_motions(self, features: Tensor, latent: Tensor) -> Tensor:
        """M_k, (B, K, 2, h, w) in pixels at S/2, of `features` and latent motions (B, K, LATENT): each part's maps are
        convolved with the kernels that its latent motion decodes to, and these decoded to motion, zero where nothing
        was moved."""
        batch, parts, channels, height, width = features.shape
        # The kernel of no motion is taken away, so that a latent of zero moves nothing.
        kernels = self.kernels(latent) - self.kernels(torch.zeros_like(latent))
        kernels = kernels.reshape(batch * parts * channels, 1, KERNEL, KERNEL)
        grouped = features.reshape(1, batch * parts * channels, height, width)
        moved = F.conv2d(grouped, kernels, padding=KERNEL // 2, groups=batch * parts * channels)
        motion: Tensor = self.motion(moved.reshape(batch * parts, channels, height, width))
        return motion.reshape(batch, parts, *motion.shape[1:])

    def heat(self, images: Tensor) -> Tensor:
        """(B, K, S/2, S/2) mean length of each part's motion for unit latents of both signs."""
        features = self.features(images)
        parts, channels = features.shape[1:3]
        total = torch.zeros_like(features[:, :, 0])
        for unit in (*torch.eye(LATENT, device=images.device), *-torch.eye(LATENT, device=images.device)):
            # the same kernels for all images: one grouped convolution of the batch
            kernel = (self.kernels(unit) - self.kernels(torch.zeros_like(unit))).reshape(channels, 1, KERNEL, KERNEL)
            moved = F.conv2d(
                features.flatten(1, 2), kernel.repeat(parts, 1, 1, 1), padding=KERNEL // 2, groups=parts * channels
            )
            motion = self.motion(moved.reshape(-1, channels, *moved.shape[2:])).unflatten(0, (-1, parts))
            total = total + motion.square().sum(dim=2).add(1e-12).sqrt()
        return total / (2 * LATENT)

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
