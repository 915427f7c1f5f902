"""What every engine asks of its input and its model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamparts.arrays import ByteArray
from streamparts.errors import ModelError

if TYPE_CHECKING:
    from streamparts.bundle.load import Bundle


def require_images(images: ByteArray, bundle: Bundle) -> ByteArray:
    """`images` in one piece of memory. Raises ModelError unless they are what `bundle`'s network takes: not every
    engine complains, some compute something else."""
    height, width = bundle.spec.input_hw
    fits = images.dtype == np.uint8 and images.ndim == 4 and images.shape[1:] == (height, width, 3)
    if not fits or len(images) == 0:
        raise ModelError(
            f"{bundle.path.name} takes uint8 pictures of shape (N, {height}, {width}, 3), "
            f"got {images.dtype} {images.shape}"
        )
    return np.ascontiguousarray(images)


def unbuildable(bundle: Bundle) -> str | None:
    """None if the bundle says enough to build its network in PyTorch, else why not and what to do."""
    if not bundle.spec.network:
        return "the model file does not describe its network; export it again"
    if bundle.spec.precision != "fp32":
        return f"torch runs fp32 models, this one is {bundle.spec.precision}; take the fp32 one"
    return None


def one_line(error: Exception) -> str:
    """The message of an engine's error, which may fill pages."""
    return " ".join(str(error).split())[:200]
