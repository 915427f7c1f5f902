"""Cost of a run as its load grows: python -m benchmarks.scaling

Four curves; everything else is as in the README's table: number of frames, frame size, parts of the model (untrained,
because time does not depend on weights), and parallel sources.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import streamparts
from benchmarks.inputs import puppet_clip, random_student, scaled_clip
from benchmarks.live import resident_mb
from benchmarks.runtime import MODES, whole
from streamparts.backends.choice import choose_backend
from streamparts.bundle.load import Bundle
from streamparts.data import Backend
from streamparts.runtime.bench import bench

Rows = list[dict[str, object]]
HD = (720, 1280)


def by_frames(clip: Path, counts: Sequence[int], bundle: Bundle, backend: Backend, scratch: Path) -> Rows:
    """Longer and longer clips of 640x360, overlay and tracks; memory is that of the process at the end of each run."""
    rows: Rows = []
    for count in counts:
        video = scaled_clip(clip, scratch / f"{count}.mp4", (360, 640), count)
        summary, cpu_ms = whole(str(video), bundle, backend, scratch, overlay=True)
        memory = resident_mb()
        rows.append({
            "frames": summary.num_frames,
            "fps": round(summary.fps, 1),
            "processor ms per frame": round(cpu_ms, 2),
            "age p95 ms": round(summary.age_p95_ms, 1),
            "memory MB": memory and round(memory, 1),
        })  # fmt: skip
        video.unlink()
    return rows


def by_size(
    clip: Path, sizes: Sequence[tuple[int, int]], repeats: int, bundle: Bundle, backend: Backend, scratch: Path
) -> Rows:
    """The same frames at each size, in both modes."""
    rows: Rows = []
    for height, width in sizes:
        video = clip
        if (height, width) != HD:
            video = scaled_clip(clip, scratch / "sized.mp4", (height, width))
        row: dict[str, object] = {"size": f"{width}x{height}", "megapixels": round(width * height / 1e6, 3)}
        for name, overlay in MODES.items():
            runs = [whole(str(video), bundle, backend, scratch, overlay) for _ in range(repeats)]
            row[f"fps {name}"] = round(median(summary.fps for summary, _ in runs), 1)
            row[f"processor ms {name}"] = round(median(cpu for _, cpu in runs), 2)
        rows.append(row)
    return rows


def by_parts(clip: Path, counts: Sequence[int], seconds: float, repeats: int, scratch: Path) -> Rows:
    """The small student with this many parts: the network alone, the path to tracks, and the whole run without overlay,
    because an untrained network shows no parts."""
    rows: Rows = []
    for count in counts:
        bundle = random_student("small", count, scratch)
        (timed,) = bench(bundle, backends=["onnxruntime"], batches=[1], seconds=seconds).rows
        backend = choose_backend(bundle, "onnxruntime").backend
        runs = [whole(str(clip), bundle, backend, scratch, overlay=False)[0].fps for _ in range(repeats)]
        rows.append({
            "parts": count,
            "network ms": timed.network_ms.p50,
            "scaling to tracks ms": timed.frame_ms.p50 if timed.frame_ms else None,
            "fps tracks only": round(median(runs), 1),
        })  # fmt: skip
    return rows


def by_sources(
    clip: Path, counts: Sequence[int], repeats: int, bundle: Bundle, backend: Backend, scratch: Path
) -> Rows:
    """This many copies of a clip in one `run_many`, tracks only."""
    rows: Rows = []
    for count in counts:
        rates, ages = [], []
        for _ in range(repeats):
            began = time.perf_counter()
            outcomes = streamparts.run_many(
                [clip] * count, bundle, out_dir=scratch, overlay=False, backend=backend, force=True
            )
            took = time.perf_counter() - began
            for outcome in outcomes:
                if outcome.error is not None:
                    raise outcome.error
            rates.append(sum(outcome.summary.num_frames for outcome in outcomes) / took)
            ages.append(max(outcome.summary.age_p95_ms for outcome in outcomes))
        rows.append({
            "sources": count,
            "fps of all together": round(median(rates), 1),
            "fps of each": round(median(rates) / count, 1),
            "worst age p95 ms": round(median(ages), 1),
        })  # fmt: skip
    return rows


def measure(
    clip_frames: int,
    frames: Sequence[int],
    sizes: Sequence[tuple[int, int]],
    parts: Sequence[int],
    sources: Sequence[int],
    repeats: int,
    seconds: float,
) -> dict[str, object]:
    """The four curves; `sizes` are (height, width), `seconds` the duration of each measurement of a network."""
    bundle = streamparts.load_model("puppet-human")
    backend = choose_backend(bundle).backend
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        clip = puppet_clip(scratch / "clip.mp4", clip_frames, HD)
        return {
            "backend": backend.name,
            "frames": by_frames(clip, frames, bundle, backend, scratch),
            "sizes": by_size(clip, sizes, repeats, bundle, backend, scratch),
            "parts": by_parts(clip, parts, seconds, repeats, scratch),
            "sources": by_sources(clip, sources, repeats, bundle, backend, scratch),
        }


FRAMES = (250, 1000, 4000)
SIZES = ((180, 320), (360, 640), (720, 1280), (1080, 1920), (2160, 3840))
PARTS = (2, 5, 10, 20, 40)
SOURCES = (1, 2, 4, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--clip-frames", type=int, default=120, help="length of the clip for all curves except the first"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="duration of each measurement of a network alone")
    args = parser.parse_args()
    found = measure(args.clip_frames, FRAMES, SIZES, PARTS, SOURCES, args.repeats, args.seconds)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
