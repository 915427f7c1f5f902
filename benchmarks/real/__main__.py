"""What models find in real video, and what the trainers learn from it: python -m benchmarks.real [--sets NAME ...]

Prepares the clips of each set in a cache folder, evaluates models on them and prints a table in Markdown: every figure
with the kind of its truth ("true", or "pseudo" and whose) and with where the subject of the model came from. Models
given by name are tried on the sets of their kind of subject, others on every set chosen; --train also learns one from
each set's own clips (half an hour each on two cores; kept in the cache) and judges its teacher, its student and its
export. Models are run as a user runs them: `streamparts.track`, clip by clip, stills one by one.

examples:
  python -m benchmarks.real --models puppet-human                     # the shipped model on people, nothing trained
  python -m benchmarks.real --sets taichi hand --train --pictures /tmp/sheets
  python -m benchmarks.real --sets davis-animals --models dog=runs/dog.onnx --out dog.json
  python -m benchmarks.real --sets dance --train --subject motion --steps-scale 0.1 -- --seed 1
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.place import commit, machine
from benchmarks.real import training
from benchmarks.real.running import Model, false_parts, judge, network_model, runtime_model
from benchmarks.real.sets import DATA, SETS, Case, NoDataError, RealSet, empty
from benchmarks.real.tables import Row, tables
from streamparts.errors import StreampartsError
from train.config import PRESETS
from train.evaluate import rounded

KINDS = {"person": "person", "puppet-human": "person", "dog": "quadruped", "hand": "hand", "rodent-top": "mouse"}
"""Model name -> the kind of subject that it is made for."""
MAX_FRAMES = 900


@dataclass(frozen=True)
class Asked:
    """What a run is to do."""

    sets: tuple[RealSet, ...]
    models: dict[str, str]
    """Name -> file, or the name of a shipped model."""
    data: Path
    cache: Path
    max_frames: int = MAX_FRAMES
    pictures: Path | None = None
    roi: str = "auto"
    recipe: training.Recipe | None = None
    """None trains nothing."""


def default_cache() -> Path:
    """Outside of every checkout."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "streamparts" / "real"


def measure(asked: Asked) -> tuple[list[Row], list[str]]:
    """A row for every model and case, and a line for every set whose clips are not here. Raises StreampartsError for
    what else goes wrong."""
    rows, missing = list[Row](), list[str]()
    loaded = {name: runtime_model(name, file, asked.roi) for name, file in asked.models.items()}
    for each in asked.sets:
        try:
            cases = each.cases(asked.data, asked.cache, asked.max_frames)
        except NoDataError as error:
            missing.append(str(error))
            continue
        for case in cases:
            for model in models_for(each, case, loaded, asked):
                print(f"{case.name}: {model.name}", file=sys.stderr, flush=True)
                rows.append(_row(each, case, model, asked))
    return rows + list(_false_parts(loaded, asked)), missing


def models_for(each: RealSet, case: Case, loaded: dict[str, Model], asked: Asked) -> Iterator[Model]:
    """The models given that fit the set, then what was learned from it."""
    yield from (model for name, model in loaded.items() if KINDS.get(name, each.kind) == each.kind)
    if asked.recipe is None or not case.training:
        return
    run = training.train(case, asked.recipe, asked.cache, case.training)
    about = f"learned in {run.minutes:.0f} minutes"
    yield network_model(f"{case.run}, teacher", run.folder / "teacher.safetensors", run.subject)
    if (run.folder / "student.safetensors").exists():
        yield network_model(f"{case.run}, student", run.folder, run.subject)
    yield runtime_model(f"{case.run}, exported, {about}", str(run.exported), asked.roi, run.subject)


def _row(each: RealSet, case: Case, model: Model, asked: Asked) -> Row:
    sheet = (
        asked.pictures / f"{re.sub('[^A-Za-z0-9.]+', '_', f'{case.name}-{model.name}')}.png" if asked.pictures else None
    )
    head = {"set": each.name, "case": case.name, "truth": case.labelled.truth, "model": model.name}
    return {**head, "subject": model.subject, "figures": judge(model, case.labelled, sheet)}


def _false_parts(loaded: dict[str, Model], asked: Asked) -> Iterator[Row]:
    """Of the models given that are made for a kind of subject, where the clips are here."""
    for name, model in loaded.items():
        for case in empty(KINDS[name], asked.data) if name in KINDS else []:
            shares = false_parts(model, case.labelled)
            yield {"set": "empty", "case": case.name, "model": name, "subject": model.subject, "false parts": shares}


def parser() -> argparse.ArgumentParser:
    known = "\n".join(f"  {name:14} {each.about} ({each.kind})" for name, each in SETS.items())
    out = argparse.ArgumentParser(
        prog="python -m benchmarks.real",
        description=__doc__,
        epilog=f"sets:\n{known}\n\nFlags after -- are handed to train.assembly.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    out.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), metavar="NAME", help="default: all")
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
    out.add_argument("--roi", default="auto", help="streamparts.track's: auto follows the subject, off does not")
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
    recipe = training.Recipe(args.preset, args.steps_scale, args.subject, args.threads, tuple(more))
    return Asked(
        tuple(SETS[name] for name in dict.fromkeys(args.sets)),
        models,
        args.data,
        args.cache or default_cache(),
        args.max_frames,
        args.pictures,
        args.roi,
        training.checked(recipe) if args.train else None,
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
        rows, missing = measure(asked)
        if not rows:
            raise StreampartsError(missing[0] if missing else "no model fits a set that was chosen")
    except (StreampartsError, OSError, ValueError) as error:
        print(f"benchmarks.real: error: {error}", file=sys.stderr)
        return 1
    print(tables(rows, missing))
    if args.out:
        result: dict[str, Any] = {"command": words, "commit": commit(), "machine": machine(), "missing": missing}
        args.out.write_text(json.dumps(rounded({**result, "rows": rows}), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
