"""The semantic features V of Hung et al., CVPR 2019: what a network trained to classify knows of parts.

The paper's are relu5_2 and relu5_4 of VGG-19. They stay at their own grid, a cell for each 16 pixels: at full size they
would need 256 times the memory and hold nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamparts.errors import StreampartsError
from train.perceptual import ALL_VGG_BLOCKS, FeatureNetwork, ResNet50, SqueezeNet, Vgg, open_network

STRIDE = 16
"""Pixels per cell of V along x and y."""


class SemanticFeatures(nn.Module):
    """Images (B, 3, S, S), RGB in [0, 1] -> V (B, C, S/16, S/16) >= 0: the named layers of a fixed network, one behind
    the other, finer ones brought to the coarse grid by area averaging."""

    def __init__(self, network: FeatureNetwork, layers: Sequence[str], margin: int = 0) -> None:
        """`margin` pixels of repeated border are put around a picture, for a network that pads nothing itself."""
        super().__init__()
        self.network, self.layers, self.margin = network, tuple(layers), margin

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if height % STRIDE or width % STRIDE:
            raise ValueError(f"the sides of a picture must be multiples of {STRIDE}, got {height} x {width}")
        with torch.no_grad():
            if self.margin:
                images = F.pad(images, (self.margin,) * 4, mode="replicate")
            found = self.network.layers(images, self.layers)
            cells = (height // STRIDE, width // STRIDE)
            return torch.cat([_to_grid(found[name], cells) for name in self.layers], dim=1)


def _to_grid(features: Tensor, cells: tuple[int, int]) -> Tensor:
    return features if features.shape[-2:] == cells else F.interpolate(features, cells, mode="area")


def load_semantic(source: str | Path = "torchvision") -> SemanticFeatures:
    """V from "torchvision" (its VGG-19, downloaded once), a .npz file of train.perceptual, or, by this name alone,
    "random" (VGG-19 without training). Raises StreampartsError.

    Cells lie where the picture's 16 x 16 pixels do, to a tenth of a cell (ResNet-50 a seventh). The paper's weight of
    Eq. 4 is meant for VGG-19, and the term goes with the square of V: on 40 photos of horses its mean is 2.5 with the
    file of a VGG whose features have mean 1, 530 with Caffe's SqueezeNet 1.1, 0.026 with ResNet-50 and 1.7 at random;
    torchvision's was not measured.
    """
    network = open_network(source, ALL_VGG_BLOCKS)
    if isinstance(network, Vgg) and network.has("conv5_4"):
        return SemanticFeatures(network, ("relu5_2", "relu5_4")).eval()
    if isinstance(network, Vgg) and network.has("conv5_1"):
        return SemanticFeatures(network, ("relu4_1", "relu5_1")).eval()
    if isinstance(network, SqueezeNet):
        return SemanticFeatures(network, ("fire8", "fire9"), margin=8).eval()
    if isinstance(network, ResNet50):
        return SemanticFeatures(network, ("layer3.5",)).eval()
    raise StreampartsError(f"{source} ends before conv5_1: its features say little of parts")
