"""Pretrained weights of ResNet-50 or SqueezeNet for SCOPS's backbone."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from streamparts.errors import StreampartsError
from streamparts.models.resnet import ResNet50
from streamparts.models.scops import FastBackbone, Scops
from streamparts.models.squeezenet import SqueezeNet

from .perceptual import CAFFE_MEAN, RGB_MEAN, RGB_STD, download, download_squeezenet, read_npz

RESNET_URL = "https://download.pytorch.org/models/resnet50-0676ba61.pth"
"""torchvision's ResNet-50 weights, trained on ImageNet; the name contains the checksum."""


def load_backbone(network: Scops, source: str | Path) -> tuple[str, ...]:
    """Load the backbone of `network` from a source, and return the names of the layers that keep their initial weights.

    "scratch" loads nothing; "torchvision" is its ResNet-50 or SqueezeNet 1.1, downloaded once; anything else is a .npz
    or .safetensors file with layer names as in streamparts.models.resnet or squeezenet, complete or not. The images'
    `mean` and `std`, RGB in [0, 255], also come from the file, or are ImageNet's usual ones; a SqueezeNet file without
    them is assumed to be Caffe's, for BGR images.

    torchvision's blocks have their stride in the 3x3 convolution, this network in the 1x1 before it. The tensors are
    the same, but in the first block of layer2, the only one with a stride, the 3x3 sees every second position instead
    of each one. Its results differ there, and training must compensate.

    A file with norms folded into `<layer>.bias` gives norms that change nothing while their statistics are fixed: train
    it with freeze_norms(statistics=True). Raises StreampartsError with a one-line message.
    """
    backbone = network.backbone
    if source == "scratch":
        return _layers(backbone)
    if isinstance(backbone, FastBackbone):
        raise StreampartsError(
            f"the fast backbone learns from scratch; {source} is for squeezenet, resnet50 and resnet50-half"
        )
    kind, arranged = ("ResNet-50", _unfolded) if isinstance(backbone, ResNet50) else ("SqueezeNet 1.1", _in_rgb)
    if source == "torchvision":
        weights = download(kind, RESNET_URL) if kind == "ResNet-50" else download_squeezenet()
    else:
        weights = _read(Path(source))
    try:
        return _fill(backbone, arranged(weights))
    except (ValueError, KeyError) as error:
        raise StreampartsError(f"{source} does not contain the weights of {kind}: {error.args[0]}") from error


def _in_rgb(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return SqueezeNet's weights without the classifier; Caffe's BGR weights are converted to RGB."""
    out = {name: value for name, value in weights.items() if not name.startswith("conv10.")}
    if "mean" not in out and "conv1.weight" in out:
        out |= {
            "mean": torch.tensor(CAFFE_MEAN).flip(0),
            "std": torch.ones(3),
            "conv1.weight": out["conv1.weight"].flip(1),
        }
    return out


def _usual_scaling() -> dict[str, Tensor]:
    return {"mean": 255 * torch.tensor(RGB_MEAN), "std": 255 * torch.tensor(RGB_STD)}


def _read(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file as float32."""
    if path.suffix not in (".npz", ".safetensors"):
        raise StreampartsError(f'{path} is not "torchvision", "scratch", a .npz or a .safetensors file of weights')
    try:
        tensors = read_npz(path) if path.suffix == ".npz" else safetensors.torch.load_file(path)
    except FileNotFoundError as error:
        raise StreampartsError(
            f'no weights file at {path}; "torchvision" downloads one, "scratch" needs none'
        ) from error
    except (OSError, ValueError, SafetensorError, zipfile.BadZipFile, zlib.error) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StreampartsError(f"{path} is not a weights file: {reason}") from error
    return {name: value.float() for name, value in tensors.items()}


def _unfolded(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn the bias of a folded convolution into that of a norm with no other effect."""
    out = {name: value for name, value in weights.items() if not name.startswith("fc.")}
    for name in weights:
        layer, _, part = name.rpartition(".")
        if part == "bias" and f"{layer}.weight" in weights and weights[f"{layer}.weight"].ndim == 4:
            bias, norm = out.pop(name), _norm_of(layer)
            one = torch.ones_like(bias)
            # running_var + eps is 1 then
            fresh = {"weight": one, "bias": bias, "running_mean": 0 * one, "running_var": one - 1e-5}
            out |= {f"{norm}.{key}": value for key, value in fresh.items()}
    return out


def _norm_of(convolution: str) -> str:
    """layer1.0.conv2 -> layer1.0.bn2, layer1.0.downsample.0 -> layer1.0.downsample.1."""
    if convolution.endswith("downsample.0"):
        return f"{convolution[:-1]}1"
    return convolution.replace("conv", "bn")


def _fill(backbone: ResNet50 | SqueezeNet, weights: dict[str, Tensor]) -> tuple[str, ...]:
    """Copy tensors by name and shape. Raises ValueError for an unexpected tensor, KeyError if the first layer is
    missing."""
    if "conv1.weight" not in weights:
        raise KeyError("it has no conv1.weight")
    weights = {**_usual_scaling(), **weights}
    own = backbone.state_dict()
    for name, value in weights.items():
        if name not in own:
            raise ValueError(f"it has {name}, but the network does not")
        if own[name].shape != value.shape:
            raise ValueError(f"its {name} is {tuple(value.shape)}, but the network's is {tuple(own[name].shape)}")
        if not value.isfinite().all():
            raise ValueError(f"its {name} is not finite")
    backbone.load_state_dict(weights, strict=False)
    return tuple(layer for layer in _layers(backbone) if f"{layer}.weight" not in weights)


def _layers(module: torch.nn.Module) -> tuple[str, ...]:
    """Return the names of all layers in `module` that have weights."""
    return tuple(name.removesuffix(".weight") for name, _ in module.named_parameters() if name.endswith(".weight"))
