"""The papers' eight systems on the same clips: python -m benchmarks.table CLIPS --labels SET --features FILE --out DIR

Each system is trained on CLIPS for the same processor time, one thread, once per seed: a short trial measures a step,
and the steps follow from it. Then its network is judged on SET picture by picture, as train-baseline's and train's own
evaluation does. Trainings that are done are kept, so that the same command continues an interrupted table. The folder
gets table.md, table.json and table.png, one column per system. --published also judges the masks in the lower halves of
stacked clips (taichi: only). With --setting, clips and truth are rendered, into the folder.

examples:
  python -m benchmarks.table --setting exercise --features squeezenet.npz --out tables/exercise --only psd nem r-nem
  python -m benchmarks.table clips/human --labels puppets --features squeezenet.npz --out tables/human --minutes 4
  python -m benchmarks.table clips/taichi --labels taichi:taichi --features vgg.npz --out taichi --subject auto
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import cv2
import numpy as np

from benchmarks.markdown import table
from benchmarks.place import commit, machine
from benchmarks.table.halves import published_pairs
from benchmarks.table.published import published_table
from benchmarks.table.rendered import SETTINGS
from benchmarks.table.systems import MASKED, Shared, System, systems, train
from streamparts.arrays import ByteArray
from streamparts.errors import StreampartsError
from train.baselines.methods import METHODS
from train.evaluate import evaluate, rounded
from train.frames.spread import spread
from train.judging.finding import open_finder
from train.judging.found import Finder, FoundParts
from train.judging.landmarks import split_frames
from train.judging.observation import observe
from train.judging.sections import Section, landmark_scores, report
from train.judging.side_by_side import SheetFrame, draw_found, draw_truth
from train.labels import KINDS, EvaluationSet, LabelledFrame, PuppetOptions, open_set

FIGURES = {
    "foreground IoU": "foreground.iou",
    "part IoU, one to one": "parts.iou",
    "part IoU, merged": "parts.merged_iou",
    "NMI at keypoints inside": "keypoints.nmi",
    "ARI": "keypoints.ari",
    "NMI at all keypoints": "keypoints.nmi_all",
    "keypoints inside": "keypoints.inside",
    "landmarks by ridge, px at 256": "ridge.hard.mean_px256",
    "constant": "ridge.constant.mean_px256",
}
"""Rows of the table, and their places in the report of train.evaluate."""
NAMES = ("Assembly", "SCOPS", "ULD", "DFF", *METHODS, MASKED)
PUBLISHED = "published"
SHOWN = 5
"""Frames of the picture."""
TITLE = 24
"""Height of the picture's first row in pixels."""


@dataclass
class Column:
    """One system's results."""

    name: str
    sections: list[Section] = field(default_factory=list)
    minutes: list[float] = field(default_factory=list)
    steps: dict[str, int] = field(default_factory=dict)
    find: Callable[[LabelledFrame], FoundParts] | None = None
    """Parts of a frame, for the picture; of the first seed."""


def figure(section: Section, path: str) -> float | None:
    """A figure of a report by its path."""
    value: object = section
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return float(value) if isinstance(value, int | float) else None


def as_markdown(columns: Sequence[Column]) -> str:
    """One row per figure that any system has, means over seeds."""
    rows: list[list[object]] = []
    for name, path in FIGURES.items():
        values = [[v for s in column.sections if (v := figure(s, path)) is not None] for column in columns]
        if any(values):
            digits = 1 if "px" in path else 3
            rows.append([name, *(f"{mean(each):.{digits}f}" if each else None for each in values)])
    rows.append(["processor minutes", *(f"{mean(c.minutes):.1f}" if c.minutes else None for c in columns)])
    rows.append(["steps", *("+".join(map(str, list(c.steps.values())[:2])) or None for c in columns)])
    rows.append(["seeds", *(len(c.sections) for c in columns)])
    return table(["", *(column.name for column in columns)], rows)


