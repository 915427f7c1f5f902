"""What following costs: python -m benchmarks.real.following VIDEO --model NAME_OR_FILE

The same frames with the network looking at the whole picture and with it following the subject, in turns, one thread:
processor milliseconds a frame between its decoded picture and its tracks, and the ratio of their medians. Processor
time, so that other programs count as little as may be.
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
from benchmarks.real.running import CPU_BACKEND, FrameSource, knows_subject
from streamparts.backends.choice import open_backend
from streamparts.bundle.load import Bundle
from streamparts.errors import StreampartsError
from streamparts.sources import open_source

Seconds = Callable[[], float]


def cost(
    video: Path, bundle: Bundle, num_frames: int, turns: int, seconds: Seconds = time.process_time
) -> dict[str, Any]:
    """Milliseconds a frame with `roi` "off" and "auto", and the ratio. Raises StreampartsError where this model cannot
    be followed."""
    if not knows_subject(bundle):
        raise StreampartsError(f"{bundle.spec.name} knows whole pictures only, so there is no following to be measured")
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
