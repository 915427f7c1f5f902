"""Processor time of a whole `streamparts run` by stage: python -m benchmarks.stages [--against CHECKOUT]

A busy machine lengthens wall times tenfold, but processor times little. So each stage of a real run is measured by the
processor time of its thread; what FFmpeg's and x264's own threads used is added in one row. With --against, the same is
measured with the code of another checkout (`git worktree add ../before COMMIT`), in turns. Figures are medians over the
turns, in milliseconds per frame. Each run is the second one of a new process, so that nothing is loaded during it.
Frames per second, and the cores that were used, mean something only while nothing else runs.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).parents[1]
MODES = {"with overlay": True, "tracks only": False}
SEGMENTERS = ("streamparts.tracking.segment", "streamparts.segment")
"""Homes of PartSegmenter, the newest first."""
STAGES = ("decode", "prepare", "network", "track", "draw", "encode", "write")

adding = threading.Lock()
spent: dict[str, float] = {}
"""Seconds of processor time by stage."""


@contextmanager
def counted(stage: str) -> Iterator[None]:
    """Add the processor time of this thread in the block to `stage`."""
    began = time.thread_time()
    yield
    seconds = time.thread_time() - began
    with adding:  # the network may have two threads
        spent[stage] = spent.get(stage, 0.0) + seconds


def within(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **others: Any) -> Any:
        with counted(stage):
            return function(*args, **others)

    return call


def counted_each(self: object, stage: str, items: Iterable[Any]) -> Iterator[Any]:
    """Stands for StageClock.time_each."""
    source = iter(items)
    while True:
        with counted(stage):
            item = next(source, None)
        if item is None:
            return
        yield item
        del item


def one_run(video: str, model: str, overlay: bool, scratch: Path) -> dict[str, float]:
    """Milliseconds per frame by stage, "whole" being the process's, and "rest" what no stage has."""
    import streamparts
    from streamparts.backends.choice import choose_backend
    from streamparts.meter import StageClock

    bundle = streamparts.load_model(model)
    backend = choose_backend(bundle, "onnxruntime").backend
    setattr(backend, "run", within("network", backend.run))  # noqa: B010
    home = next(name for name in SEGMENTERS if importlib.util.find_spec(name.rpartition(".")[0]) and _has(name))
    segmenter = importlib.import_module(home).PartSegmenter
    outputs: dict[str, Any] = {"tracks": scratch / "tracks.jsonl", "overlay": scratch / "o.mp4" if overlay else None}
    with (
        patch.object(segmenter, "prepare", _method("prepare", segmenter.prepare)),
        patch.object(StageClock, "time", lambda self, stage: counted(stage)),
        patch.object(StageClock, "time_each", counted_each),
    ):
        streamparts.run(video, bundle, backend=backend, force=True, **outputs)
        spent.clear()
        began, wall = time.process_time(), time.perf_counter()
        summary = streamparts.run(video, bundle, backend=backend, force=True, **outputs)
        whole, wall = time.process_time() - began, time.perf_counter() - wall
    found = {stage: spent[stage] for stage in STAGES if stage in spent}
    found["other threads, and between stages"] = whole - sum(found.values())
    rows = {stage: 1e3 * seconds / summary.num_frames for stage, seconds in {**found, "whole": whole}.items()}
    peak_kb = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))[0]
    speed = {"frames per second": summary.num_frames / wall, "cores used": whole / wall}
    return {**rows, **speed, "memory MB": int(peak_kb) / 1024}


def _method(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The same as a method."""
    return lambda *args, **others: within(stage, function)(*args, **others)


def _has(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def medians(
    checkouts: dict[str, Path], models: list[str], modes: list[str], num_frames: int, turns: int
) -> dict[str, Any]:
    """Rows by model, mode and checkout."""
    from benchmarks.inputs import people_clip, puppet_clip

    runs: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        puppets = puppet_clip(Path(folder) / "puppets.mp4", num_frames)
        people = people_clip(Path(folder) / "people.mp4", num_frames)
        for turn in range(turns):
            for model in models:
                video = puppets if "puppet" in model else people
                for mode in modes:
                    for name, checkout in list(checkouts.items())[:: -1 if turn % 2 else 1]:
                        found = _in_process(checkout, str(video), model, MODES[mode], folder)
                        runs.setdefault((model, mode, name), []).append(found)
    return {
        ", ".join(key): {row: round(median(run[row] for run in found), 2) for row in found[0]}
        for key, found in runs.items()
    }


def _in_process(checkout: Path, video: str, model: str, overlay: bool, scratch: str) -> dict[str, float]:
    """This file with the code of `checkout`."""
    words = [sys.executable, __file__, "--one", video, model, str(int(overlay)), scratch]
    paths = {"PYTHONPATH": str(checkout), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, **paths}, cwd=checkout)
    if done.returncode:
        raise RuntimeError(f"{checkout}: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        video, model, overlay, scratch = sys.argv[2:]
        print(json.dumps(one_run(video, model, overlay == "1", Path(scratch))))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout, to be compared in turns")
    parser.add_argument("--models", nargs="+", default=["person", "puppet-human"])
    parser.add_argument("--modes", nargs="+", default=[*MODES], choices=MODES)
    parser.add_argument("--num-frames", type=int, default=120)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    checkouts = {"here": ROOT, **({"against": args.against.resolve()} if args.against else {})}
    print(json.dumps(medians(checkouts, args.models, args.modes, args.num_frames, args.turns), indent=2))


if __name__ == "__main__":
    main()
