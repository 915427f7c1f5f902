"""Masks as COCO run-length encoding, in the compressed text form that pycocotools reads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamparts.data import require_shape

_BITS = 5
_MORE = 0x20
_OFFSET = 48


def encode_mask(mask: NDArray[np.bool_]) -> dict[str, list[int] | str]:
    """(h, w) mask -> {"size": [h, w], "counts": text}."""
    require_shape("mask", mask, (None, None))
    counts = run_lengths(mask)
    return {"size": [int(n) for n in mask.shape], "counts": compress(counts)}


def run_lengths(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Lengths of alternating runs of 0 and 1, column by column, beginning with 0s (which may be none)."""
    pixels = np.asarray(mask, np.bool_).ravel(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    starts = [0, 0] if pixels.size and pixels[0] else [0]
    borders = np.concatenate([starts, changes, [pixels.size]]).astype(np.int64)
    return borders[1:] - borders[:-1]


def compress(counts: NDArray[np.int64]) -> str:
    """COCO's text: from the fourth count on, differences to the count before the last, in groups of 5 bits,
    lowest first, each printed as one character; the sign is the top bit of the last group."""
    values = counts.copy()
    values[3:] -= counts[1:-2]
    groups = []
    going_on = np.ones(len(values), np.bool_)
    while going_on.any():
        low = values & (_MORE - 1)
        values = values >> _BITS
        negative = (low & (1 << (_BITS - 1))) != 0
        more = np.where(negative, values != -1, values != 0)
        groups.append(np.where(going_on, (low | np.where(more, _MORE, 0)) + _OFFSET, 0))
        going_on &= more
    characters = np.stack(groups, axis=1).ravel().astype(np.uint8)
    return bytes(characters[characters != 0]).decode("ascii")
