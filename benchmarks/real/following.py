"""Measures the cost of following: python -m benchmarks.real.following VIDEO --model NAME_OR_FILE

Each frame with the whole frame and then with a followed subject as the network's input, or the other way round, on one
thread: processor milliseconds per frame from the decoded image to its tracks, and the ratio of their medians over some
turns. What other programs do to the processor's caches and clock meets both alike.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import streamparts
from benchmarks.real.running import CPU_BACKEND, has_subject
from streamparts.backends.choice import open_backend
from streamparts.bundle.load import Bundle
from streamparts.data import Backend, Frame
from streamparts.errors import StreampartsError
from streamparts.meter import StageClock
from streamparts.runtime.pipeline import part_tracker
from streamparts.sources import open_source
from streamparts.tracking.looking import FixedTracks, FollowedTracks
from streamparts.tracking.segment import PartSegmenter

Seconds = Callable[[], float]


def cost(
    video: Path, bundle: Bundle, num_frames: int, turns: int, seconds: Seconds = time.thread_time
) -> dict[str, Any]:
    """Return milliseconds per frame with `roi` "off" and "auto", and their ratio. Raises StreampartsError for a model
    without a subject, or a video without frames."""
    if not has_subject(bundle):
        raise StreampartsError(f"{bundle.spec.name} has no subject to follow")
    with open_source(video) as source:
        frames = list(islice(source, num_frames))
    if not frames:
        raise StreampartsError(f"{video} has no frames")
    backend = open_backend(bundle, CPU_BACKEND, 1)
    taken: dict[str, list[float]] = {"off": [], "auto": []}
    for _ in range(turns):
        runs = {"off": _whole(bundle, backend), "auto": _followed(bundle, backend)}
        totals = dict.fromkeys(runs, 0.0)
        for number, frame in enumerate(frames):
            for roi in list(runs)[:: 1 if number % 2 else -1]:
                began = seconds()
                runs[roi](frame)
                totals[roi] += seconds() - began
        for roi, total in totals.items():
            taken[roi].append(1e3 * total / len(frames))
    off, auto = (round(median(times), 3) for times in taken.values())
    return {
        "model": bundle.spec.name,
        "frames": len(frames),
        "turns": turns,
        "whole picture, ms a frame": off,
        "followed, ms a frame": auto,
        "ratio": round(auto / off, 3),
    }


def _whole(bundle: Bundle, backend: Backend) -> Callable[[Frame], object]:
    """Tracks of whole frames."""
    segmenter = PartSegmenter(bundle, backend)
    tracks = FixedTracks(segmenter, bundle.spec, False, part_tracker(bundle.spec), StageClock())
    return lambda frame: tracks.update(segmenter.prepare(frame))


def _followed(bundle: Bundle, backend: Backend) -> Callable[[Frame], object]:
    """Tracks of one followed subject."""
    segmenter = PartSegmenter(bundle, backend)
    return FollowedTracks(segmenter, bundle.spec, 1, partial(part_tracker, bundle.spec)).update


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
