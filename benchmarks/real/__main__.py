"""Evaluates models, and the trainers, on real video: python -m benchmarks.real [--sets NAME ...]

Prepares the clips of each set in a cache folder, evaluates models on them and prints a table in Markdown: every figure
with the kind of its truth ("true", or "pseudo" and its origin) and with the source of the model's subject. Models are
evaluated on the sets of their kind of subject, if it is known, or on those of --sets. --train also trains one on each
set's own clips (half an hour each on two cores; kept in the cache) and evaluates its teacher, its student and its
export. Models run as users run them: `streamparts.track`, clip by clip, stills one by one.
examples:
  python -m benchmarks.real --models puppet-human                     # the shipped model on people, nothing trained
  python -m benchmarks.real --sets taichi hand --train --pictures sheets
  python -m benchmarks.real --sets davis-animals --models dog=runs/dog.onnx --out dog.json
  python -m benchmarks.real --sets dance --train --subject motion --steps-scale 0.1 -- --seed 1
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.place import commit, machine
from benchmarks.real import training
from benchmarks.real.measuring import MAX_FRAMES, Asked, Rows, default_cache, measure
from benchmarks.real.sets import DATA, SETS
from benchmarks.real.tables import tables
from streamparts.cli.run_flags import smoothing_of
from streamparts.errors import StreampartsError
from train.evaluate import rounded
from train.presets.assembly import PRESETS


def parser() -> argparse.ArgumentParser:
    known = "\n".join(f"  {name:14} {each.about} ({each.kind})" for name, each in SETS.items())
    out = argparse.ArgumentParser(
        prog="python -m benchmarks.real",
        description=__doc__,
        epilog=f"sets:\n{known}\n\nFlags after -- are handed to train.assembly.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    out.add_argument("--sets", nargs="+", choices=SETS, metavar="NAME", help="default: all, with what is made for them")
    out.add_argument(
        "--models", nargs="+", default=[], metavar="NAME[=FILE]", help="shipped models by name, or .onnx files"
    )
    out.add_argument("--train", action="store_true", help="learn a model from each set, unless it is in the cache")
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
    out.add_argument("--pictures", type=Path, metavar="DIR", help="write a sheet per set and model; not for publishing")
    out.add_argument("--data", type=Path, default=DATA, help="folder of the sets (default: ../shared/data)")
    out.add_argument("--cache", type=Path, help="for clips and runs (default: ~/.cache/streamparts/real)")
    out.add_argument("--out", type=Path, help="also write the figures there as JSON")
    return out


def asked_of(args: argparse.Namespace, more: Sequence[str]) -> Asked:
    """Raises StreampartsError."""
    if not args.train and not args.models:
        raise StreampartsError("nothing to judge: give --models NAME[=FILE], or --train")
    if args.max_frames < 1 or not args.steps_scale > 0:
        raise StreampartsError("--max-frames must be at least 1 and --steps-scale above 0")
    for path in (args.out.parent if args.out else None, args.pictures):
        if path and not path.is_dir():
            raise StreampartsError(f"{path} is not a folder; create it first")
    models = dict(_named(text) for text in args.models)
    subject = str(Path(args.subject).absolute()) if Path(args.subject).exists() else args.subject
    recipe = training.Recipe(args.preset, args.steps_scale, subject, args.threads, tuple(more))
    return Asked(
        tuple(SETS[name] for name in dict.fromkeys(args.sets or SETS)),
        models,
        args.data,
        (args.cache or default_cache()).absolute(),
        max_frames=args.max_frames,
        pictures=args.pictures,
        roi=args.roi,
        smoothing=smoothing_of(args),
        everywhere=args.sets is not None,
        recipe=recipe if args.train else None,
    )


def _named(text: str) -> tuple[str, str]:
    name, _, file = text.partition("=")
    return (name, file) if file else (Path(name).stem if name.endswith(".onnx") else name, name)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, 1 with one line on what is wrong, 2 for wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    own, more = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    args = parser().parse_args(own)
    try:
        asked = asked_of(args, more)

        def keep(rows: Rows, lines: list[str]) -> None:
            about: dict[str, Any] = {"command": words, "commit": commit(), "machine": machine(), "missing": lines}
            if args.out:
                kept = [rounded(row) for row in rows]
                args.out.write_text(json.dumps({**about, "rows": kept}, indent=1) + "\n", encoding="utf-8")

        rows, missing = measure(asked, keep)
        if not rows:
            raise StreampartsError(missing[0] if missing else "no model fits a set that was chosen")
    except (StreampartsError, OSError, ValueError) as error:
        print(f"benchmarks.real: error: {error}", file=sys.stderr)
        return 1
    print(tables(rows, missing))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
