"""Overhead of a corpus run: the same tiny videos with a plain loop in one warm process, with the local pool and with
Ray, one worker each, in turns.

    python -m benchmarks.corpus                  # 1,000 videos of 10 frames, twenty turns; ten minutes on two cores
    python -m benchmarks.corpus --videos 200 --without-ray

Loading the model is excluded: time is measured from the first ready worker to the last video's line in the manifest.
Other load on the machine affects the videos' own times (`Summary.seconds`: from the first requested frame to the last
closed output) as well. Each wall time is therefore divided by their sum, and the overhead is the median over the turns
of the corpus' quotient divided by the loop's, minus 1.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.counter import write_clip
from streamparts import load_model, run, run_corpus
from streamparts.backends.choice import open_backend
from streamparts.corpus.driver import CorpusProgress

BACKEND = "onnxruntime"


class CorpusClock:
    """Seconds of a corpus run from the first ready worker to the last video."""

    def __init__(self) -> None:
        self.began: float | None = None
        self.ended = 0.0

    def __call__(self, progress: CorpusProgress) -> None:
        now = time.perf_counter()
        if progress.workers and self.began is None:
            self.began = now
        if progress.done == progress.total and not self.ended:
            self.ended = now

    @property
    def seconds(self) -> float:
        assert self.began is not None and self.ended, "a video failed"
        return self.ended - self.began


def write_videos(folder: Path, num_videos: int, num_frames: int) -> list[Path]:
    """Videos with the same frames and different bytes: each ends with an additional box, which players skip."""
    folder.mkdir()
    model = folder / "model.mp4"
    write_clip(model, num_frames)
    data = model.read_bytes()
    model.unlink()
    videos = [folder / f"{number:05d}.mp4" for number in range(num_videos)]
    for number, video in enumerate(videos):
        video.write_bytes(data + b"\0\0\0\x0cfree" + number.to_bytes(4, "big"))
    return videos


def measure(num_videos: int, num_frames: int, turns: int, overlay: bool, ray: bool) -> dict[str, object]:
    bundle = load_model("puppet-human")
    backend = open_backend(bundle, BACKEND, threads=1)
    overheads: dict[str, list[float]] = {"local pool": [], **({"Ray": []} if ray else {})}
    loops: list[float] = []
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        videos = write_videos(folder / "in", num_videos, num_frames)
        (folder / "loop").mkdir()

        def loop(share: Sequence[Path]) -> tuple[float, float]:
            """Return the wall time, and the sum of the videos' own times."""
            own, began = 0.0, time.perf_counter()
            for video in share:
                out = folder / "loop" / video.stem
                drawn = out.with_suffix(".overlay.mp4") if overlay else None
                own += run(
                    video, bundle, backend=backend, tracks=out.with_suffix(".tracks.jsonl"), overlay=drawn
                ).seconds
            return time.perf_counter() - began, own

        def corpus(share: Sequence[Path], kind: str) -> float:
            """Return the quotient."""
            clock = CorpusClock()
            results = run_corpus(
                share,
                bundle,
                out_dir=folder / kind,
                overlay=overlay,
                backend=BACKEND,
                threads=1,
                workers=1,
                cluster="auto" if kind == "Ray" else None,
                progress=clock,
            )
            return clock.seconds / sum(result.seconds for result in results)

        loop(videos[:1])
        (folder / "loop" / f"{videos[0].stem}.tracks.jsonl").unlink()
        (folder / "loop" / f"{videos[0].stem}.overlay.mp4").unlink(missing_ok=True)
        for turn in range(turns):
            share = videos[turn::turns]
            wall, own = loop(share)
            loops.append(wall / len(share))
            for kind, values in overheads.items():
                values.append(corpus(share, kind) / (wall / own) - 1)
    return {
        "videos": num_videos,
        "frames each": num_frames,
        "plain loop, ms a video": round(1e3 * statistics.median(loops), 1),
        **{f"overhead, {kind}, %": round(100 * statistics.median(v), 1) for kind, v in overheads.items()},
        "overhead in each turn, %": {kind: [round(100 * value, 1) for value in v] for kind, v in overheads.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=1000, metavar="N")
    parser.add_argument("--frames", type=int, default=10, metavar="N", help="frames per video")
    parser.add_argument("--turns", type=int, default=20, metavar="N")
    parser.add_argument("--overlay", action="store_true", help="write overlays too")
    parser.add_argument("--without-ray", action="store_true")
    args = parser.parse_args()
    if not args.without_ray:
        _start_ray()
    print(json.dumps(measure(args.videos, args.frames, args.turns, args.overlay, not args.without_ray), indent=2))


def _start_ray() -> None:
    """Once for all turns."""
    import logging

    import ray

    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - as the processes of the pool
    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)


if __name__ == "__main__":
    main()
