"""Assembly: parts as latent maps that are moved by affine transforms and assembled into the image.

After Gao et al., "Unsupervised Co-part Segmentation through Assembly", ICML 2021, in a `fast` form: a slim encoder,
translation by soft-argmax, and an ellipse gate that ties each part's mask to its pose.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamparts.models.layers import (
    Affine,
    ConvBlock,
    DoublingConv,
    UNet,
    assemble_image,
    enlarge,
    has_bfloat16,
    image_grid,
    part_masks,
    some_channels,
    squared_norms,
    warp,
)
from streamparts.models.pose_head import PoseHead


@dataclass(frozen=True)
class AssemblyConfig:
    """The shape of the network, saved with its weights."""

    num_parts: int = 16
    """K, without the background; more than the subject has, because unused and welded slots are merged after
    training."""
    image_size: int = 64
    """Side of the square input in pixels, a multiple of 32."""
    latent_channels: int = 12
    """C of the part latents V_k at a quarter of the image's side."""
    widths: tuple[int, ...] = (24, 48, 96, 128, 160)
    """Encoder channels at strides 2, 4, 8, 16, 32."""
    feature_channels: int = 64
    """Encoder output channels at stride 4."""
    decoder_width: int = 32
    """Decoder channels at stride 4."""
    soft_argmax: bool = True
    """True: a part's position is the soft-argmax of a heat map; False: it is regressed from the whole image, as in the
    paper."""


class Encoding(NamedTuple):
    """Output of the encoder E for an image."""

    parts: Tensor
    """(B, K, C, h, w) latents V_k."""
    background: Tensor
    """(B, 1, C, h, w) latent V_0."""
    affine: Affine
    """T_k: canonical -> image."""

    def select(self, rows: slice) -> Encoding:
        return Encoding(self.parts[rows], self.background[rows], Affine(*(x[rows] for x in self.affine)))


class Decoding(NamedTuple):
    """Output of the decoder D for part latents."""

    image: Tensor
    """(B, 3, S, S) assembled image, sum_k M_k * P_k."""
    masks: Tensor
    """(B, 1 + K, S, S), background first, summing to 1: Eq. 3."""
    part_images: Tensor
    """(B, 1 + K, 3, S, S) appearance P_k of each slot."""


class NetworkConfig(Protocol):
    """Shape fields shared by all forms of the network."""

    @property
    def num_parts(self) -> int: ...

    @property
    def image_size(self) -> int: ...


class Decoder(nn.Module, ABC):
    """D: latents (N, C, h, w) -> colours (N, 3, S, S) and depth logits (N, 1, S, S); N counts every slot of every
    image, each decoded separately."""

    @abstractmethod
    def depth(self, latents: Tensor) -> Tensor:
        """Only the depth logits, if colours are not needed."""


class PartNetwork(nn.Module, ABC):
    """An encoder E, a decoder D shared by all slots, and the assembly between them. This network is trained, its slots
    are merged, and it teaches the student. Images are (B, 3, S, S) RGB in [0, 1]."""

    config: NetworkConfig
    decoder: Decoder

    @abstractmethod
    def encode(self, images: Tensor) -> Encoding:
        """Latents and poses of the parts in `images`."""

    def canonical(self, encoding: Encoding) -> Tensor:
        """(B, K, C, h, w) canonical latents V*_k = T_k^-1 V_k."""
        # to sample V*_k at p is to read V_k at T_k p
        return warp(encoding.parts, encoding.affine.matrix())

    def assemble(self, canonical: Tensor, background: Tensor, affine: Affine, gate: float | Tensor) -> Decoding:
        """Move canonical parts by `affine`, decode all in one batch, blend by depth (Eq. 3).

        `gate` > 0 lowers a part's depth logit outside its ellipse by gate * (|T^-1 u|^2 - 1), at most 12, which keeps a
        mask at its pose; 0 is the paper's assembly.
        """
        inverse = affine.inverse_matrix()
        # (B (1 + K), 3, S, S) and (B (1 + K), 1, S, S): each slot is decoded by itself
        colours, depth = self.decoder(_placed(canonical, background, inverse))
        masks = self._masks(depth, inverse, gate)
        part_images = colours.reshape(*masks.shape[:2], *colours.shape[1:])
        return Decoding(assemble_image(masks, part_images), masks, part_images)

    def _masks(self, depth: Tensor, inverse: Tensor, gate: float | Tensor) -> Tensor:
        """Depth logits (B * (1 + K), 1, S, S) -> masks (B, 1 + K, S, S)."""
        size = self.config.image_size
        depth = depth.reshape(inverse.shape[0], -1, size, size)
        if isinstance(gate, Tensor) or gate > 0:
            # (B, K, S S): -gate (|T^-1 u|^2 - 1), which is 0 on the ellipse's outline
            lowered = (squared_norms(inverse, image_grid(size, size, inverse.device)) - 1).mul(-gate).clamp(-12, 0)
            # the padding puts a 0 before the parts: the background is not gated
            depth = depth + F.pad(lowered.reshape(*lowered.shape[:2], size, size), (0, 0, 0, 0, 1, 0))
        return part_masks(depth)

    def forward(self, images: Tensor, gate: float = 0.0) -> tuple[Tensor, Affine]:
        """Segment single images: masks of the recovered parts (B, 1 + K, S, S), and their poses."""
        encoding = self.encode(images)
        inverse = encoding.affine.inverse_matrix()
        latents = _placed(self.canonical(encoding), encoding.background, inverse)
        return self._masks(self.decoder.depth(latents), inverse, gate), encoding.affine


