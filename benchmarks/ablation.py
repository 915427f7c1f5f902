"""Measure the effect of each addition to Assembly: python -m benchmarks.ablation CLIPS --out FOLDER [--only NAME ...]

Each variant disables one default addition, or enables one that is off, and trains a teacher per seed with the same
steps on the same clips. The teachers are evaluated on held-out puppets. Completed runs are skipped, so the same command
continues an interrupted table. On two cores, two parallel runs with one thread each are the fastest.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

VARIANTS: dict[str, tuple[str, ...]] = {
    "default": (),
    "no ellipse gate": ("--gate", "0"),
    "no bootstrap": ("--loss.bootstrap", "0", "--loss.bootstrap-masks", "0"),
    "no silhouette": ("--loss.bootstrap", "0", "--loss.bootstrap-masks", "0", "--loss.silhouette", "0"),
    "as many slots as parts": ("--network.num-parts", "10"),
    "fewer slots than parts": ("--network.num-parts", "8"),
    "slots not merged": ("--no-merge",),
    "centres regressed": ("--network.no-soft-argmax",),
    "no motion": ("--loss.motion", "0"),
    "no edges": ("--loss.edges", "0"),
    "no appearance": ("--loss.appearance", "0"),
    "no rigidity": ("--loss.rigidity", "0"),
    "triplets": ("--neighbours", "3"),
    "camera not followed": ("--no-follow-camera",),
}
"""Maps names to flags of train.assembly. The last one is meaningful only on clips of `train.puppets --camera
moving`."""

FIGURES = {
    "foreground IoU": ("foreground", "iou"),
    "part IoU": ("parts", "iou"),
    "merged IoU": ("parts", "merged_iou"),
    "centre error": ("pose", "center_share"),
    "switches": ("time", "switches_per_10000_frames"),
}


def trained(args: argparse.Namespace, flags: Sequence[str], variant: str, seed: int) -> Path:
    """Train and evaluate one teacher, unless that is done; return the path of its figures."""
    folder = Path(args.out) / f"{variant.replace(' ', '-')}-{seed}"
    scores = folder / "scores.json"
    if scores.exists():
        return scores
    own = ["--out", str(folder), "--seed", str(seed), "--threads", str(args.threads), "--student-steps", "0"]
    resume = ["--resume"] if (folder / "config.json").exists() else []
    train = ["train.assembly", str(args.clips), "--preset", "puppets", *own, *flags, *VARIANTS[variant], *resume]
    score = ["train.evaluate", str(folder / "teacher.safetensors"), f"puppets:{args.kind}", "--out", str(scores)]
    for command in (train, score):
        done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{variant}, seed {seed}: {done.stderr.strip().splitlines()[-1]}")
    print(f"{variant}, seed {seed}: done", file=sys.stderr)
    return scores


def row(name: str, scores: Sequence[Path]) -> str:
    """Return a line of the table: the mean of each figure, and part IoU of each seed."""
    sections = [next(iter(json.loads(path.read_text(encoding="utf-8"))["sets"].values())) for path in scores]
    values = {
        figure: [section[group][key] for section in sections if section[group]]
        for figure, (group, key) in FIGURES.items()
    }
    means = [f"{statistics.mean(value):.4g}" if value else "-" for value in values.values()]
    return f"| {name} | {' | '.join(means)} | {', '.join(f'{value:.3f}' for value in values['part IoU'])} |"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"variants: {', '.join(VARIANTS)}. Flags that are not listed go to train.assembly in every run.",
    )
    parser.add_argument("clips", type=Path, help="folder of puppet clips")
    parser.add_argument("--out", type=Path, required=True, help="folder with one subfolder per run")
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), choices=VARIANTS, metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--kind", default="human", help="kind of the unseen puppets")
    parser.add_argument("--parallel", type=int, default=2, help="number of parallel runs")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads per run")
    args, flags = parser.parse_known_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    jobs = [(variant, seed) for seed in args.seeds for variant in args.only]
    with ThreadPoolExecutor(args.parallel) as pool:
        scores = dict(zip(jobs, pool.map(lambda job: trained(args, flags, *job), jobs), strict=True))
    print(f"| variant | {' | '.join(FIGURES)} | part IoU of each seed |\n|---|{'---|' * (len(FIGURES) + 1)}")
    for variant in args.only:
        print(row(variant, [scores[variant, seed] for seed in args.seeds]))


if __name__ == "__main__":
    main()
