"""Checks of input and model that all backends share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamparts.arrays import ByteArray
from streamparts.errors import ModelError

if TYPE_CHECKING:
    from streamparts.bundle.load import Bundle


def require_images(images: ByteArray, bundle: Bundle) -> ByteArray:
    """Return contiguous `images`. Raises ModelError unless they fit `bundle`'s network: some backends do not complain,
    but compute something else."""
    height, width = bundle.spec.input_hw
    fits = images.dtype == np.uint8 and images.ndim == 4 and images.shape[1:] == (height, width, 3)
    if not fits or len(images) == 0:
        raise ModelError(
            f"{bundle.path.name} takes uint8 images of shape (N, {height}, {width}, 3), got {images.dtype} "
            f"{images.shape}"
        )
    return np.ascontiguousarray(images)


def unbuildable(bundle: Bundle) -> str | None:
    """Return None if the bundle describes its network well enough to build it in PyTorch, else the reason and a
    remedy."""
    if not bundle.spec.network:
        return "the model file does not describe its network; export it again"
    if bundle.spec.precision != "fp32":
        return f"torch runs fp32 models, this one is {bundle.spec.precision}; use the fp32 model"
    return None


def one_line(error: Exception) -> str:
    """Shorten a backend's error message, which may fill pages, to one line."""
    return " ".join(str(error).split())[:200]
