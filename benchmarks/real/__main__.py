"""Evaluates models, and the trainers, on real video: python -m benchmarks.real [--sets NAME ...]

Prepares the clips of each set in a cache folder, evaluates models on them and prints a table in Markdown: every figure
with the kind of its truth ("true", or "pseudo" and its origin) and with the source of the model's subject. Models are
evaluated on the sets of their kind of subject, if it is known, or on those of --sets. --train also trains one on each
set's own clips (half an hour each on two cores; kept in the cache) and evaluates its teacher, its student and its
export; on each DAVIS clip alone. --masks evaluates the subject's masks that such a training starts from, in minutes
instead of half an hour. Models run as users run them: `streamparts.track`, clip by clip, stills one by one.
examples:
  python -m benchmarks.real --models puppet-human                     # the bundled model on people, nothing trained
  python -m benchmarks.real --sets taichi hand --train --pictures sheets
  python -m benchmarks.real --sets davis-animals --models dog=runs/dog.onnx --out dog.json
  python -m benchmarks.real --sets davis-people davis-animals --masks --subject motion
  python -m benchmarks.real --sets dance --train --subject motion --steps-scale 0.1 -- --seed 1
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

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
from benchmarks.real import training
from benchmarks.real.measuring import MAX_FRAMES, Asked, Rows, measure
from benchmarks.real.sets import DATA, SETS
from benchmarks.real.tables import tables
from streamparts.cli.run_flags import smoothing_of
from streamparts.errors import StreampartsError
from train.evaluate import rounded
from train.presets.assembly import PRESETS


def parser() -> argparse.ArgumentParser:
    known = (f"{name:14} {each.about} ({each.kind})" for name, each in SETS.items())
    out = sets_parser("real", __doc__, known, "train.assembly")
    out.add_argument(
        "--sets", nargs="+", choices=SETS, metavar="NAME", help="default: all, each with the models of its kind"
    )
    out.add_argument(
        "--models", nargs="+", default=[], metavar="NAME[=FILE]", help="bundled models by name, or .onnx files"
    )
    out.add_argument("--train", action="store_true", help="learn a model from each set, unless it is in the cache")
    out.add_argument("--masks", action="store_true", help="also the masks that a training takes for the subject")
    out.add_argument(
        "--subject", default="auto", help="train.assembly's: auto, motion, saliency, a file or a folder of masks"
    )
    out.add_argument("--preset", default="cpu", choices=PRESETS, help="of train.assembly (default: %(default)s)")
    out.add_argument("--steps-scale", type=float, default=1.0, metavar="X", help="X times the preset's steps")
    out.add_argument("--threads", type=int, default=0, help="of the training (default: torch's choice)")
    out.add_argument("--roi", help="of streamparts.track: off follows nothing (default: auto)")
    out.add_argument("--smooth", action="store_true", help="as run --smooth: poses and sides over time")
    out.add_argument("--steady-sides", action="store_true", help="as run --steady-sides")
    out.add_argument("--max-frames", type=int, default=MAX_FRAMES, help="of each set, evenly (default: %(default)s)")
    out.add_argument("--data", type=Path, default=DATA, help="folder of the sets (default: ../shared/data)")
    add_output_flags(out, "real", "write a sheet per set and model; not for publishing")
    return out


def asked_of(args: argparse.Namespace, more: Sequence[str]) -> Asked:
    """Raises StreampartsError."""
    require_work(args, bool(args.masks))
    if args.max_frames < 1 or not args.steps_scale > 0:
        raise StreampartsError("--max-frames must be at least 1 and --steps-scale above 0")
    models = dict(named(text) for text in args.models)
    subject = str(Path(args.subject).absolute()) if Path(args.subject).exists() else args.subject
    recipe = training.Recipe(args.preset, args.steps_scale, subject, args.threads, tuple(more))
    return Asked(
        tuple(SETS[name] for name in dict.fromkeys(args.sets or SETS)),
        models,
        args.data,
        (args.cache or default_cache("real")).absolute(),
        max_frames=args.max_frames,
        pictures=args.pictures,
        roi=args.roi,
        smoothing=smoothing_of(args),
        everywhere=args.sets is not None,
        recipe=recipe if args.train else None,
        masks_of=subject if args.masks else None,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 with a one-line error, or 2 for wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    args, more = parsed(parser(), words)
    try:
        asked = asked_of(args, more)

        def keep(rows: Rows, lines: list[str]) -> None:
            write_figures(args.out, words, {"missing": lines, "rows": [rounded(row) for row in rows]})

        rows, missing = measure(asked, keep)
        if not rows:
            raise StreampartsError(missing[0] if missing else "no model fits a set that was chosen")
    except (StreampartsError, OSError, ValueError) as error:
        return print_error("real", error)
    print(tables(rows, missing))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
