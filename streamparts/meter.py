"""Measures durations and latency: seconds per stage, and the age of results; over the whole run and the recent past, in
constant memory. Also the memory that frames take."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from streamparts.data import Frame

T = TypeVar("T")

WINDOW_SECONDS = 5.0
"""Length of the recent window, in seconds."""


def picture_bytes(frame: Frame) -> int:
    """Approximate bytes of a frame's image in memory."""
    return 3 * frame.height * frame.width


class Durations:
    """Durations of one kind. Quantiles over all of them are accurate to 2 %, recent ones are exact. Thread-safe."""

    _GROWTH = 1.02
    _SMALLEST = 1e-5
    _NUM_BINS = 1200  # up to 10 us * 1.02 ** 1200, about 60 hours
    _KEPT = 1024  # recent ones: above 200 per second, the window is shorter

    def __init__(self) -> None:
        self._counts = [0] * self._NUM_BINS
        self._sum = 0.0
        self._recent: deque[tuple[float, float]] = deque(maxlen=self._KEPT)
        self._lock = threading.Lock()
        self.count = 0

    def add(self, seconds: float) -> None:
        """Add a duration that ends now."""
        bin_number = int(math.log(max(seconds, self._SMALLEST) / self._SMALLEST, self._GROWTH))
        with self._lock:
            self._counts[min(bin_number, self._NUM_BINS - 1)] += 1
            self._recent.append((time.perf_counter(), seconds))
            self._sum += seconds
            self.count += 1

    def mean_ms(self) -> float:
        """Mean of all in milliseconds; nan before the first."""
        return 1e3 * self._sum / self.count if self.count else math.nan

    def quantile_ms(self, share: float) -> float:
        """Duration in milliseconds that `share` of all do not exceed, within 2 %; nan before the first."""
        with self._lock:
            sums = np.cumsum(self._counts)
        if sums[-1] == 0:
            return math.nan
        bin_number = int(np.searchsorted(sums, max(1, math.ceil(share * int(sums[-1])))))
        return 1e3 * self._SMALLEST * math.pow(self._GROWTH, bin_number + 0.5)

    def recent_ms(self) -> NDArray[np.float64]:
        """(n,) milliseconds of those that ended recently, oldest first."""
        return 1e3 * self._recent_rows()[:, 1]

    def recent_rate(self) -> float:
        """Recent number per second."""
        times = self._recent_rows()[:, 0]
        return float((len(times) - 1) / (time.perf_counter() - times[0])) if len(times) > 1 else 0.0

    def _recent_rows(self) -> NDArray[np.float64]:
        """(n, 2) end time and seconds of each."""
        with self._lock:
            rows = np.array(self._recent, np.float64).reshape(-1, 2)
        return rows[rows[:, 0] >= time.perf_counter() - WINDOW_SECONDS]


class StageClock:
    """Seconds spent in named stages. A stage belongs to one thread; several threads may share a clock."""

    def __init__(self) -> None:
        self._stages: dict[str, Durations] = {}

    def add(self, stage: str, seconds: float) -> None:
        """Add one pass through `stage`."""
        self.stage(stage).add(seconds)

    def stage(self, stage: str) -> Durations:
        """Durations of `stage`."""
        return self._stages.get(stage) or self._stages.setdefault(stage, Durations())

    def stages(self) -> dict[str, Durations]:
        """All stages by name, in order of first use."""
        return self._stages.copy()

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Count the body of the `with` block as one pass through `stage`."""
        start = time.perf_counter()
        yield
        self.add(stage, time.perf_counter() - start)

    def time_each(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """Yield the same items; producing each counts as one pass through `stage`."""
        start = time.perf_counter()
        for item in items:
            self.add(stage, time.perf_counter() - start)
            yield item
            start = time.perf_counter()

    def mean_ms(self) -> dict[str, float]:
        """Mean milliseconds per pass of each stage, in order of first use."""
        return {name: stage.mean_ms() for name, stage in self.stages().items()}

    def p95_ms(self) -> dict[str, float]:
        """95th percentile of the same."""
        return {name: stage.quantile_ms(0.95) for name, stage in self.stages().items()}


class AgeMeter:
    """Latency of results: seconds from the decoder's output of a frame until the last sink has written its result."""

    _MOST_WAITING = 1024  # frames written by some sinks but not all; failed sinks never write theirs

    def __init__(self, num_sinks: int) -> None:
        self.durations = Durations()
        self._num_sinks = num_sinks
        self._waiting: dict[int, int] = {}
        self._lock = threading.Lock()

    def set_num_sinks(self, num_sinks: int) -> None:
        """Set the number of sinks that write each frame from now on. Thread-safe."""
        with self._lock:
            self._num_sinks = num_sinks
            self._waiting.clear()

    def written(self, index: int, decoded_at: float) -> None:
        """One sink has written frame `index`. Thread-safe."""
        with self._lock:
            left = self._waiting.pop(index, self._num_sinks) - 1
            if left > 0:
                self._waiting[index] = left
                if len(self._waiting) > self._MOST_WAITING:
                    del self._waiting[next(iter(self._waiting))]
                return
        self.durations.add(time.perf_counter() - decoded_at)

    def quantile_ms(self, share: float) -> float:
        """Latency in milliseconds that `share` of the results do not exceed, within 2 %; nan before the first."""
        return self.durations.quantile_ms(share)
