"""Flow Capsules: an image as layered parts, each with a pose, a shape in its own frame, and a depth.

After Sabour, Tagliasacchi, Yazdani, Hinton and Fleet, "Unsupervised Part Representation by Flow Capsules", ICML 2021.
The capsule encoder and the shape decoder are deployed; the losses are in train/baselines/flow_capsules.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from streamparts.models.layers import Affine, ConvBlock, image_grid, transform_points
from streamparts.models.segmenter import Segmenter, require_multiple

ORDER = 10.0
"""Sharpness of the order of depth: of two shapes whose depths differ by 0.1, one hides 73 % of the other."""
NEAREST_SCALE, SCALE_RANGE = 0.1, 0.5
"""A capsule's scale is between the first and the sum of both, in normalised units."""


@dataclass(frozen=True)
class CapsulesConfig:
    """The shape of the network, saved with its weights."""

    num_parts: int = 10
    """K, without the background."""
    image_size: int = 64
    """Side of the square input in pixels, a multiple of 16."""
    widths: tuple[int, ...] = (24, 48, 96, 128)
    """Encoder channels at strides 2, 4, 8, 16."""
    shape_numbers: int = 8
    """Length of a capsule's shape vector."""
    decoder_width: int = 24
    """Width of the shape decoder's two hidden layers."""


class Capsules(NamedTuple):
    """The capsules of B images."""

    pose: Affine
    """(B, K) similarities, canonical -> image."""
    shape: Tensor
    """(B, K, N)"""
    depth: Tensor
    """(B, K) larger is nearer."""

    def select(self, rows: slice) -> Capsules:
        return Capsules(Affine(*(x[rows] for x in self.pose)), self.shape[rows], self.depth[rows])


def visible_masks(shapes: Tensor, depth: Tensor, order: float = ORDER) -> Tensor:
    """Layers: part k is visible where its shape (B, K, ...) is, and no nearer one: v_k = s_k prod over j other than k
    of (1 - sigmoid(order (d_j - d_k)) s_j). The product's limit for a large `order` is the strict order of depth. Where
    two shapes overlap and neither is clearly nearer, the share that both lose is divided in proportion, so that with
    the background prod_k (1 - s_k) the result (B, 1 + K, ...) sums to 1."""
    nearer = torch.sigmoid(order * (depth.unsqueeze(1) - depth.unsqueeze(2)))  # (B, k, j): j in front of k
    nearer = nearer * (1 - torch.eye(depth.shape[1], device=depth.device))
    flat = shapes.flatten(2)
    open_to = (1 - nearer.unsqueeze(-1) * flat.unsqueeze(1)).prod(dim=2)  # (B, K, pixels)
    visible = flat * open_to
    background = (1 - flat).prod(dim=1, keepdim=True)
    parts = visible / visible.sum(dim=1, keepdim=True).clamp(min=1e-6) * (1 - background)
    return torch.cat([background, parts], dim=1).reshape(-1, 1 + shapes.shape[1], *shapes.shape[2:])


class FlowCapsules(Segmenter):
    """Images (B, 3, S, S) RGB in [0, 1] -> Capsules and their masks."""

    config: CapsulesConfig

    def __init__(self, config: CapsulesConfig) -> None:
        super().__init__()
        require_multiple(config.image_size, 16)
        self.config = config
        widths, count = config.widths, config.num_parts
        cells = config.image_size // 16
        self.encoder = nn.Sequential(
            *(ConvBlock(a, b, stride=2) for a, b in pairwise((3, *widths))),
            ConvBlock(widths[-1], widths[-1] // 2),
            nn.Flatten(),
            nn.Linear(widths[-1] // 2 * cells**2, 192),
            nn.ReLU(),
        )
        self.capsules = nn.Linear(192, count * (6 + config.shape_numbers))
        # Spread over the image, or all capsules would begin as one.
        self.places = nn.Buffer(torch.rand(count, 2) * 1.2 - 0.6)
        inner = config.decoder_width
        self.decoder = nn.Sequential(
            nn.Linear(2 + config.shape_numbers, inner), nn.ReLU(), nn.Linear(inner, inner), nn.ReLU(),
            nn.Linear(inner, 1),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Capsules:
        raw = self.capsules(self.encoder(images - 0.5)).unflatten(1, (self.config.num_parts, -1))
        turn, rest = raw[..., :2], raw[..., 2:]
        rotation = turn + turn.new_tensor([1.0, 0.0])
        rotation = rotation / rotation.square().sum(-1, keepdim=True).add(1e-8).sqrt()
        scale = NEAREST_SCALE + SCALE_RANGE * torch.sigmoid(rest[..., :1] - 1)
        translation = torch.tanh(rest[..., 1:3] + torch.atanh(self.places))
        pose = Affine(rotation, scale.expand(*scale.shape[:-1], 2), translation)
        return Capsules(pose, rest[..., 4:], rest[..., 3])

    def shapes(self, capsules: Capsules, side: int) -> Tensor:
        """(B, K, side, side) in [0, 1]: the decoder's indicator of each shape at T_k^-1 u, for pixels u."""
        places = image_grid(side, side, capsules.shape.device)
        canonical = transform_points(capsules.pose.inverse_matrix(), places)  # (B, K, pixels, 2)
        code = capsules.shape.unsqueeze(2).expand(-1, -1, side * side, -1)
        # The last term keeps shapes around the middle of their frame: outside of two units there is nothing.
        logits = self.decoder(torch.cat([canonical, code], dim=-1)).squeeze(-1)
        inside = 4 * (1 - canonical.square().sum(-1))
        return torch.sigmoid((logits + inside).clamp(-12, 12)).reshape(-1, self.config.num_parts, side, side)

    def masks(self, images: Tensor) -> Tensor:
        capsules = self(images)
        return visible_masks(self.shapes(capsules, self.config.image_size), capsules.depth)
