"""Accuracy of covered parts: python -m benchmarks.covered [--model X]

In held-out puppet clips, each part is covered four times for 3 to 10 frames: at least half of it takes the background's
colours. The skeleton is found in the tracks of the same clip, uncovered. Errors are of the centres, RMS in pixels of a
256 px frame, separated by whether the network considers the part visible.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

import streamparts
from streamparts.arrays import ByteArray
from streamparts.bundle.load import Bundle
from streamparts.sources.rescale import Rescaler
from streamparts.tracking.skeleton import Skeleton
from streamparts.tracking.skeleton_finding import find_skeleton
from streamparts.tracking.smoothing import Smoothing
from train.drawing.puppet_clips import load_truth, write_clips
from train.labels.puppets import UNSEEN_SEED

FIRST_SEED = UNSEEN_SEED + 10_000
SIDE, NUM_FRAMES, FPS = 256, 250, 30
SETTLED = 30
"""Number of frames before the first cover."""


def covered(
    images: list[ByteArray], labels: ByteArray, rng: Generator, num_parts: int
) -> tuple[list[ByteArray], NDArray[np.bool_]]:
    """The frames with covered parts, and (F, K) which parts, in the order of `labels`."""
    background = np.median(np.stack(images[::5]), axis=0).astype(np.uint8)
    out, cover = [image.copy() for image in images], np.zeros((len(images), num_parts), np.bool_)
    for part in range(num_parts):
        for start in rng.integers(SETTLED, len(images) - 12, 4):
            cover[start : start + rng.integers(3, 11), part] = True
    for frame, part in np.argwhere(cover):
        y, x = np.nonzero(labels[frame] == part + 1)
        along = x if rng.random() < 0.5 else y
        hidden = np.argsort(along)[: int(len(y) * rng.uniform(0.5, 1))]
        out[frame][y[hidden], x[hidden]] = background[y[hidden], x[hidden]]
        cover[frame, part] = len(hidden) > 0
    return out, cover


def errors(
    bundle: Bundle, skeleton: Skeleton | None, images: list[ByteArray], true: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(F, K) squared distances of the centres, and which parts the network considers visible."""
    tracker = streamparts.Tracker(bundle, smoothing=Smoothing(), skeleton=skeleton)
    tracks = [tracker.update(image, number / FPS) for number, image in enumerate(images)]
    centers = np.stack([each.centers for each in tracks]).astype(np.float64)
    return np.square(centers - true).sum(-1), np.stack([each.visible for each in tracks])


def measure(model: str | None, num_clips: int, kind: str = "human") -> dict[str, dict[str, float]]:
    """Error in pixels by filter and kind of part, and the number of parts it averages."""
    bundle = streamparts.load_model(model)
    squared: dict[str, dict[str, list[float]]] = {
        "--smooth": defaultdict(list),
        "--smooth --skeleton": defaultdict(list),
    }
    with tempfile.TemporaryDirectory() as folder:
        for number, clip in enumerate(write_clips(folder, kind, num_clips, FIRST_SEED, NUM_FRAMES, (SIDE, SIDE))):
            truth = load_truth(clip)
            order = [truth.part_names.index(name) for name in bundle.spec.parts]
            true = (truth.affines[:, order][..., 2] + 1) * (SIDE / 2)
            rescaler, tracks = Rescaler(), list(streamparts.track(clip, bundle))
            skeleton = find_skeleton(
                np.stack([each.affines for each in tracks]),
                np.stack([each.scores * each.visible for each in tracks]),
                bundle.spec.parts,
                SIDE,
            )
            frames = [rescaler.rgb(each.frame) for each in tracks]
            images, cover = covered(frames, truth.labels, np.random.default_rng(number), len(order))
            cover = cover[:, order]
            for name, chosen in (("--smooth", None), ("--smooth --skeleton", skeleton)):
                off, seen = errors(bundle, chosen, images, true)
                for what, which in (
                    ("covered, called seen", cover & seen),
                    ("covered, called hidden", cover & ~seen),
                    ("not covered, called seen", ~cover & seen),
                ):
                    squared[name][what] += off[SETTLED:][which[SETTLED:]].tolist()
    counted = {what: float(len(each)) for what, each in squared["--smooth"].items()}
    return {
        **{
            name: {what: round(float(np.sqrt(np.mean(each))), 1) for what, each in by_kind.items() if each}
            for name, by_kind in squared.items()
        },
        "parts": counted,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", default="puppet-human", help="default: %(default)s; its parts have the names of the bones"
    )
    parser.add_argument("--num-clips", type=int, default=6)
    args = parser.parse_args()
    print(json.dumps(measure(args.model, args.num_clips), indent=2))


if __name__ == "__main__":
    main()
