"""The perceptual term of Eq. 5 of Gao et al. 2021: differences between the features of a fixed, pretrained network.

The paper's features are relu1_1 to relu5_1 of VGG-19. If its weights are not available, use a .npz file of another
network: arrays `<layer>.weight` (O, I, h, w) and `<layer>.bias` (O,), with layer names as in the classes below.

torchvision's graphs do not fit such files: a VGG of any width with 1x1 layers around it, Caffe's strides and paddings,
normalisations folded into convolutions. Nor do they end at the last layer that a loss asks for.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamparts.errors import StreampartsError

STRIDE_WEIGHTS = {1: 1 / 32, 2: 1 / 16, 4: 1 / 8, 8: 1 / 4, 16: 1.0}
"""Weight of the features by stride; in VGG-19 relu1_1, relu2_1, relu3_1, relu4_1, relu5_1."""

VGG_BLOCKS = (2, 2, 4, 4, 1)
"""Convolutions between the pooling layers of VGG-19, up to conv5_1, the last one that the perceptual term uses."""
ALL_VGG_BLOCKS = (2, 2, 4, 4, 4)
"""The same, up to the last one, conv5_4."""
VGG_WIDTHS = (64, 128, 256, 512, 512)
VGG_URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
SQUEEZENET_URL = "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth"
"""torchvision's weights, trained on ImageNet; the names contain the checksums."""
FIRE_PLACES = {3: 2, 4: 3, 6: 4, 7: 5, 9: 6, 10: 7, 11: 8, 12: 9}
"""Indices of fire2 to fire9 in torchvision's SqueezeNet 1.1."""

RGB_MEAN, RGB_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's statistics, for values in [0, 1]."""
CAFFE_MEAN = (104.0, 117.0, 123.0)
"""ImageNet's mean, for BGR values in [0, 255]."""

Weights = Mapping[str, Tensor]
Padding = Literal["reflect", "constant"]


