"""Latency with a live source: python -m benchmarks.live [--minutes 10]

A source supplies 30 frames per second, paced by the clock, whether or not they are taken. The first network takes 20
ms: the 95th percentile of the latency should stay within a frame interval plus the network's time. The second one takes
two frame intervals, for the given number of minutes: half of the frames are dropped, and neither latency nor memory may
grow. The networks only sleep, so the figures are those of the runtime.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from av import VideoFrame

import streamparts
from streamparts.arrays import ByteArray
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.bundle.load import Bundle
from streamparts.data import Frame, NetworkOutputs
from streamparts.runtime.stats import Progress, Stats

RATE = 30
HEIGHT, WIDTH = 720, 1280


class PacedSource:
    """A camera that never stops: every frame is new memory, as from a decoder."""

    name = "paced"
    description = "paced"
    live = True
    height, width = HEIGHT, WIDTH
    rate = Fraction(RATE)
    time_base = Fraction(1, RATE)
    num_frames = None
    decode_errors = 0
    repaired_times = 0

    def __init__(self, seconds: float) -> None:
        self._num_frames = round(seconds * RATE)
        self._closed = threading.Event()
        self._picture = np.random.default_rng(0).integers(0, 255, (HEIGHT * 3 // 2, WIDTH), np.uint8)

    def __iter__(self) -> Iterator[Frame]:
        start = time.perf_counter()
        for index in range(self._num_frames):
            if self._closed.wait(max(0.0, start + index / RATE - time.perf_counter())):
                return
            image = VideoFrame.from_ndarray(self._picture, "yuv420p")
            yield Frame(index, index, self.time_base, image, 0, HEIGHT, WIDTH, time.perf_counter())

    def close(self) -> None:
        self._closed.set()


class SleepingBackend:
    """Takes a fixed time and returns the network's output for a black frame."""

    name = "sleeping"

    def __init__(self, bundle: Bundle, seconds: float) -> None:
        self._seconds = seconds
        self._outputs = OnnxRuntimeBackend(bundle).run(np.zeros((1, *bundle.spec.input_hw, 3), np.uint8))

    def run(self, images: ByteArray) -> NetworkOutputs:
        time.sleep(self._seconds)
        return self._outputs


def resident_mb() -> float | None:
    """Memory of this process, if the system reports it."""
    path = Path("/proc/self/statm")
    return (
        int(path.read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if path.exists() else None
    )


def run_live(bundle: Bundle, seconds: float, network_seconds: float) -> dict[str, object]:
    """Latency and memory in the fifth second (or half-way through a shorter run) and at the end; frames by outcome."""
    moments: list[tuple[Stats, float | None]] = []
    early = min(5.0, seconds / 2)

    def progress(now: Progress) -> None:
        if not moments and now.stats.seconds >= early:
            moments.append((now.stats, resident_mb()))
        last[:] = [now.stats]

    last: list[Stats] = []
    with tempfile.TemporaryDirectory() as folder:
        summary = streamparts.run(
            PacedSource(seconds),
            bundle,
            backend=SleepingBackend(bundle, network_seconds),
            tracks=Path(folder) / "tracks.jsonl",
            progress=progress,
        )
    moments.append((last[0], resident_mb()))
    (begin, begin_mb), (end, end_mb) = moments
    return {
        "seconds": round(summary.seconds, 1),
        "network ms": round(1e3 * network_seconds, 1),
        "frames done, dropped": [summary.num_frames, summary.counts.dropped],
        "age p50, p95, p99 ms": [round(age, 1) for age in (summary.age_p50_ms, summary.age_p95_ms, summary.age_p99_ms)],
        "frame period and network ms": round(1e3 * (1 / RATE + network_seconds), 1),
        "age p50 ms at the beginning, at the end": [stats.age_ms and stats.age_ms.p50 for stats in (begin, end)],
        "memory MB at the beginning, at the end": [begin_mb and round(begin_mb, 1), end_mb and round(end_mb, 1)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="default: the bundled model; only its sizes and parts are used")
    parser.add_argument("--seconds", type=float, default=30, help="duration of the first run")
    parser.add_argument("--minutes", type=float, default=10, help="duration of the second run")
    args = parser.parse_args()
    bundle = streamparts.load_model(args.model)
    report: dict[str, object] = {
        "network of 20 ms": run_live(bundle, args.seconds, 0.02),
        "network twice too slow": run_live(bundle, 60 * args.minutes, 2 / RATE),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
