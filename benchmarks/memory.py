"""Memory growth over many frames: python -m benchmarks.memory [--frames 1000000]

A source of small frames that never waits, a network that returns immediately, and tracks written to a file. The memory
of the process is recorded after every tenth of the frames; growth here would also occur in a run of days.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

import streamparts
from benchmarks.live import SleepingBackend, resident_mb
from streamparts.data import Frame
from streamparts.runtime.stats import Progress
from streamparts.tracking.smoothing import Smoothing

SIDE = 64


class QuickSource:
    """Frames of a file, each new memory."""

    name = "quick"
    description = "quick"
    live = False
    height = width = SIDE
    rate = Fraction(30)
    time_base = Fraction(1, 30)
    decode_errors = 0
    repaired_times = 0

    def __init__(self, num_frames: int) -> None:
        self.num_frames = num_frames

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.num_frames):
            image = np.full((SIDE, SIDE, 3), index % 256, np.uint8)
            yield Frame(index, index, self.time_base, image, 0, SIDE, SIDE, time.perf_counter())

    def close(self) -> None:
        pass


def measure(num_frames: int) -> dict[str, object]:
    """Megabytes after every tenth of the frames, and the frame rate."""
    memory: dict[int, float | None] = {}

    def progress(now: Progress) -> None:
        done = now.num_frames
        if done * 10 // num_frames > len(memory):
            memory[done] = resident_mb()

    bundle = streamparts.load_model("puppet-human")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        tracks = Path(folder) / "tracks.jsonl"
        streamparts.run(
            QuickSource(num_frames),
            bundle,
            backend=SleepingBackend(bundle, 0),
            tracks=tracks,
            smoothing=Smoothing(),
            progress=progress,
        )
        lines = sum(1 for _ in tracks.open("rb"))
    return {
        "frames": num_frames,
        "lines of tracks": lines,
        "frames a second": round(num_frames / (time.perf_counter() - start)),
        "memory MB after frames": {str(done): None if mb is None else round(mb, 1) for done, mb in memory.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1_000_000)
    args = parser.parse_args()
    print(json.dumps({**measure(args.frames), "machine": platform.machine()}, indent=2))


if __name__ == "__main__":
    main()
