"""Measures the cost of following: python -m benchmarks.real.following VIDEO --model NAME_OR_FILE

The same frames alternately with the whole frame and with a followed subject as the network's input, on one thread:
processor milliseconds per frame from the decoded image to its tracks, and the ratio of their medians. Processor time
depends little on other programs.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import streamparts
from benchmarks.real.running import CPU_BACKEND, FrameSource, has_subject
from streamparts.backends.choice import open_backend
from streamparts.bundle.load import Bundle
from streamparts.errors import StreampartsError
from streamparts.sources import open_source

Seconds = Callable[[], float]


def cost(
    video: Path, bundle: Bundle, num_frames: int, turns: int, seconds: Seconds = time.process_time
) -> dict[str, Any]:
    """Return milliseconds per frame with `roi` "off" and "auto", and their ratio. Raises StreampartsError for a model
    without a subject."""
    if not has_subject(bundle):
        raise StreampartsError(f"{bundle.spec.name} has no subject to follow")
    with open_source(video) as source:
        frames = list(islice(source, num_frames))
    backend = open_backend(bundle, CPU_BACKEND, 1)
    taken: dict[str, list[float]] = {"off": [], "auto": []}
    for _ in range(turns):
        for roi, times in taken.items():
            began = seconds()
            options: dict[str, Any] = {"roi": roi}
            decoded = FrameSource(frames, video.name, (frames[0].height, frames[0].width))
            with closing(streamparts.track(decoded, bundle, backend=backend, **options)) as stream:
                count = sum(1 for _ in stream)
            times.append(1e3 * (seconds() - began) / max(count, 1))
    off, auto = (round(median(times), 3) for times in taken.values())
    return {
        "model": bundle.spec.name,
        "frames": len(frames),
        "turns": turns,
        "whole picture, ms a frame": off,
        "followed, ms a frame": auto,
        "ratio": round(auto / off, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--model", help="default: the shipped model")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    print(json.dumps(cost(args.video, streamparts.load_model(args.model), args.frames, args.turns), indent=2))


if __name__ == "__main__":
    main()
