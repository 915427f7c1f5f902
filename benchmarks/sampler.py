"""Frame pairs per second for training, including augmentation: from the decoded cache, by seeking with decord, and by
seeking with PyAV. The same sampler draws from the same clips in two processes with one thread each.

python -m benchmarks.sampler [CLIPS_FOLDER] [--camera moving]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from av.container import InputContainer
from av.video.reformatter import VideoReformatter

from streamparts.arrays import ByteArray
from streamparts.geometry import Letterbox
from train.drawing.puppet_clips import write_clips
from train.frames.clips import Clip, ClipFolder
from train.frames.readers import find_clips
from train.frames.spread import spread
from train.frames.transforms import Draws
from train.inputs.augment import prepare_pair
from train.inputs.pairs import PairSampler

BATCH = 6
"""Pairs per step, as in training."""


@cache
def opened(path: Path) -> tuple[InputContainer, list[int], VideoReformatter]:
    """An open container, the times of its frames in order, and its scaler."""
    with av.open(str(path)) as container:
        times = sorted(packet.pts for packet in container.demux(video=0) if packet.pts is not None)
    return av.open(str(path)), times, VideoReformatter()


@dataclass(frozen=True)
class PyavFrames:
    """SeekingFrames with PyAV: seek to the keyframe before, decode up to the frame, scale it by AREA."""

    path: Path
    image_size: int
    num_frames: int

    def __len__(self) -> int:
        return self.num_frames

    def __getitem__(self, index: int) -> ByteArray:
        container, times, scaler = opened(self.path)
        wanted = times[spread(len(times), self.num_frames)[index]]
        stream = container.streams.video[0]
        container.seek(wanted, stream=stream)
        frame = next(frame for frame in container.decode(stream) if frame.pts is not None and frame.pts >= wanted)
        box = Letterbox.fit((frame.height, frame.width), (self.image_size, self.image_size))
        height, width = box.inner_hw
        small = scaler.reformat(frame, width, height, "rgb24", interpolation="AREA", threads=1)
        return box.pad(np.asarray(small.to_ndarray(), np.uint8))


def draw(sampler: PairSampler, augment: bool, seconds: float, start: Barrier, results: SimpleQueue[float]) -> None:
    """Store the pairs per second of one process in `results`."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)

    def take(step: int) -> None:
        batch = sampler.batch(step)
        if augment:
            prepare_pair(batch, torch.device("cpu"), Draws(0, step, len(batch.source)), 10.0, 0.3)

    take(0)  # opens files
    start.wait()
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        take(1 + count)
        count += 1
    results.put(count * BATCH / (time.perf_counter() - begin))


def pairs_per_second(folder: ClipFolder, augment: bool, seconds: float, processes: int) -> float:
    """Sum over processes that sample at the same time."""
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(processes), context.SimpleQueue()
    workers = [
        context.Process(target=draw, args=(PairSampler(folder, BATCH, seed), augment, seconds, start, results))
        for seed in range(processes)
    ]
    for worker in workers:
        worker.start()
    total = sum([results.get() for _ in workers], 0.0)
    for worker in workers:
        worker.join()
    return total


def with_pyav(folder: ClipFolder, paths: dict[str, Path], image_size: int) -> ClipFolder:
    """The same clips, read with PyAV."""

    def sought(clip: Clip) -> Clip:
        return replace(clip, frames=PyavFrames(paths[clip.name], image_size, len(clip.frames)))

    return replace(folder, clips=tuple(sought(clip) for clip in folder.clips))


def videos_of(folder: ClipFolder, paths: dict[str, Path]) -> ClipFolder:
    return replace(folder, clips=tuple(clip for clip in folder.clips if clip.name in paths))


def measure(clips: Path, cache_folder: Path, args: argparse.Namespace) -> dict[str, object]:
    paths = {str(path.relative_to(clips)): path for path in find_clips(clips) if path.is_file()}
    cached, on_the_fly = (
        videos_of(ClipFolder.open(clips, args.size, cache_folder, on_the_fly=fly), paths) for fly in (False, True)
    )
    kinds = {
        "cache": (cached, True),
        "cache, not augmented": (cached, False),
        "decord on the fly": (on_the_fly, True),
        "PyAV seeking": (with_pyav(cached, paths, args.size), True),
        "PyAV seeking, not augmented": (with_pyav(cached, paths, args.size), False),
    }
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(args.repeats):
        for kind, (folder, augment) in kinds.items():
            rates[kind].append(pairs_per_second(folder, augment, args.seconds, args.processes))
    medians = {kind: statistics.median(values) for kind, values in rates.items()}
    return {
        "clips": len(cached.clips),
        "moving cameras": sum(clip.scenery.moves for clip in cached.clips),
        "pairs per second": {kind: round(rate, 1) for kind, rate in medians.items()},
        "lowest and highest": {kind: [round(min(v), 1), round(max(v), 1)] for kind, v in rates.items()},
        "cache over PyAV": round(medians["cache"] / medians["PyAV seeking"], 1),
        "not augmented": round(medians["cache, not augmented"] / medians["PyAV seeking, not augmented"], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="?", help="folder of videos (default: eight generated puppet clips)")
    parser.add_argument("--camera", choices=("still", "moving"), default="still", help="camera of the puppet clips")
    parser.add_argument("--clip-size", type=int, default=256, help="side of the puppet clips, in pixels")
    parser.add_argument("--size", type=int, default=128, help="side of the sampled frames, in pixels")
    parser.add_argument("--seconds", type=float, default=3.0, help="duration of each measurement")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        clips = args.clips or Path(scratch) / "clips"
        if not args.clips:
            moving, side = args.camera == "moving", args.clip_size
            write_clips(clips, "human", 8, num_frames=96, size_hw=(side, side), moving_camera=moving)
        print(json.dumps(measure(clips, Path(scratch) / "cache", args), indent=2))


if __name__ == "__main__":
    main()
