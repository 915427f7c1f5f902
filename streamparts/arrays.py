"""Array types, and a check of shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]


def require_shape(name: str, array: NDArray[np.generic], shape: Sequence[int | None]) -> None:
    """Raise ValueError unless `array` has `shape`; None stands for any length."""
    fits = array.ndim == len(shape) and all(
        want is None or want == got for want, got in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise ValueError(f"{name} has shape {array.shape}, expected ({wanted})")
