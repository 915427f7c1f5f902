"""Masks as COCO run-length encoding, in the compressed text form that pycocotools reads and writes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import require_shape

_BITS = 5
_MORE = 0x20
_OFFSET = 48


def encode_mask(mask: NDArray[np.bool_]) -> dict[str, list[int] | str]:
    """(h, w) mask -> {"size": [h, w], "counts": text}."""
    require_shape("mask", mask, (None, None))
    counts = run_lengths(mask)
    return {"size": [int(n) for n in mask.shape], "counts": compress(counts)}


def run_lengths(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Lengths of alternating runs of 0 and 1, column by column, starting with 0s (possibly none)."""
    pixels = np.asarray(mask, np.bool_).ravel(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    starts = [0, 0] if pixels.size and pixels[0] else [0]
    borders = np.concatenate([starts, changes, [pixels.size]]).astype(np.int64)
    return borders[1:] - borders[:-1]


def compress(counts: NDArray[np.int64]) -> str:
    """COCO's text: from the fourth count on, differences to the count before the last, in groups of 5 bits, lowest
    first, each as one character; the sign is the top bit of the last group."""
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


MAX_PIXELS = 1 << 28
"""Maximum size of a decoded mask."""


def decode_mask(size: tuple[int, int], text: str) -> NDArray[np.bool_]:
    """(h, w) mask from the output of `encode_mask`. Raises ValueError if the text is not a mask of that size."""
    counts = decompress(text)
    pixels = size[0] * size[1]
    if pixels > MAX_PIXELS or (counts < 0).any() or (counts > pixels).any() or counts.sum() != pixels:
        raise ValueError(f"run lengths do not fill a mask of {size[0]} x {size[1]}")
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return flat.reshape(size[::-1]).T


def decompress(text: str) -> NDArray[np.int64]:
    """The run lengths in COCO's text; the inverse of `compress`. Raises ValueError for invalid text."""
    groups = np.frombuffer(text.encode(), np.uint8).astype(np.int64) - _OFFSET
    if len(groups) and (groups.min() < 0 or groups.max() >= 2 * _MORE or groups[-1] & _MORE):
        raise ValueError("not COCO's run-length encoding")
    ends = np.flatnonzero(groups & _MORE == 0)
    lengths = np.diff(ends, prepend=-1)
    if len(lengths) and lengths.max() * _BITS > 60:
        raise ValueError("not COCO's run-length encoding")
    places = np.arange(len(groups)) - np.repeat(ends - lengths + 1, lengths)
    values = np.add.reduceat((groups & (_MORE - 1)) << (_BITS * places), ends - lengths + 1) if len(ends) else ends
    values -= np.where(groups[ends] & (1 << (_BITS - 1)), np.int64(1) << (_BITS * lengths), 0)
    # each is the difference to the one before the last: sums over every other one, from the second and third
    for first in (1, 2):
        values[first::2] = np.cumsum(values[first::2])
    return values