def _placed(canonical: Tensor, background: Tensor, inverse: Tensor) -> Tensor:
    """(B * (1 + K), C, h, w) latents of every slot of every image, moved by its pose, background first."""
    # V_k = T_k V*_k: sampling needs the inverse, image -> canonical
    return torch.cat([background, warp(canonical, inverse)], dim=1).flatten(0, 1)


class PartDecoder(Decoder):
    """(N, C, S/4, S/4) -> (N, 4, S, S): RGB and a depth logit, shared by all parts and background.

    The first three latent channels are the coarse colours: they are added to the output, so that the image is roughly
    right from the first steps and poses learn early. The last upsampling is a pixel shuffle: no layer works at full
    resolution. In training, these layers run in bfloat16 if the machine supports it, because they take most of the
    time.
    """

    def __init__(self, latent_channels: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(latent_channels, width, 3, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            DoublingConv(width, width * 3 // 4),
            nn.LeakyReLU(0.2, inplace=True),
        )
        self.last, self.shuffle = nn.Conv2d(width * 3 // 4, 16, 3, padding=1), nn.PixelShuffle(2)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Colours (N, 3, S, S), unbounded, and depth logits (N, 1, S, S)."""
        device = latents.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.training and has_bfloat16(device)):
            decoded = self.shuffle(self.last(self.layers(latents)).contiguous())  # contiguous by plane, as it is used
        colours, depth = decoded.float().split((3, 1), dim=1)
        # coarse colours from stride 4 plus the decoder's details
        return colours + enlarge(latents[:, :3], 4), depth

    def depth(self, latents: Tensor) -> Tensor:
        depth: Tensor = self.shuffle(some_channels(self.last, self.layers(latents), slice(-4, None)).contiguous())
        return depth.float()


class Assembly(PartNetwork):
    """The `fast` form, used with the ellipse gate."""

    config: AssemblyConfig

    def __init__(self, config: AssemblyConfig) -> None:
        super().__init__()
        if config.image_size % 32:
            raise ValueError(f"image_size must be a multiple of 32, got {config.image_size}")
        self.config = config
        k, c = config.num_parts, config.latent_channels
        self.encoder = UNet(config.widths, config.feature_channels)
        self.refine = ConvBlock(config.feature_channels, config.feature_channels)
        self.latents = nn.Conv2d(config.feature_channels + 48, (k + 1) * c, 1)
        self.pose = PoseHead(k, config.feature_channels, config.widths[-1], soft_argmax=config.soft_argmax)
        self.decoder = PartDecoder(c, config.decoder_width)

    def encode(self, images: Tensor) -> Encoding:
        features, _, summary = self.encoder(images)
        c = self.config.latent_channels
        # (B, 48, S/4, S/4): the image itself at stride 4, 4 x 4 pixels of 3 colours as channels
        pixels = F.pixel_unshuffle(images, 4)
        maps: Tensor = self.latents(torch.cat([self.refine(features), pixels], dim=1))
        # (B, 1 + K, C, S/4, S/4), slot 0 is the background
        latents = maps.reshape(maps.shape[0], -1, c, *maps.shape[-2:])
        return Encoding(latents[:, 1:], latents[:, :1], self.pose(features, summary))

    def forward(self, images: Tensor, gate: float = 3.0) -> tuple[Tensor, Affine]:
        return super().forward(images, gate)
