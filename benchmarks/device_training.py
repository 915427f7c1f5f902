"""Training with the preset gpu on puppets drawn in memory: python -m benchmarks.device_training --out OUT

Measures the teacher's steps per second, sizes teacher and student by them to fill `--seconds`, and trains both. OUT is
a run folder, which export.onnx_model and benchmarks.accuracy take elsewhere. PyAV, decord and tyro may be missing.
benchmarks/device.py takes the first part.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.absent import allow_absent, use_fabric_of_lightning
from benchmarks.gpu_timing import Report

STEPS = 300
"""Steps that are timed."""
CLIPS, FRAMES = 12, 24
"""Clips for the timing, and frames of each: few, because drawing takes longer than the steps."""
MANY_CLIPS, MANY_FRAMES = 96, 48
"""The same for learning."""
TEACHER_SHARE = 0.6
"""Share of the time; a step of the student takes about a third of a step of the teacher, and there are half as many."""


class Notices(logging.Handler):
    """Keeps warnings, such as that a step could not be compiled."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def training_part(rehearse: bool, folder: Path, how: str = "graphs") -> Report:
    """Train the teacher for STEPS, compiled as `how`; its log has the rates."""
    missing = ready()
    from train.assembly import train_teacher
    from train.running.loop import launch
    from train.running.run_folder import StopRequest, open_run

    config = gpu_config(folder / how, rehearse)
    config = config if rehearse else replace(config, compile=how)
    config = replace(config, steps=2 if rehearse else STEPS, checkpoint_every=1 if rehearse else 100)
    clips, frames = (2, 6) if rehearse else (CLIPS, FRAMES)
    drawn = drawn_clips(clips, frames, config.network.image_size, processes=1 if rehearse else None)
    open_run(config.out, config, resume=False)
    fabric, notices = launch(config.device, config.precision), Notices()
    logging.getLogger("train").addHandler(notices)
    try:
        train_teacher(config, drawn, fabric, StopRequest())
    finally:
        logging.getLogger("train").removeHandler(notices)
    rows = [json.loads(line) for line in (config.out / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return {
        "device": str(fabric.device),
        "absent": missing,
        "compiled": config.compile,
        "notices": notices.lines,
        "batch_size": config.batch_size,
        "steps": [row["step"] for row in rows],
        "steps_per_second": [row["steps_per_second"] for row in rows],
    }


def learn(out: Path, seconds: float, rehearse: bool) -> None:
    """Size a run by the measured rate, and train teacher and student into `out`."""
    rate = training_part(rehearse, out / "timing")["steps_per_second"][-1]
    from train.assembly import load_or_find_parts, train_student, train_teacher
    from train.running.loop import launch
    from train.running.run_folder import StopRequest, open_run

    config = sized(gpu_config(out, rehearse), rate, seconds)
    print(f"{rate:.3g} steps per second: {config.steps} and {config.student_steps} steps", file=sys.stderr)
    clips, frames = (2, 6) if rehearse else (MANY_CLIPS, MANY_FRAMES)
    processes = 1 if rehearse else None
    small = drawn_clips(clips, frames, config.network.image_size, processes)
    same = config.student_pixels == config.network.image_size
    large = small if same else drawn_clips(clips, frames, config.student_pixels, processes)
    open_run(config.out, config, resume=False)
    fabric, stop = launch(config.device, config.precision), StopRequest()
    teacher = train_teacher(config, small, fabric, stop)
    groups = load_or_find_parts(config, teacher, small)
    train_student(config, large, small, teacher, groups, fabric, stop)


def ready() -> list[str]:
    """Make the trainers importable without the packages that read videos and flags; return the missing ones."""
    use_fabric_of_lightning()
    return allow_absent("av", "decord", "tyro")


def gpu_config(out: Path, rehearse: bool) -> Any:
    """The preset gpu for puppets; in a rehearsal on a CPU, small."""
    from streamparts.models.assembly import AssemblyConfig
    from train.presets.assembly import PRESETS, TrainingConfig

    config = TrainingConfig(clips=Path("drawn"), out=out, **PRESETS["gpu"][1])  # type: ignore[arg-type]
    config = replace(config, subject="background", student_encoder="unet", network=AssemblyConfig(image_size=128))
    if not rehearse:
        return config
    few = {"batch_size": 2, "student_batch_size": 2, "student_pixels": 64, "student_size": "nano"}
    return replace(config, network=AssemblyConfig(3, 64), device="cpu", compile="off", **few)  # type: ignore[arg-type]


def sized(config: Any, rate: float, seconds: float) -> Any:
    """Steps that fill `seconds` at `rate` steps of the teacher per second; the bootstrap takes a sixth of them."""
    steps = max(4, int(TEACHER_SHARE * rate * seconds))
    return replace(
        config,
        steps=steps,
        student_steps=max(2, steps // 2),
        bootstrap_steps=max(1, steps // 6),
        gate_steps=max(1, steps // 12),
        checkpoint_every=max(1, steps // 10),
    )


def drawn_clips(num_clips: int, num_frames: int, side: int, processes: int | None = None) -> Any:
    """A ClipFolder of puppets, drawn by this many processes (None: one per core)."""
    from train.frames.clips import ClipFolder

    draw = partial(_drawn, num_frames, side)
    if processes == 1:
        return ClipFolder(tuple(map(draw, range(num_clips))), ())
    with ProcessPoolExecutor(processes) as pool:
        return ClipFolder(tuple(pool.map(draw, range(num_clips))), ())


def _drawn(num_frames: int, side: int, seed: int) -> Any:
    ready()
    from train.drawing.puppet_clips import render_clip
    from train.frames.clips import Clip
    from train.frames.scenery import find_scenery

    frames = render_clip("human", seed, num_frames, (side, side)).frames
    return Clip(f"drawn {seed}", frames, find_scenery(frames))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.device_training", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="run folder to make")
    parser.add_argument("--seconds", type=float, default=180.0, help="of training (default: %(default)s)")
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, small")
    args = parser.parse_args(argv)
    if args.out.exists():
        print(f"benchmarks.device_training: error: {args.out} exists", file=sys.stderr)
        return 1
    learn(args.out, args.seconds, args.rehearse)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
