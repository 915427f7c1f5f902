"""Evaluate saliency maps with true masks: python -m benchmarks.saliency SET [SET ...], with sets as in train.evaluate.

Prints the metrics of papers on saliency: max F (beta^2 = 0.3, the best of 256 thresholds, with precision and recall
averaged over the images), mean absolute error, and milliseconds per image; and the mean IoU of the maps thresholded by
Otsu's method, from which train.scops learns its outline. The second line of each set is a Gaussian in the middle of
every image, a strong baseline if subjects are centred.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from streamparts.arrays import ByteArray, FloatArray
from streamparts.geometry import normalised_grid
from train.inputs.saliency import saliency_map
from train.labels import KINDS, EvaluationSet, PuppetOptions, open_set

BETA_SQUARED = 0.3

Curve = NDArray[np.float64]


def middle(image: ByteArray) -> FloatArray:
    """(H, W, 3) -> (H, W) a Gaussian with a standard deviation of a quarter of each side."""
    squared = (normalised_grid(*image.shape[:2]) ** 2).sum(-1)
    return np.asarray(np.exp(-squared / (2 * 0.5**2)), np.float32)


def precision_recall(saliency: FloatArray, mask: NDArray[np.bool_]) -> Curve:
    """(2, 256) for the pixels at or above each threshold of 255; precision is 1 if there is none."""
    levels = np.round(saliency * 255).astype(np.uint8)
    found, hit = (np.bincount(some, minlength=256)[::-1].cumsum()[::-1] for some in (levels.ravel(), levels[mask]))
    return np.stack([np.where(found > 0, hit / np.maximum(found, 1), 1), hit / mask.sum()])


def max_f(curves: Curve) -> float:
    """Maximum F-measure of (P, 2, 256) curves."""
    precision, recall = curves.mean(0)
    bottom = BETA_SQUARED * precision + recall
    return float(((1 + BETA_SQUARED) * precision * recall / np.maximum(bottom, 1e-12)).max())


def measure(labelled: EvaluationSet, method: Callable[[ByteArray], FloatArray]) -> dict[str, float]:
    curves, errors, overlaps, seconds = [], [], [], []
    for frame in tqdm(labelled.read(), labelled.name, labelled.num_frames, disable=None, leave=False):
        if frame.foreground is None or not frame.foreground.any():
            continue
        start = time.perf_counter()
        saliency = method(frame.image)
        seconds.append(time.perf_counter() - start)
        curves.append(precision_recall(saliency, frame.foreground))
        errors.append(float(np.abs(saliency - frame.foreground).mean()))
        cut = cv2.threshold(np.round(saliency * 255).astype(np.uint8), 0, 1, cv2.THRESH_OTSU)[1] > 0
        overlaps.append(float((cut & frame.foreground).sum() / (cut | frame.foreground).sum()))
    if not curves:
        raise SystemExit(f"{labelled.name} has no masks")
    return {
        "pictures": len(curves),
        "max_f": round(max_f(np.stack(curves)), 4),
        "mae": round(float(np.mean(errors)), 4),
        "iou": round(float(np.mean(overlaps)), 4),
        "ms": round(1000 * float(np.median(seconds)), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="SET", help="; ".join(KINDS.values()))
    parser.add_argument(
        "--max-frames", type=int, default=100, help="frames per set, evenly spaced; default: %(default)s"
    )
    args = parser.parse_args()
    cv2.setNumThreads(1)
    for text in args.sets:
        labelled = open_set(text, args.max_frames, PuppetOptions())
        for name, method in (("background detection", saliency_map), ("middle of the picture", middle)):
            print(json.dumps({"set": labelled.name, "method": name, **measure(labelled, method)}))


if __name__ == "__main__":
    main()
