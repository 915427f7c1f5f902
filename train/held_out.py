"""Evaluate a student on held-out rendered images, and calibrate its subject score.

Prints the figures, and writes held-out.json, the calibrated subject.json and the true skeleton.json into the run
folder. The images must be rendered with another --seed than those it was trained on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from streamparts.arrays import FloatArray
from streamparts.bundle.spec import pairs_by_name
from streamparts.learning.trainers import exit_code, trainer_parser
from streamparts.models.checkpoint import load_weights, read_config
from streamparts.models.readout import ExportedStudent, Readout
from streamparts.models.run_files import STUDENT
from streamparts.models.student import Student, StudentConfig
from streamparts.tracking.skeleton import Skeleton
from streamparts.tracking.skeleton_finding import find_skeleton

from .bodies.shards import Shard, read_shards
from .inputs.negatives import Negatives
from .inputs.rendered import NONE, RenderedImage, moved, take
from .students.presence import calibrate, features_of, scores

SUBJECT, FIGURES, SKELETON = "subject.json", "held-out.json", "skeleton.json"
CONNECTED = {frozenset(("torso", "tail"))}
"""Parts that are connected, although a third one fits as well: a tail's base lies between the hips."""
MARGIN = 0.25
"""Margin of the crops, see SubjectSpec: the framing of the images before jitter."""
LEAST_SEEN = 0.004
"""Share of the image's pixels from which a person counts as present."""
MOSTLY_SEEN = 0.5
"""Visible share of a part's silhouette from which the size of its pose is evaluated."""
TOGETHER = 32


def answers(student: Student, shards: Sequence[Shard]) -> Iterator[tuple[Readout, list[RenderedImage]]]:
    """Run a student on all images in small batches of B; return its output and the ground truth."""
    network, size = ExportedStudent(student).eval(), student.config.image_size
    still = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    for shard in shards:
        for first in range(0, len(shard), TOGETHER):
            rows = range(first, min(first + TOGETHER, len(shard)))
            some = [moved(take(shard, row), still, size) for row in rows]
            with torch.no_grad():
                read = network(torch.from_numpy(np.stack([sample.image for sample in some])))
            yield read, some


def answers_without(student: Student, negatives: Negatives, count: int) -> Iterator[Readout]:
    """Run a student on `count` images without the subject in small batches, the same ones in every call."""
    network, rng = ExportedStudent(student).eval(), np.random.default_rng(0)
    for first in range(0, count, TOGETHER):
        images = [negatives.draw(rng, student.config.image_size) for _ in range(min(TOGETHER, count - first))]
        with torch.no_grad():
            yield network(torch.from_numpy(np.stack(images)))


def judge(
    student: Student, shards: Sequence[Shard], negatives: Negatives = NONE
) -> tuple[dict[str, float], dict[str, object]]:
    """Return the figures, and the entries of SubjectSpec; false parts and presence include as many images of
    `negatives` as there are others, if there are any."""
    parts = shards[0].parts
    slots = len(parts) + 1
    confusion, false, empty = np.zeros((slots, slots), np.int64), 0.0, 0
    features, present, sizes = [], [], []
    for read, samples in answers(student, shards):
        guess, truth = read.labels.numpy(), np.stack([sample.labels for sample in samples])
        people = np.array([sample.people for sample in samples], np.uint8)
        sizes += [size_errors(own, sample) for own, sample in zip(read.affines.numpy(), samples, strict=True)]
        confusion += np.bincount((truth * np.uint8(slots) + guess).ravel(), minlength=confusion.size).reshape(
            confusion.shape
        )
        seen = (truth > 0).mean((1, 2))
        nobody = people == 0
        false, empty = false + float((guess[nobody] > 0).mean((1, 2)).sum()), empty + int(nobody.sum())
        clear = nobody | (seen > LEAST_SEEN)
        features.append(features_of(read)[clear])
        present.append(~nobody[clear])
    count = sum(map(len, shards)) if negatives else 0
    for read in answers_without(student, negatives, count):
        false, empty = false + float((read.labels.numpy() > 0).mean((1, 2)).sum()), empty + len(read.labels)
        features.append(features_of(read))
        present.append(np.zeros(len(read.labels), bool))
    inputs, targets = np.concatenate(features), np.concatenate(present).astype(np.float32)
    slope, offset = calibrate(inputs, targets)
    right = (scores(inputs, slope, offset) > 0.5) == (targets > 0.5)
    figures = {
        **from_confusion(confusion, parts),
        "false_part_share": false / max(empty, 1),
        "presence_right": float(right.mean()),
        "size_error": float(np.median(np.concatenate(sizes))),
    }
    return {name: round(value, 4) for name, value in figures.items()}, {
        "margin": MARGIN,
        "slope": [round(value, 4) for value in slope],
        "offset": round(offset, 4),
        "source": "rendered bodies",
    }


