"""Times one backend on a GPU, after it was compared with the model; benchmarks/gpu.py and device.py are made of it."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.without_msgspec import as_builtins
from streamparts.arrays import ByteArray
from streamparts.backends.tolerances import MADE_UP_TOLERANCES, TOLERANCES, agreement
from streamparts.bundle.load import Bundle
from streamparts.bundle.spec import Precision
from streamparts.data import Backend, Overlapping
from streamparts.errors import BackendError

WARM_UP = 10
"""Warm-up runs before timing."""
MIN_RUNS = 5
Report = dict[str, Any]


@dataclass(frozen=True)
class GpuInput:
    """Input of the measurements."""

    bundle: Bundle
    frames: ByteArray
    """(F, H, W, 3) frames to run; also used to calibrate int8."""
    made_up: bool
    """True if these are synthetic patterns."""
    batches: tuple[int, ...]
    seconds: float
    """Seconds per measurement."""

    def images(self, batch: int) -> ByteArray:
        return np.resize(self.frames, (batch, *self.frames.shape[1:]))


def attempt(parts: Report, name: str, work: Callable[[], Report]) -> None:
    """Store the result of a part in the report, or the reason for its failure."""
    started = time.perf_counter()
    try:
        parts[name] = work()
    except Exception as error:  # a part must not take the others with it, whatever it is
        parts[name] = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"}
    parts[name]["seconds"] = round(time.perf_counter() - started, 1)
    print(f"{name}: {summary(parts[name])}", flush=True)


def summary(part: Report) -> str:
    if "failed" in part:
        return f"could not: {part['failed']}"
    words = [f"b1 p50 {part['latency_ms']['p50']:.3f} ms"] if "latency_ms" in part else []
    words += [f"b{batch} {rate:.0f} frames/s" for batch, rate in part.get("frames_per_second", {}).items()]
    return ", ".join(words) or json.dumps(part)


def latency(backend: Backend, job: GpuInput) -> dict[str, float]:
    """Milliseconds from image to results, one at a time."""
    image = job.images(1)
    times = [1e3 * value for value in timed(lambda: backend.run(image), job.seconds)]
    low, middle, high = np.quantile(times, [0.05, 0.5, 0.95])
    return {"p05": low, "p50": middle, "p95": high, "mean": statistics.fmean(times), "runs": len(times)}


def timed(work: Callable[[], object], seconds: float) -> list[float]:
    """Seconds of each run after the warm-up, for about `seconds` in total."""
    for _ in range(WARM_UP):
        work()
    times: list[float] = []
    total = 0.0
    while len(times) < MIN_RUNS or total < seconds:
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
        total += times[-1]
    return times


def throughput(backend: Backend, job: GpuInput, batch: int) -> float:
    """Frames per second in batches of this size, one after the other."""
    images = job.images(batch)
    return batch / statistics.fmean(timed(lambda: backend.run(images), job.seconds))


def overlapped(backend: Overlapping, job: GpuInput, batch: int) -> float:
    """The same while the next batch is filled and uploaded."""
    images = job.images(batch)

    def submit() -> None:
        rows = backend.rows(batch)
        rows[:] = images
        backend.submit(rows)

    def step() -> None:
        submit()
        backend.collect()

    submit()
    times = timed(step, job.seconds)
    backend.collect()
    return batch / statistics.fmean(times)


def compared(backend: Backend, job: GpuInput, precision: Precision) -> Report:
    """The backend's agreement with the model. Raises BackendError if it exceeds what `precision` allows."""
    found = agreement(job.bundle, backend, None if job.made_up else job.frames)
    if (problem := found.problem((MADE_UP_TOLERANCES if job.made_up else TOLERANCES)[precision])) is not None:
        raise BackendError(f"{backend.name} differs from the model, and was not timed: {problem}")
    return dict(as_builtins(found))
