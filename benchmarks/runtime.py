"""Speed of `streamparts run` on a 1280x720 H.264 clip: python -m benchmarks.runtime

Whole runs are timed with and without overlay, and each stage alone with the same threads, in turns; figures are medians
over the turns. The overlap of the stages is reported in three ways. Relative to the slowest stage in the run: the share
of time in which that stage, slowed down by the others on the same cores, is running; 100 % is a perfect pipeline.
Relative to the slowest stage alone: reachable only if each stage has its own core. Relative to all cores busy: the
stages' processor time spread evenly over all cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from statistics import median

import streamparts
from benchmarks.inputs import puppet_clip
from streamparts.backends.choice import choose_backend
from streamparts.bundle.load import Bundle
from streamparts.data import Backend, Tracks
from streamparts.runtime.stream import run
from streamparts.runtime.summary import Summary
from streamparts.sinks.overlay.canvas import yuv_canvas
from streamparts.sinks.overlay.drawing import draw_tracks
from streamparts.sinks.overlay.mp4 import Mp4Writer
from streamparts.sources import open_source
from streamparts.sources.rescale import Rescaler
from streamparts.tracking.segment import PartSegmenter

MODES = {"with overlay": True, "tracks only": False}


def timed(work: Callable[[], int]) -> tuple[float, float]:
    """Wall and processor milliseconds per frame; `work` returns its number of frames."""
    wall, cpu = time.perf_counter(), time.process_time()
    count = work()
    return 1e3 * (time.perf_counter() - wall) / count, 1e3 * (time.process_time() - cpu) / count


def decode(video: str) -> int:
    with open_source(video) as source:
        return sum(1 for _ in source)


def stages_alone(
    video: str, bundle: Bundle, backend: Backend, sample: int, scratch: Path
) -> dict[str, tuple[float, float]]:
    """(wall, processor) milliseconds per frame of each stage by itself."""
    results = list[Tracks](islice(streamparts.track(video, model=bundle, backend=backend), sample))
    segmenter, rescaler = PartSegmenter(bundle, backend), Rescaler()
    frames = [tracks.frame for tracks in results]
    prepared = [segmenter.prepare(frame) for frame in frames]
    pictures = [rescaler.yuv(frame) for frame in frames]

    def draw() -> int:
        for tracks in results:
            draw_tracks(yuv_canvas(rescaler.yuv(tracks.frame)), tracks)
        return len(results)

    def encode() -> int:
        first = frames[0]
        writer = Mp4Writer(scratch / "alone.mp4", pictures[0], first.time_base, Fraction(30), first.pts)
        for frame, picture in zip(frames, pictures, strict=True):
            writer.write(picture, frame.pts)
        writer.close()
        return len(results)

    return {
        "decode": timed(lambda: decode(video)),
        "prepare": timed(lambda: len([segmenter.prepare(frame) for frame in frames])),
        "infer": timed(lambda: len([segmenter.infer(item) for item in prepared])),
        "draw": timed(draw),
        "encode": timed(encode),
    }


def whole(video: str, bundle: Bundle, backend: Backend, scratch: Path, overlay: bool) -> tuple[Summary, float]:
    """Also returns the processor milliseconds per frame, which show the loop's overhead even on a busy machine."""
    cpu = time.process_time()
    summary = run(
        video,
        bundle,
        overlay=scratch / "overlay.mp4" if overlay else None,
        tracks=scratch / "tracks.jsonl",
        force=True,
        backend=backend,
    )
    return summary, 1e3 * (time.process_time() - cpu) / summary.num_frames


def report(
    video: str, bundle: Bundle, repeats: int, sample: int, scratch: Path, modes: Sequence[str] = tuple(MODES)
) -> dict[str, object]:
    """Medians over the rounds. An untrained model shows no parts, so its overlay is not timed."""
    chosen = choose_backend(bundle)
    alone_rounds: list[dict[str, tuple[float, float]]] = []
    whole_runs: dict[str, list[tuple[Summary, float]]] = {name: [] for name in modes}
    for _ in range(repeats):
        for name in modes:
            whole_runs[name].append(whole(video, bundle, chosen.backend, scratch, MODES[name]))
        alone_rounds.append(stages_alone(video, bundle, chosen.backend, sample, scratch))
    alone = {
        stage: (median(found[stage][0] for found in alone_rounds), median(found[stage][1] for found in alone_rounds))
        for stage in alone_rounds[0]
    }
    rows: dict[str, object] = {
        "backend": chosen.backend.name,
        "stages alone, ms (wall, cpu)": {stage: [round(x, 2) for x in times] for stage, times in alone.items()},
    }
    for name, measured in whole_runs.items():
        stages = list(alone) if MODES[name] else ["decode", "prepare", "infer"]
        rows[name] = mode_report(measured, {stage: alone[stage] for stage in stages})
    return rows


def mode_report(measured: list[tuple[Summary, float]], alone: dict[str, tuple[float, float]]) -> dict[str, object]:
    """Report of several runs in one mode, compared with its stages alone."""
    runs = [summary for summary, _ in measured]
    fps = median(run.fps for run in runs)
    slowest = max(wall for wall, _ in alone.values())
    processor = sum(cpu for _, cpu in alone.values())
    cores = processor / (os.cpu_count() or 1)
    return {
        "fps": round(fps, 1),
        "fps of each run": [round(run.fps, 1) for run in runs],
        "age p50 ms": round(median(run.age_p50_ms for run in runs), 1),
        "age p95 ms": round(median(run.age_p95_ms for run in runs), 1),
        "age p99 ms": round(median(run.age_p99_ms for run in runs), 1),
        "slowest stage alone, fps": round(1e3 / slowest, 1),
        "all cores busy, fps": round(1e3 / cores, 1),
        "processor ms per frame: whole, sum of the stages alone": [
            round(median(cpu for _, cpu in measured), 2),
            round(processor, 2),
        ],
        "share of the slowest stage in the run": round(
            median(run.fps * max(run.stage_ms.values()) for run in runs) / 1e3, 2
        ),
        "share of the slowest stage alone": round(fps * slowest / 1e3, 2),
        "share of all cores busy": round(fps * cores / 1e3, 2),
        "stages in the run, ms": {
            stage: round(median(run.stage_ms[stage] for run in runs), 2) for stage in runs[0].stage_ms
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="puppet-human", help="default: %(default)s")
    parser.add_argument("--num-frames", type=int, default=240)
    parser.add_argument("--sample", type=int, default=60, help="frames kept in memory to time the stages alone")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video = puppet_clip(Path(folder) / "clip.mp4", args.num_frames)
        rows = report(str(video), streamparts.load_model(args.model), args.repeats, args.sample, Path(folder))
    rows["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