def picture(columns: Sequence[Column], labelled: EvaluationSet) -> ByteArray:
    """Frames spread over the set, one a row: the truth, then what each system finds."""
    chosen = set(spread(labelled.num_frames, SHOWN))
    frames = [frame for row, frame in enumerate(labelled.read()) if row in chosen]
    shown = [column for column in columns if column.find]
    rows = []
    for frame in frames:
        found = [SheetFrame(frame, column.find(frame)) for column in shown if column.find]
        colours = None if frame.labels is None else np.arange(len(labelled.part_names))
        rows.append(np.concatenate([draw_truth(found[0], colours), *(draw_found(each) for each in found)], axis=1))
    sheet = np.concatenate(rows)
    title = np.zeros((TITLE, sheet.shape[1], 3), np.uint8)
    width = sheet.shape[1] // (len(shown) + 1)
    for number, name in enumerate(("truth", *(column.name for column in shown))):
        cv2.putText(title, name, (number * width + 4, TITLE - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1)
    return np.concatenate([title, sheet])


def measured(system: System, settings: Shared, labelled: EvaluationSet, args: argparse.Namespace) -> Column:
    """Train and judge one system, once per seed."""
    column = Column(system.name)
    for seed in range(args.seeds):
        run = args.out / f"{system.name.lower()}-{seed}"
        done = train(system, settings, seed, run)
        finder = open_finder(str(run / "teacher.safetensors" if args.teacher and system.name == "Assembly" else run))
        column.sections.append(evaluate(finder, labelled, finder.part_names, seed=0))
        column.steps, column.find = done["steps"], column.find or finding(finder)
        if done["minutes"] is not None:
            column.minutes.append(done["minutes"])
    return column


def finding(finder: Finder) -> Callable[[LabelledFrame], FoundParts]:
    return lambda frame: finder(frame.image)


def published(labelled: EvaluationSet) -> Column:
    """The masks in the lower halves of the clips."""
    pairs = list(published_pairs(labelled))
    observed = observe(iter(pairs), len(labelled.part_names))
    fit = split_frames(observed.clips, 0)
    names = tuple(f"part{k}" for k in range(observed.hard_centers.shape[1]))
    stored = {(frame.clip, frame.index): found for frame, found in pairs}
    section = report(labelled, observed, landmark_scores(observed, fit), fit, names)
    return Column(PUBLISHED, [section], find=lambda frame: stored[frame.clip, frame.index])


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(
        prog="python -m benchmarks.table", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    out.add_argument("clips", type=Path, nargs="?", metavar="CLIPS", help="folder of raw clips, with --labels")
    out.add_argument("--labels", metavar="SET", help="; ".join(KINDS.values()))
    settings = "; ".join(f"{name}: {each.about}" for name, each in SETTINGS.items())
    out.add_argument("--setting", choices=SETTINGS, help=f"in place of CLIPS and --labels: {settings}")
    out.add_argument("--features", type=Path, nargs="+", required=True, metavar="FILE", help=".npz, see docs/train.md")
    out.add_argument("--out", type=Path, required=True, metavar="DIR", help="for the runs and the table")
    out.add_argument("--only", nargs="+", default=list(NAMES), choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    out.add_argument("--minutes", type=float, default=4.0, help="processor time of a training (default: %(default)s)")
    out.add_argument("--seeds", type=int, default=1, help="trainings of each system (default: %(default)s)")
    out.add_argument("--num-parts", type=int, help="of all but Assembly (default: 10, or the setting's)")
    out.add_argument("--subject", default="background", help="as in train (default: %(default)s, whole frames)")
    out.add_argument("--teacher", action="store_true", help="judge Assembly's teacher in place of its student")
    out.add_argument("--published", action="store_true", help="also the masks below the frames of stacked clips")
    out.add_argument("--max-frames", type=int, default=200, help="of the set, spread evenly (default: %(default)s)")
    out.add_argument("--puppet-num-clips", type=int, default=4, help="of rendered puppets (default: %(default)s)")
    return out


def run(args: argparse.Namespace) -> None:
    """Everything is opened before the first training, so that a wrong name fails at once. Raises StreampartsError."""
    args.num_parts = args.num_parts or (SETTINGS[args.setting].num_parts if args.setting else 10)
    if min(args.seeds, args.max_frames, args.num_parts, args.puppet_num_clips) < 1 or not args.minutes > 0:
        raise StreampartsError("--minutes, --seeds, --num-parts and the numbers of frames must be positive")
    given = (args.clips is not None, args.labels is not None)
    if given != ((False, False) if args.setting else (True, True)):
        raise StreampartsError("give CLIPS and --labels, or --setting alone")
    for path in (*([args.clips] if args.clips else []), *args.features):
        if not path.exists():
            raise StreampartsError(f"{path} does not exist")
    args.out = args.out.absolute()
    clips, labelled = opened(args)
    settings = Shared(clips.absolute(), args.num_parts, args.subject, tuple(args.features), args.minutes)
    args.out.mkdir(parents=True, exist_ok=True)
    columns = [published(labelled)] if args.published else []
    for system in [each for name, each in systems(settings).items() if name in args.only]:
        columns.append(measured(system, settings, labelled, args))
        keep(columns, labelled, args)
    print((args.out / "table.md").read_text(encoding="utf-8"))


def opened(args: argparse.Namespace) -> tuple[Path, EvaluationSet]:
    """The clips and the labelled set."""
    if args.setting:
        return SETTINGS[args.setting].make(args.out, args.max_frames, args.puppet_num_clips)
    return args.clips, open_set(args.labels, args.max_frames, PuppetOptions(args.puppet_num_clips))


def keep(columns: Sequence[Column], labelled: EvaluationSet, args: argparse.Namespace) -> None:
    """Write what there is so far."""
    about = f"{labelled.name}, {labelled.num_frames} frames; truth: {labelled.truth}."
    names = [column.name for column in columns]
    text = f"{about}\n\n{as_markdown(columns)}\n\nPublished, of other data:\n\n{published_table(names)}\n"
    (args.out / "table.md").write_text(text, encoding="utf-8")
    stored: dict[str, Any] = {"commit": commit(), "machine": machine(), "minutes": args.minutes}
    stored["systems"] = {
        column.name: rounded({"seeds": [rounded(s) for s in column.sections], "steps": column.steps})
        for column in columns
    }
    (args.out / "table.json").write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    cv2.imwrite(str(args.out / "table.png"), picture(columns, labelled)[..., ::-1])


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 with a one-line error, or 2 for wrong usage."""
    args = parser().parse_args(argv)
    try:
        run(args)
    except (StreampartsError, OSError, ValueError) as error:
        print(f"benchmarks.table: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
