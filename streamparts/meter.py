"""How long things take: mean seconds per stage, and how old results are, in constant memory."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class StageClock:
    """Sums the seconds spent in named stages. A stage belongs to one thread; several threads may share a clock."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._counts: defaultdict[str, int] = defaultdict(int)

    def add(self, stage: str, seconds: float) -> None:
        """Count one turn of `stage`."""
        self._seconds[stage] += seconds
        self._counts[stage] += 1

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Counts the body of the `with` block as one turn of `stage`."""
        start = time.perf_counter()
        yield
        self.add(stage, time.perf_counter() - start)

    def time_each(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """The same items; making each counts as one turn of `stage`."""
        start = time.perf_counter()
        for item in items:
            self.add(stage, time.perf_counter() - start)
            yield item
            start = time.perf_counter()

    def mean_ms(self) -> dict[str, float]:
        """Mean milliseconds per turn of each stage, in order of first use."""
        return {stage: 1e3 * self._seconds[stage] / n for stage, n in list(self._counts.items())}


class AgeMeter:
    """Quantiles of the age of results: seconds from leaving the decoder to being written by the last sink."""

    _GROWTH = 1.02
    _SMALLEST = 1e-5
    _NUM_BINS = 1200  # up to 10 us * 1.02 ** 1200, about 60 hours

    def __init__(self, num_sinks: int) -> None:
        self._num_sinks = num_sinks
        self._waiting: dict[int, int] = {}
        self._counts = np.zeros(self._NUM_BINS, np.int64)
        self._lock = threading.Lock()

    def set_num_sinks(self, num_sinks: int) -> None:
        """From now on so many sinks write each frame. Thread-safe."""
        with self._lock:
            self._num_sinks = num_sinks
            self._waiting.clear()

    def written(self, index: int, decoded_at: float) -> None:
        """One sink has written frame `index`. Thread-safe."""
        with self._lock:
            left = self._waiting.pop(index, self._num_sinks) - 1
            if left > 0:
                self._waiting[index] = left
            else:
                self._add(time.perf_counter() - decoded_at)

    def quantile_ms(self, share: float) -> float:
        """Age in milliseconds that `share` of the results do not exceed, to within 2 %; nan before the first."""
        with self._lock:
            total = int(self._counts.sum())
            if total == 0:
                return math.nan
            bin_number = int(np.searchsorted(self._counts.cumsum(), max(1, math.ceil(share * total))))
        return 1e3 * self._SMALLEST * math.pow(self._GROWTH, bin_number + 0.5)

    def _add(self, age: float) -> None:
        bin_number = int(math.log(max(age, self._SMALLEST) / self._SMALLEST, self._GROWTH))
        self._counts[min(bin_number, self._NUM_BINS - 1)] += 1
