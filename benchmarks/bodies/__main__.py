"""Evaluates models on rendered people: what puppets cannot test. python -m benchmarks.bodies [--sets NAME ...]

Clips with exact parts are rendered into a cache folder (equal numbers give equal clips), of bodies, clothes and places
that no bundled model was trained on; `streamparts.track` runs the models on them and follows the people. A part is
compared with the true one of its name. Parts of models without these names are matched with the true ones once, on
other clips of people who turn around; --train learns two such models from these clips without their labels.
examples:
  python -m benchmarks.bodies                                    # the bundled model `person` on all sets
  python -m benchmarks.bodies --models person mine=runs/mine.onnx --sets turning crossing --pictures sheets
  python -m benchmarks.bodies --train --trainers assembly --models --threads 1
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.bodies.judging import Judged, judge
from benchmarks.bodies.sets import SETS, open_set
from benchmarks.bodies.training import TRAINERS, LearnerOptions, learn, training_clips
from benchmarks.command_line import (
    add_output_flags,
    default_cache,
    named,
    parsed,
    print_error,
    require_work,
    sets_parser,
    write_figures,
)
from benchmarks.markdown import table
from streamparts.cli.run_flags import smoothing_of
from streamparts.errors import StreampartsError
from streamparts.tracking.smoothing import Smoothing
from train.bodies.mesh import PARTS

Row = dict[str, Any]


@dataclass(frozen=True)
class BodiesOptions:
    """Options of a run."""

    cache: Path
    sets: tuple[str, ...] = tuple(SETS)
    models: tuple[tuple[str, str], ...] = (("person", "person"),)
    """Names, and files or names of bundled models."""
    num_clips: int = 12
    num_frames: int = 90
    size: int = 192
    pictures: Path | None = None
    trainers: tuple[str, ...] = ()
    smoothing: Smoothing | None = None
    recipe: LearnerOptions = field(default_factory=LearnerOptions)
    training: tuple[int, int] | None = None
    """Numbers of training clips and of their frames; None: training.NUM_CLIPS and NUM_FRAMES."""


def measure(asked: BodiesOptions) -> dict[str, Any]:
    """Render what is missing, train what is asked for, and return the figures of every set and model. Raises
    StreampartsError."""
    models = [Judged.load(name, file, PARTS, asked.smoothing) for name, file in asked.models]
    minutes: dict[str, float] = {}
    if asked.trainers or any(model.match is None for model in models):
        clips = training_clips(asked.cache, asked.size, *(asked.training or ()))
        for trainer in asked.trainers:
            exported, minutes[trainer] = learn(trainer, asked.recipe, clips, asked.cache)
            models.append(Judged.load(trainer, str(exported), PARTS, asked.smoothing))
        models = [model if model.match is not None else model.matched(clips) for model in models]
    rows: list[Row] = []
    for name in asked.sets:
        test = open_set(SETS[name], asked.cache, asked.num_clips, asked.num_frames, asked.size)
        for model in models:
            print(f"{name}: {model.name}", file=sys.stderr, flush=True)
            sheet = asked.pictures / f"{name}-{model.name}.png" if asked.pictures else None
            rows.append({"set": name, "model": model.name, **judge(model, test, sheet)})
    shape = {"clips a set": asked.num_clips, "frames a clip": asked.num_frames, "pixels": asked.size}
    return {**shape, **({"minutes of training": minutes} if minutes else {}), "rows": rows}


def parser() -> argparse.ArgumentParser:
    known = (f"{name:15} {each.about}" for name, each in SETS.items())
    out = sets_parser("bodies", __doc__, known, "the trainers")
    out.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), metavar="NAME", help="default: all")
    out.add_argument(
        "--models", nargs="*", default=["person"], metavar="NAME[=FILE]",
        help="bundled models by name, or .onnx files (default: person)",
    )  # fmt: skip
    for flag, (default, what) in {
        "num-clips": (BodiesOptions.num_clips, "clips of each set"),
        "num-frames": (BodiesOptions.num_frames, "frames of each clip"),
        "size": (BodiesOptions.size, "side of the clips, in pixels"),
    }.items():
        out.add_argument(f"--{flag}", type=int, default=default, help=f"{what} (default: {default})")
    out.add_argument("--smooth", action="store_true", help="as run --smooth: poses and sides over time")
    out.add_argument("--steady-sides", action="store_true", help="as run --steady-sides")
    out.add_argument("--train", action="store_true", help="learn models without labels, unless they are in the cache")
    out.add_argument(
        "--trainers", nargs="+", choices=TRAINERS, default=list(TRAINERS), help="of --train; default: both"
    )
    out.add_argument("--preset", help="of the trainers (default: quick for assembly, fast for scops)")
    out.add_argument("--threads", type=int, default=0, help="of the trainings (default: torch's choice)")
    out.add_argument("--features", type=Path, help="SqueezeNet's weights for scops, .npz (default: torchvision's)")
    add_output_flags(out, "bodies", "write a sheet per set and model")
    return out


def asked_of(args: argparse.Namespace, more: Sequence[str]) -> BodiesOptions:
    """Raises StreampartsError."""
    require_work(args)
    if min(args.num_clips, args.num_frames) < 1 or args.size < 32 or args.size % 2:
        raise StreampartsError("need at least one clip and frame, and an even --size from 32")
    features = args.features.absolute() if args.features else None
    return BodiesOptions(
        cache=(args.cache or default_cache("bodies")).absolute(),
        sets=tuple(dict.fromkeys(args.sets)),
        models=tuple(named(text) for text in args.models),
        num_clips=args.num_clips,
        num_frames=args.num_frames,
        size=args.size,
        pictures=args.pictures,
        smoothing=smoothing_of(args),
        trainers=tuple(dict.fromkeys(args.trainers)) if args.train else (),
        recipe=LearnerOptions(args.preset, args.threads, features, tuple(more)),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 with a one-line error, or 2 for wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    args, more = parsed(parser(), words)
    try:
        figures = measure(asked_of(args, more))
    except (StreampartsError, OSError, ValueError) as error:
        return print_error("bodies", error)
    columns = list(dict.fromkeys(key for row in figures["rows"] for key in row))
    print(table(columns, [[row.get(column) for column in columns] for row in figures["rows"]]))
    write_figures(args.out, words, figures)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
