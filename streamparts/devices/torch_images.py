"""Frames in a GPU's memory: resized there, so that a small picture is copied instead of a large one, or none at all."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from streamparts.arrays import ByteArray
from streamparts.errors import MissingExtraError
from streamparts.geometry import Letterbox, Region

try:
    import torch
    from torch import Tensor
    from torch.utils.dlpack import from_dlpack
except ImportError as missing:
    raise MissingExtraError(
        f"frames in a GPU's memory need torch ({missing}); pip install 'streamparts[train]'"
    ) from missing

KEPT_WEIGHTS = 16
"""Pairs of sizes whose weights are kept: a stream has one, a followed subject a few."""


class TorchImage:
    """An (H, W, 3) uint8 RGB image on a device; see data.DeviceImage."""

    def __init__(self, tensor: Tensor) -> None:
        """Raises ValueError for another shape or type."""
        if tensor.dim() != 3 or tensor.shape[2] != 3 or tensor.dtype != torch.uint8:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ValueError(f"image must be an (H, W, 3) uint8 array, got {kind} {tuple(tensor.shape)}")
        self.tensor = tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        height, width, _ = self.tensor.shape
        return height, width, 3

    def turned(self, degrees: int) -> TorchImage:
        """The image rotated counter-clockwise by 0, 90, 180 or 270 degrees."""
        return TorchImage(torch.rot90(self.tensor, degrees // 90)) if degrees else self

    def scaled(self, size_hw: tuple[int, int], crop: Region | None = None) -> ByteArray:
        """(h, w, 3) in the host's memory: the image, or a crop in whole pixels, scaled on the device."""
        return np.asarray(self._scaled(size_hw, crop).cpu().numpy(), np.uint8)

    def fitted(self, letterbox: Letterbox) -> TorchImage:
        """The network's input, on the device."""
        inner = self._scaled(letterbox.inner_hw, letterbox.crop)
        if letterbox.inner_hw == letterbox.model_hw:
            return TorchImage(inner)
        canvas = torch.zeros((*letterbox.model_hw, 3), dtype=torch.uint8, device=inner.device)
        canvas[letterbox.inner_slices] = inner
        return TorchImage(canvas)

    def _scaled(self, size_hw: tuple[int, int], crop: Region | None) -> Tensor:
        image = self.tensor
        if crop is not None:
            left, top, width, height = (round(value) for value in crop)
            image = image[top : top + height, left : left + width]
        if image.shape[:2] == size_hw:
            return image
        shrinks = size_hw[0] < image.shape[0] or size_hw[1] < image.shape[1]
        down, across = (
            axis_weights(given, wanted, shrinks, image.device)
            for given, wanted in zip(image.shape[:2], size_hw, strict=True)
        )
        rows = torch.einsum("hy,yxc->hxc", down, image.float())
        return torch.einsum("wx,hxc->hwc", across, rows).round().clamp(0, 255).to(torch.uint8)


@lru_cache(KEPT_WEIGHTS)
def axis_weights(given: int, wanted: int, shrinks: bool, device: torch.device) -> Tensor:
    """(wanted, given) share of each given pixel in each wanted one, along an axis; rows sum to 1. Made on the device:
    they are larger than the picture.

    Where the image `shrinks`, a pixel is the mean over the area it covers, as in sources.rescale; else the value
    between the two nearest centres.
    """
    scale = given / wanted
    pixels = torch.arange(given, device=device, dtype=torch.float64)
    places = torch.arange(wanted, device=device, dtype=torch.float64)[:, None]
    if shrinks:
        # the part of [p, p + 1) inside [w s, (w + 1) s), of which a wanted pixel covers s
        inside = torch.minimum((places + 1) * scale, pixels + 1) - torch.maximum(places * scale, pixels)
        return (inside.clamp(min=0) / scale).float()
    centres = ((places + 0.5) * scale - 0.5).clamp(0, given - 1)
    return (1 - (centres - pixels).abs()).clamp(min=0).float()


def on_device(image: object) -> TorchImage:
    """The image behind a DLPack object on a GPU, without a copy. Raises ValueError for another shape or type."""
    return TorchImage(image if isinstance(image, Tensor) else from_dlpack(image))


def copy_of(image: object) -> TorchImage:
    """The same in memory of its own."""
    return TorchImage(on_device(image).tensor.clone())


def missing_cuda() -> str | None:
    """Return None if torch can use an NVIDIA GPU here, else the reason."""
    return None if torch.cuda.is_available() else "this torch was built without CUDA, or for a newer driver"
