"""Rules for all backends with CUDA graphs: one capture at a time, and few batch sizes."""

from __future__ import annotations

import threading

CAPTURING = threading.Lock()
"""Held while a graph is warmed up and captured: CUDA refuses to wait for the device, as a warm-up does, while any
stream of the process is captured."""
WARM_SIZES = (1, 2, 4, 8)
"""Batch sizes that are captured when a backend opens, not in the middle of a stream; 8 is the largest batch of
shared.SharedBackend."""


def padded(batch: int, largest: int) -> int:
    """The smallest power of two that is at least `batch`, but at most `largest`: every batch runs in one of few sizes,
    and no graph is captured for each number of images that happens to wait."""
    return min(1 << (batch - 1).bit_length(), largest)


def sizes_to_warm(largest: int) -> tuple[int, ...]:
    """The sizes of WARM_SIZES that `padded` can return."""
    return tuple(sorted({padded(size, largest) for size in WARM_SIZES if size <= largest}))
