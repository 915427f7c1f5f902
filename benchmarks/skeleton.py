"""Skeletons found in predicted tracks of held-out puppets: python -m benchmarks.skeleton [--model X]

Each clip is streamed with the model. Its skeleton is found in these tracks and compared with the puppet's own: which
edges are found, and the distance of the found joints from the true ones over the frames in which a part at the joint is
visible.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

import streamparts
from streamparts.bundle.load import Bundle
from streamparts.tracking.skeleton import Skeleton
from streamparts.tracking.skeleton_finding import find_skeleton
from train.drawing.puppet_clips import PuppetTruth, load_truth, write_clips
from train.drawing.puppet_figures import FIGURES
from train.labels.puppets import UNSEEN_SEED


def tracked(clip: Path, bundle: Bundle) -> tuple[np.ndarray, np.ndarray]:
    """(F, K, 2, 3) affines in pixels, and (F, K) scores, 0 where a part is not visible."""
    tracks = [(x.affines, x.scores * x.visible) for x in streamparts.track(clip, bundle)]
    return np.stack([affines for affines, _ in tracks]), np.stack([weights for _, weights in tracks])


def compare(
    skeleton: Skeleton, affines: np.ndarray, weights: np.ndarray, truth: PuppetTruth, kind: str
) -> tuple[float, list[float]]:
    """Share of the true edges that were found, and the mean distance of each of their joints in pixels."""
    bones = FIGURES[kind].bones
    number = {name: part for part, name in enumerate(skeleton.parts)}
    true = {frozenset((number[b.name], number[b.parent])): k for k, b in enumerate(bones) if b.parent}
    placed = np.stack([skeleton.joint_positions(a, w > 0) for a, w in zip(affines, weights, strict=True)])
    errors = []
    for column, edge in enumerate(skeleton.edges):
        if frozenset(edge) in true:
            apart = placed[:, column] - truth.joints[:, true[frozenset(edge)]]
            errors.append(float(np.nanmean(np.hypot(*apart.T))))
    return len(errors) / len(true), errors


def measure(model: str | None, kind: str, num_clips: int, num_frames: int, size: int) -> dict[str, float]:
    bundle, recalls, errors = streamparts.load_model(model), [], []
    with tempfile.TemporaryDirectory() as folder:
        for clip in write_clips(folder, kind, num_clips, UNSEEN_SEED, num_frames, (size, size)):
            affines, weights = tracked(clip, bundle)
            skeleton = find_skeleton(affines, weights, bundle.spec.parts, size)
            recall, found = compare(skeleton, affines, weights, load_truth(clip), kind)
            recalls.append(recall)
            errors += found
    figures = {"edge recall": np.mean(recalls), "exact trees": np.mean(np.array(recalls) == 1)}
    shares = {"joint error, share of the side": np.mean(errors) / size, "median": np.median(errors) / size}
    return {name: round(float(value), 4) for name, value in {**figures, **shares}.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", default=None, help="default: the bundled model; its parts have the names of the bones"
    )
    parser.add_argument("--kind", default="human", choices=sorted(FIGURES))
    parser.add_argument("--num-clips", type=int, default=20)
    parser.add_argument("--num-frames", type=int, default=250)
    parser.add_argument("--size", type=int, default=256)
    args = parser.parse_args()
    print(json.dumps(measure(args.model, args.kind, args.num_clips, args.num_frames, args.size)))


if __name__ == "__main__":
    main()
