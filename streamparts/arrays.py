"""Array types, a check of shapes, and a short repr."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

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


def short_repr(self: Any) -> str:
    """Return the repr of a dataclass, with arrays as dtype and shape. Use it as `__repr__`."""
    values = ((field.name, getattr(self, field.name)) for field in fields(self))
    return f"{type(self).__name__}({', '.join(f'{name}={_short(value)}' for name, value in values)})"


def _short(value: object) -> str:
    return f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else repr(value)
