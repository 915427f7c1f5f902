"""The semantic features V of Hung et al., CVPR 2019: features of a network pretrained for classification.

The paper uses relu5_2 and relu5_4 of VGG-19. They keep their own grid, one cell per 16 pixels: at full size, they would
need 256 times the memory without more information.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn
from torch.nn import functional as F

from streamparts.errors import StreampartsError

from ..frames.spread import spread
from ..frames.transforms import to_images
from ..inputs.images import ImageFolder
from ..pretrained.perceptual import ALL_VGG_BLOCKS, FeatureNetwork, ResNet50, SqueezeNet, Vgg, open_network

STRIDE = 16
"""Pixels per cell of V along x and y."""
KEPT_BYTES = 2**30
"""V of a collection is kept in memory if it needs at most this many bytes."""


class SemanticFeatures(nn.Module):
    """Maps images (B, 3, S, S), RGB in [0, 1], to V (B, C, S/16, S/16) >= 0: the concatenated named layers of a fixed
    network, finer ones resized to the coarse grid by area averaging."""

    def __init__(self, network: FeatureNetwork, layers: Sequence[str], margin: int = 0) -> None:
        """`margin` pixels of replicated border are added around an image, for a network without padding."""
        super().__init__()
        self.network, self.layers, self.margin = network, tuple(layers), margin

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if height % STRIDE or width % STRIDE:
            raise ValueError(f"the sides of an image must be multiples of {STRIDE}, got {height} x {width}")
        with torch.no_grad():
            if self.margin:
                images = F.pad(images, (self.margin,) * 4, mode="replicate")
            # name -> (B, C_i, h_i, w_i), at the network's own strides
            found = self.network.layers(images, self.layers)
            cells = (height // STRIDE, width // STRIDE)
            return torch.cat([_to_grid(found[name], cells) for name in self.layers], dim=1)


class CollectionFeatures:
    """V of the images of a collection, by their indices.

    V is computed from unperturbed images. For a small collection, it is computed once, in half precision; if V needs
    more than `budget` bytes, it is computed on demand. In both cases it is divided by its root mean square over images
    spread over the collection, so that weights have the same meaning for every network.
    """

    def __init__(
        self,
        semantic: SemanticFeatures,
        folder: ImageFolder,
        pixels: int,
        device: torch.device,
        budget: int = KEPT_BYTES,
        num_measured: int = 32,
    ) -> None:
        """Images are first scaled to `pixels`, a multiple of STRIDE."""
        self.semantic, self.folder, self.pixels, self.device = semantic.to(device), folder, pixels, device
        self.kept: dict[int, Tensor] | None = {}
        # (num_measured, C, h, w)
        measured = torch.cat([self._computed([number]) for number in spread(len(folder), num_measured)])
        self.size = float(measured.square().mean().sqrt())
        self.channels = measured.shape[1]
        if 2 * measured[0].numel() * len(folder) > budget:
            self.kept = None

    def of(self, numbers: Sequence[int]) -> Tensor:
        """(B, C, pixels / STRIDE, pixels / STRIDE)"""
        if self.kept is None:
            return self._computed(numbers) / self.size
        for number in numbers:
            if number not in self.kept:  # one by one: the same to the last bit after a resume
                self.kept[number] = self._computed([number])[0].half()
        return torch.stack([self.kept[number] for number in numbers]).float() / self.size

    def _computed(self, numbers: Sequence[int]) -> Tensor:
        images = to_images(torch.from_numpy(self.folder.images[list(numbers)]).to(self.device))
        if images.shape[-1] != self.pixels:
            side = (self.pixels, self.pixels)
            images = F.interpolate(images, side, mode="bilinear", align_corners=False, antialias=True)
        features: Tensor = self.semantic(images)
        return features


def factorised_basis(features: Tensor, saliency: Tensor, num_parts: int, seed: int, max_cells: int = 20_000) -> Tensor:
    """Return the w_k (K, C) that minimise Eq. 4 for any R >= 0: non-negative matrix factorisation of D * V, as Collins,
    Achanta and Suesstrunk (ECCV 2018) use it on V. `features` are V (N, C, h, w), `saliency` (N, 1, h, w).

    Each factor is scaled so that its heat exceeds 1, the maximum of R_k, in one of twenty of the cells where it is the
    strongest. Parts initialised this way have a distinct meaning from the first step; with a random basis, one part
    tends to take everything.
    """
    # (N h w, C): D * V of Eq. 4, one row per cell
    cells = (features * saliency).permute(0, 2, 3, 1).flatten(0, 2)
    salient = cells[saliency.flatten() > 0].cpu().numpy()
    if len(salient) < num_parts:
        raise StreampartsError("these images have no salient pixels; is the folder of maps correct?")
    chosen = np.random.default_rng(seed).permutation(len(salient))[:max_cells]
    model = NMF(num_parts, init="nndsvda", max_iter=200, tol=1e-3, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a start needs no more iterations
        heat = model.fit_transform(salient[chosen])
    # (cells,) the strongest factor, and the 95th percentile of each factor where it is the strongest
    owner = heat.argmax(axis=1)
    tops = [np.percentile(heat[owner == k, k], 95) if (owner == k).any() else 1.0 for k in range(num_parts)]
    return torch.from_numpy(model.components_ * np.maximum(tops, 1e-6)[:, None]).to(features)


def _to_grid(features: Tensor, cells: tuple[int, int]) -> Tensor:
    return features if features.shape[-2:] == cells else F.interpolate(features, cells, mode="area")


def load_semantic(source: str | Path = "torchvision") -> SemanticFeatures:
    """Load V from "torchvision" (its VGG-19, downloaded once), "squeezenet" (its SqueezeNet 1.1), a .npz file of
    pretrained/perceptual.py, or, only by this name, "random" (untrained VGG-19). Raises StreampartsError.

    Cells are aligned with the image's 16 x 16 pixels to a tenth of a cell (ResNet-50: a seventh). The paper's weight of
    Eq. 4 is meant for VGG-19, and the term scales with the square of V: on 40 photos of horses, its mean is 2.5 for the
    file of a VGG whose features have mean 1, 530 for Caffe's SqueezeNet 1.1, 0.026 for ResNet-50 and 1.7 for random
    weights; torchvision's was not measured.
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
    raise StreampartsError(f"{source} ends before conv5_1: its features contain little about parts")
