"""Measures open backends against each other."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamparts.arrays import ByteArray
    from streamparts.bundle.load import Bundle
    from streamparts.data import Backend

MEASURING_SECONDS = 0.3
"""Total time of the runs that decide among the CPU backends."""
MOST_RUNS = 15
"""Maximum runs of each backend."""
CLEARLY_QUICKER = 0.9
"""Another CPU backend replaces the first if it takes less than this share of the first one's time."""


def quickest(times: dict[str, float]) -> tuple[str, str]:
    """Return the name of the backend to take, given these times, and the times in words."""
    default, *_ = times
    best = quickest = min(times, key=lambda name: times[name])
    if times[quickest] > CLEARLY_QUICKER * times[default]:
        best = default
    rest = ", ".join(f"{name} {ms:.1f} ms" for name, ms in times.items() if name != best)
    note = "" if best == quickest else ", which is not 10 % faster"
    return best, f"{times[best]:.1f} ms per image here, {rest}{note}"


def measure(backends: dict[str, Backend], images: ByteArray) -> dict[str, float]:
    """Return the median milliseconds per run of each backend, measured in turns so that other load affects all
    alike."""
    import statistics

    times: dict[str, list[float]] = {name: [] for name in backends}
    deadline = time.perf_counter() + MEASURING_SECONDS
    for _ in range(MOST_RUNS):
        for name, backend in backends.items():
            start = time.perf_counter()
            backend.run(images)
            times[name].append(1e3 * (time.perf_counter() - start))
        if time.perf_counter() > deadline:
            break
    return {name: statistics.median(values) for name, values in times.items()}


def noise(bundle: Bundle, count: int = 1) -> ByteArray:
    """(count, H, W, 3) noise images, the same at each call."""
    import numpy as np

    return np.random.default_rng(0).integers(0, 256, (count, *bundle.spec.input_hw, 3), dtype=np.uint8)