def size_errors(affines: FloatArray, truth: RenderedImage) -> FloatArray:
    """(2 n,) |log of predicted / true| length of both axes of the n parts of a single body that are mostly visible."""
    clear = (truth.seen > MOSTLY_SEEN) & (truth.people == 1)
    # (n, 2) lengths of the columns of A
    own, wanted = (np.linalg.norm(poses[clear, :, :2], axis=1) for poses in (affines, truth.affines))
    errors = np.abs(np.log(own) - np.log(np.maximum(wanted, 1e-3)))
    return np.asarray(errors.ravel(), np.float32)


def true_skeleton(shards: Sequence[Shard]) -> Skeleton:
    """Find the joints in the true poses of single bodies."""
    parts = shards[0].parts
    affines = np.concatenate([np.array(shard.affines)[shard.people == 1] for shard in shards])
    # in a square of side 2, the poses' normalised coordinates; parts outside the image count, as their poses are known
    weights = np.ones(affines.shape[:2], np.float32)
    pairs = [(i, j) for i, j in combinations(range(len(parts)), 2) if frozenset((parts[i], parts[j])) in CONNECTED]
    return find_skeleton(affines, weights, parts, 2.0, connected=pairs)


def from_confusion(confusion: NDArray[np.int64], parts: tuple[str, ...]) -> dict[str, float]:
    """Compute figures from a (1 + K, 1 + K) confusion matrix of pixels, truth by prediction: foreground IoU; mean part
    IoU, also with sides merged; and among limb pixels assigned to the right limb, the share with the right side,
    if any part has one."""
    foreground = confusion[1:, 1:].sum() / (confusion.sum() - confusion[0, 0])
    overlap = np.diag(confusion)[1:] / (confusion.sum(0) + confusion.sum(1) - np.diag(confusion))[1:].clip(1)
    pairs = [(one + 1, other + 1) for one, other in pairs_by_name(parts)]
    order = np.arange(len(confusion))
    for one, other in pairs:
        order[other] = one
    joined = np.zeros_like(confusion)
    np.add.at(joined, (order[:, None], order[None, :]), confusion)
    kept = np.unique(order)[1:]
    together = np.diag(joined)[kept] / (joined.sum(0) + joined.sum(1) - np.diag(joined))[kept].clip(1)
    right = sum(confusion[one, one] + confusion[other, other] for one, other in pairs)
    wrong = sum(confusion[one, other] + confusion[other, one] for one, other in pairs)
    return {
        "foreground_iou": float(foreground),
        "part_iou": float(overlap.mean()),
        "part_iou_sides_joined": float(together.mean()),
        **({"side_right": float(right / max(right + wrong, 1))} if pairs else {}),
    }


EXAMPLES = """examples:
  streamparts evaluate-rendered runs/person pictures/held-out
"""


def parser() -> argparse.ArgumentParser:
    out = trainer_parser("evaluate-rendered", __doc__ or "", EXAMPLES)
    out.add_argument("run", metavar="RUN", type=Path, help="run folder of train-supervised")
    out.add_argument("pictures", metavar="PICTURES", type=Path, help="folder of images rendered with another seed")
    out.add_argument(
        "--negatives", metavar="DIR", type=Path, nargs="*", default=[],
        help="folders of images without the subject, other than those used in training",
    )  # fmt: skip
    return out


def run(args: argparse.Namespace) -> None:
    """Evaluate the run's student; write and print the figures."""
    checkpoint = args.run / STUDENT
    student = load_weights(checkpoint, Student(read_config(checkpoint, StudentConfig))).eval()
    shards = read_shards(args.pictures)
    figures, subject = judge(student, shards, Negatives.load(args.negatives))
    (args.run / FIGURES).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    (args.run / SKELETON).write_bytes(true_skeleton(shards).to_json())
    (args.run / SUBJECT).write_text(json.dumps(subject, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({**figures, **subject}, indent=2))


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 with a one-line error, or 2 for wrong usage."""
    args = parser().parse_args(argv)
    return exit_code(lambda: run(args), args.debug)


if __name__ == "__main__":
    raise SystemExit(main())
