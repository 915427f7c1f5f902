"""Settings whose clips and truth are rendered: puppets, bodies, and pairs like those of the data set Exercise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.table.systems import command
from train.drawing.puppet_clips import write_clips
from train.labels import EvaluationSet, LabelledFrame, PuppetOptions, open_set
from train.labels.puppets import UNSEEN_SEED

NUM_CLIPS, NUM_FRAMES, SIDE = 24, 48, 128
"""Clips for training of puppets and bodies."""
NUM_UNSEEN = 4
"""Clips of bodies for the evaluation."""
NUM_PAIRS, NUM_UNSEEN_PAIRS, SMALL_SIDE, SLOW = 160, 60, 64, 10
"""Pairs for training and for the evaluation, their side, and the frame rate, which sets how far a pair moves."""
REGIONS = ("upper body", "left leg", "right leg")
"""The three parts on which Gao et al. compare with Flow Capsules."""
LEGS = ("thigh", "shin")


@dataclass(frozen=True)
class Setting:
    """Clips to train on, and labelled ones, in a folder that is made for them."""

    about: str
    num_parts: int
    make: Callable[[Path, int, int], tuple[Path, EvaluationSet]]
    """Takes the folder, the maximum number of labelled frames and the number of rendered puppets."""


def puppets(folder: Path, max_frames: int, num_clips: int) -> tuple[Path, EvaluationSet]:
    clips = once(folder / "puppets", lambda out: write_clips(out, "human", NUM_CLIPS, 0, NUM_FRAMES, (SIDE, SIDE)))
    return clips, open_set("puppets:human", max_frames, PuppetOptions(num_clips))


def bodies(folder: Path, max_frames: int, num_clips: int) -> tuple[Path, EvaluationSet]:
    """People, the labelled ones of another seed."""

    def render(out: Path, count: int, seed: int) -> None:
        numbers = {
            "num-clips": count, "num-frames": NUM_FRAMES, "size": SIDE, "seed": seed, "num-bodies": 2 * NUM_CLIPS
        }  # fmt: skip
        words = [word for name, value in numbers.items() for word in (f"--{name}", str(value))]
        command("train.bodies", "person", "--out", str(out), *words)

    clips = once(folder / "bodies", lambda out: render(out, NUM_CLIPS, 0))
    unseen = once(folder / "unseen-bodies", lambda out: render(out, NUM_UNSEEN, UNSEEN_SEED))
    return clips, open_set(f"puppets:{unseen}", max_frames, PuppetOptions())


def exercise(folder: Path, max_frames: int, num_clips: int) -> tuple[Path, EvaluationSet]:
    """Two frames of a puppet on a still background, small, with three true parts."""

    def render(out: Path, count: int, seed: int) -> None:
        write_clips(out, "human", count, seed, 2, (SMALL_SIDE, SMALL_SIDE), fps=SLOW)

    clips = once(folder / "pairs", lambda out: render(out, NUM_PAIRS, 0))
    unseen = once(folder / "unseen-pairs", lambda out: render(out, NUM_UNSEEN_PAIRS, UNSEEN_SEED))
    return clips, in_regions(open_set(f"puppets:{unseen}", max_frames, PuppetOptions()))


SETTINGS = {
    "puppets": Setting("rendered puppets", 10, puppets),
    "bodies": Setting("rendered people", 10, bodies),
    "exercise": Setting("pairs of small pictures before a still background, three parts", 3, exercise),
}


def once(folder: Path, render: Callable[[Path], object]) -> Path:
    """Return the folder, and render into it unless that was done."""
    if not folder.exists():
        partial = folder.with_name(f".{folder.name}")
        partial.mkdir(parents=True, exist_ok=True)
        render(partial)
        partial.rename(folder)
    return folder


def region(part: str) -> int:
    """Index in REGIONS of a puppet's part."""
    side, _, limb = part.partition("_")
    return 0 if limb not in LEGS else 1 + ("left", "right").index(side)


def in_regions(labelled: EvaluationSet) -> EvaluationSet:
    """The same frames with REGIONS as true parts, and without poses."""
    table = np.array([0, *(1 + region(part) for part in labelled.part_names)], np.uint8)

    def read() -> Iterator[LabelledFrame]:
        for frame in labelled.read():
            assert frame.labels is not None
            yield replace(frame, labels=table[frame.labels], affines=None, visible_fraction=None)

    return replace(labelled, name=f"{labelled.name}, three parts", read=read, part_names=REGIONS)