class FeatureNetwork(nn.Module):
    """Maps images (B, 3, H, W), RGB in [0, 1], to features, each after its ReLU: by stride, at most one map per entry
    of STRIDE_WEIGHTS, or by layer. Its weights are buffers and never trained."""

    strides: ClassVar[Mapping[str, int]]
    """Layers that represent their stride."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        for name, value in weights.items():
            self.register_buffer(name.replace(".", "/"), value.float())

    def walk(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield each layer's name and features, from first to last. A layer is computed on demand."""
        raise NotImplementedError

    def layers(self, images: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """Return the features of the named layers that exist; nothing after the last of them is computed."""
        found: dict[str, Tensor] = {}
        for name, features in self.walk(images):
            if name in names:
                found[name] = features
            if len(found) == len(names):
                break
        return found

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        return {self.strides[name]: features for name, features in self.layers(images, self.strides).items()}

    def has(self, layer: str) -> bool:
        return f"{layer}/weight".replace(".", "/") in self._buffers

    def convolve(self, layer: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        weight, bias = (self.get_buffer(f"{layer}.{part}".replace(".", "/")) for part in ("weight", "bias"))
        return F.conv2d(x, weight, bias, stride, padding)


class Vgg(FeatureNetwork):
    """VGG-19 of any width, with as many layers as the file has: conv0 (1x1, the scaling of the input) and conv1_1 to
    conv5_4, with features named relu1_1 to relu5_4. A layer convX_1_aux (1x1) expands slim features to the full
    network's channels."""

    strides: ClassVar[Mapping[str, int]] = {f"relu{block + 1}_1": 2**block for block in range(len(VGG_BLOCKS))}

    def __init__(self, weights: Weights, padding: Padding) -> None:
        super().__init__(weights)
        self.padding = padding

    def walk(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        x = self.convolve("conv0", images)
        for block, count in enumerate(ALL_VGG_BLOCKS, start=1):
            for name in (f"{block}_{i + 1}" for i in range(count)):
                layer = f"conv{name}"
                if not self.has(layer):
                    return
                if block > 1 and name.endswith("_1"):
                    x = F.max_pool2d(x, 2)
                x = F.relu(self.convolve(layer, F.pad(x, (1, 1, 1, 1), mode=self.padding)))
                yield f"relu{name}", F.relu(self.convolve(f"{layer}_aux", x)) if self.has(f"{layer}_aux") else x


class SqueezeNet(FeatureNetwork):
    """SqueezeNet 1.1 of the Caffe model: conv1 and fire2 to fire9."""

    strides: ClassVar[Mapping[str, int]] = {"conv1": 2, "fire3": 4, "fire5": 8, "fire9": 16}

    def walk(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        x = images.flip(1) * 255 - torch.tensor(CAFFE_MEAN, device=images.device)[:, None, None]
        x = F.relu(self.convolve("conv1", x, stride=2))
        yield "conv1", x
        for fires in ((2, 3), (4, 5), (6, 7, 8, 9)):
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
            for index in fires:
                x = self._fire(f"fire{index}", x)
                yield f"fire{index}", x

    def _fire(self, layer: str, x: Tensor) -> Tensor:
        x = F.relu(self.convolve(f"{layer}.squeeze1x1", x))
        both = [self.convolve(f"{layer}.expand1x1", x), self.convolve(f"{layer}.expand3x3", x, padding=1)]
        return F.relu(torch.cat(both, dim=1))


class ResNet50(FeatureNetwork):
    """ResNet-50 with BatchNorms folded into its convolutions, and each block's stride in its first one: conv1 and
    layer1.0 to layer3.5."""

    strides: ClassVar[Mapping[str, int]] = {"conv1": 2, "layer1.2": 4, "layer2.3": 8, "layer3.5": 16}

    def walk(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        mean, std = (torch.tensor(value, device=images.device)[:, None, None] for value in (RGB_MEAN, RGB_STD))
        x = F.relu(self.convolve("conv1", (images - mean) / std, stride=2, padding=3))
        yield "conv1", x
        x = F.max_pool2d(F.pad(x, (0, 1, 0, 1)), 3, 2)
        for layer, count in enumerate((3, 4, 6), start=1):
            for block in range(count):
                x = self._bottleneck(f"layer{layer}.{block}", x, 2 if layer > 1 and block == 0 else 1)
                yield f"layer{layer}.{block}", x

    def _bottleneck(self, block: str, x: Tensor, stride: int) -> Tensor:
        y = F.relu(self.convolve(f"{block}.conv1", x, stride))
        y = F.relu(self.convolve(f"{block}.conv2", y, padding=1))
        aside = f"{block}.downsample.0"
        return F.relu(self.convolve(f"{block}.conv3", y) + (self.convolve(aside, x, stride) if self.has(aside) else x))


class Perceptual(nn.Module):
    """|phi(I) - phi(I')| of Eq. 5: the weighted sum over strides of the features' mean absolute differences. Of several
    networks, the first that has a stride provides its features. Only the prediction gets gradients."""

    def __init__(self, networks: Sequence[FeatureNetwork]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def features(self, images: Tensor) -> dict[int, Tensor]:
        found: dict[int, Tensor] = {}
        for network in self.networks:
            found = network(images) | found
        return found

    def forward(self, predicted: Tensor, image: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.features(image)
        given = self.features(predicted)
        differences = [STRIDE_WEIGHTS[stride] * (given[stride] - wanted[stride]).abs().mean() for stride in wanted]
        return torch.stack(differences).sum()


def load_perceptual(*sources: str | Path) -> Perceptual:
    """Load the perceptual term with features from each source: "torchvision" (its VGG-19, 550 MB, downloaded once),
    "squeezenet" (torchvision's SqueezeNet 1.1, 5 MB), "random" (untrained VGG-19), or a .npz file. Raises
    StreampartsError.

    The paper's weight is meant for VGG-19. Between two photos, the term is about 2 for the file of a VGG whose features
    have mean 1, 0.6 for random weights, 20 for Caffe's SqueezeNet 1.1 and 0.2 for ResNet-50.
    """
    if not sources:
        raise ValueError("give at least one source of features")
    return Perceptual([open_network(source) for source in sources]).eval()


def open_network(source: str | Path, blocks: Sequence[int] = VGG_BLOCKS) -> FeatureNetwork:
    """Open "torchvision", "squeezenet", "random" or a .npz file, see `load_perceptual`; of VGG-19, the layers in
    `blocks`."""
    if source == "torchvision":
        return Vgg(_with_scaling(_download_vgg(blocks)), "constant")
    if source == "squeezenet":
        return SqueezeNet(download_squeezenet())
    if source == "random":
        return Vgg(_with_scaling(random_vgg(torch.Generator().manual_seed(0), blocks=blocks)), "constant")
    return load_features(Path(source))


def load_features(path: Path) -> FeatureNetwork:
    """Load the network in a .npz file, identified by the names of its layers. Raises StreampartsError with a one-line
    message."""
    try:
        network = _network_of(read_npz(path))
        maps = network(torch.full((1, 3, 64, 64), 0.5))
    except FileNotFoundError as error:
        raise StreampartsError(f"no features file at {path}") from error
    except (OSError, ValueError, KeyError, AttributeError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StreampartsError(f"{path} is not a features file: {reason}") from error
    if not all(value.isfinite().all() for value in maps.values()):
        raise StreampartsError(f"{path} gives features that are not finite")
    return network


def read_npz(path: Path) -> dict[str, Tensor]:
    """The arrays of a .npz file as float32. Raises OSError, ValueError, BadZipFile or zlib.error."""
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError("it is not a .npz file")
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name].astype(np.float32)) for name in arrays.files}


def _network_of(weights: Weights) -> FeatureNetwork:
    if "conv1_1.weight" in weights:
        return Vgg(weights, "reflect")
    if "fire2.squeeze1x1.weight" in weights:
        return SqueezeNet(weights)
    if "layer1.0.conv1.weight" in weights:
        return ResNet50(weights)
    raise ValueError("its layers are not those of VGG-19, SqueezeNet 1.1 or ResNet-50")


def download(name: str, url: str) -> dict[str, Tensor]:
    """Load weights from torch's cache or the network, verified by the hash in their name. Raises StreampartsError."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    try:
        saved = torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StreampartsError(
            f"{name} could not be downloaded ({reason}): put {url} into {folder}, or give a .npz file of features"
        ) from error
    return saved


def _download_vgg(blocks: Sequence[int]) -> dict[str, Tensor]:
    """The layers in `blocks` of torchvision's VGG-19."""
    saved = download("VGG-19", VGG_URL)
    weights, index = {}, 0
    for block, count in enumerate(blocks):
        for i in range(count):
            for part in ("weight", "bias"):
                weights[f"conv{block + 1}_{i + 1}.{part}"] = saved[f"features.{index}.{part}"]
            index += 2
        index += 1
    return weights


def download_squeezenet() -> dict[str, Tensor]:
    """Load torchvision's SqueezeNet 1.1 without its classifier, with Caffe's names and for Caffe's images: BGR in [0,
    255] minus CAFFE_MEAN, where torchvision's are RGB in [0, 1] normalised by RGB_MEAN and RGB_STD."""
    weights = {}
    for name, value in download("SqueezeNet 1.1", SQUEEZENET_URL).items():
        kind, place, *rest = name.split(".")
        if kind == "features":
            layer = "conv1" if place == "0" else f"fire{FIRE_PLACES[int(place)]}"
            weights[".".join([layer, *rest]).replace(".squeeze.", ".squeeze1x1.")] = value
    mean, std = torch.tensor(RGB_MEAN), torch.tensor(RGB_STD)
    shift = (torch.tensor(CAFFE_MEAN).flip(0) / 255 - mean) / std
    first = weights["conv1.weight"]
    weights["conv1.bias"] = weights["conv1.bias"] + (first * shift[:, None, None]).sum((1, 2, 3))
    weights["conv1.weight"] = (first / (255 * std)[:, None, None]).flip(1)
    return weights


def random_vgg(
    generator: torch.Generator, widths: Sequence[int] = VGG_WIDTHS, blocks: Sequence[int] = VGG_BLOCKS
) -> dict[str, Tensor]:
    """Random weights of an untrained VGG-19, scaled so that features keep their size from layer to layer."""
    weights, channels = {}, 3
    for block, (count, width) in enumerate(zip(blocks, widths, strict=True)):
        for i in range(count):
            layer, deviation = f"conv{block + 1}_{i + 1}", math.sqrt(2 / (9 * channels))
            weights[f"{layer}.weight"] = deviation * torch.randn(width, channels, 3, 3, generator=generator)
            weights[f"{layer}.bias"] = torch.zeros(width)
            channels = width
    return weights


def _with_scaling(weights: Weights) -> dict[str, Tensor]:
    """Add the conv0 that subtracts ImageNet's mean and divides by its deviation."""
    mean, std = torch.tensor(RGB_MEAN), torch.tensor(RGB_STD)
    return {**weights, "conv0.weight": std.reciprocal().diag()[:, :, None, None], "conv0.bias": -mean / std}
