"""Many live sources at once: python -m benchmarks.crowd [--sources 1 8 32] [--seconds 8]

Each source decodes an H.264 clip of 640x360 in its own thread, at 30 frames per second, like a camera, whether or not
the frames are taken; all share one network. "alone" is one source in a run of its own. Ages are those of the
sources' results, from the decoder's output to the written line. Sharing may cost a lone source ("1 shared") one network
time more than "alone", at most.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import av

import streamparts
from benchmarks.inputs import puppet_clip
from streamparts.backends.choice import choose_backend
from streamparts.bundle.load import Bundle
from streamparts.data import Backend, Frame
from streamparts.runtime.summary import Summary

RATE = 30
SIZE_HW = 360, 640


class NetworkCamera:
    """A clip that is decoded over and over, one frame each thirtieth of a second."""

    live = True
    height, width = SIZE_HW
    rate = Fraction(RATE)
    time_base = Fraction(1, RATE)
    num_frames = None
    decode_errors = 0
    repaired_times = 0

    def __init__(self, clip: Path, seconds: float, number: int) -> None:
        self.name = self.description = f"camera-{number}"
        self._clip, self._num_frames = clip, round(seconds * RATE)
        self._late = number / RATE / 32  # cameras are not in step
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        start, images = time.perf_counter() + self._late, self._images()
        for index in range(self._num_frames):
            if self._closed.wait(max(0.0, start + index / RATE - time.perf_counter())):
                return
            yield Frame(index, index, self.time_base, next(images), 0, *SIZE_HW, time.perf_counter())

    def _images(self) -> Iterator[av.VideoFrame]:
        while True:
            with av.open(str(self._clip)) as container:
                container.streams.video[0].thread_type = "NONE"
                yield from container.decode(video=0)

    def close(self) -> None:
        self._closed.set()


def measure(counts: list[int], seconds: float, model: str) -> dict[str, Any]:
    """Rows by number of sources, and what sharing costs a lone source."""
    bundle = streamparts.load_model(model)
    backend = choose_backend(bundle, "onnxruntime").backend
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        clip = puppet_clip(scratch / "clip.mp4", 60, SIZE_HW)
        tracks = scratch / "tracks.jsonl"
        alone = streamparts.run(NetworkCamera(clip, seconds, 0), bundle, backend=backend, tracks=tracks, force=True)
        rows = {"alone": row([alone])}
        for count in counts:
            rows[f"{count} shared"] = row(together(clip, count, seconds, bundle, backend, scratch / str(count)))
    return {"rows": rows, "network ms": round(alone.stage_ms["infer"], 2)}


def together(clip: Path, count: int, seconds: float, bundle: Bundle, backend: Backend, out: Path) -> list[Summary]:
    out.mkdir()
    cameras = [NetworkCamera(clip, seconds, number) for number in range(count)]
    outcomes = streamparts.run_many(cameras, bundle, backend=backend, out_dir=out, overlay=False)
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
    return [outcome.summary for outcome in outcomes if outcome.summary is not None]


def row(summaries: list[Summary]) -> dict[str, Any]:
    """Totals of the sources; ages are medians over them."""
    done, dropped = (sum(values) for values in zip(*((s.num_frames, s.counts.dropped) for s in summaries), strict=True))
    return {
        "frames": done + dropped,
        "dropped, %": round(100 * dropped / (done + dropped), 1),
        "results per second": round(sum(s.num_frames / s.seconds for s in summaries), 1),
        "age p50 ms": round(median(s.age_p50_ms for s in summaries), 1),
        "age p95 ms": round(median(s.age_p95_ms for s in summaries), 1),
        "age p95 ms, worst source": round(max(s.age_p95_ms for s in summaries), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=int, nargs="+", default=[1, 8, 32], help="numbers of sources that share")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each run")
    parser.add_argument("--model", default="puppet-human")
    args = parser.parse_args()
    print(json.dumps(measure(args.sources, args.seconds, args.model), indent=2))


if __name__ == "__main__":
    main()
