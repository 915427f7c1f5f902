"""Accuracy of a model on puppet clips it never saw: python -m benchmarks.accuracy [--model NAME_OR_PATH]

Clips are rendered with seeds no training uses, so textures, colours, backgrounds and motions are new; the model
streams them as a user would, and what it says is compared with the exact truth, pixel by pixel.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import streamparts
from streamparts.data import Tracks
from train.evaluate import Confusion, center_errors
from train.puppet_figures import FIGURES
from train.puppets import load_truth, write_clips

UNSEEN_SEED = 100_000
"""Training uses seeds from 0 on."""


def displayed_labels(tracks: Tracks) -> NDArray[np.uint8]:
    """(H, W) labels at the size of the frame as displayed."""
    inner = tracks.labels[tracks.letterbox.inner_slices]
    size = (tracks.frame.width, tracks.frame.height)
    return np.asarray(cv2.resize(inner, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def measure(model: str | None, kind: str, num_clips: int, num_frames: int, size: int) -> dict[str, object]:
    """Stream unseen clips and score them."""
    num_true = len(FIGURES[kind].bones)
    confusion: Confusion | None = None
    true_centers, found_centers, seen = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for path in write_clips(folder, kind, num_clips, UNSEEN_SEED, num_frames, (size, size)):
            truth = load_truth(path)
            for index, tracks in enumerate(streamparts.track(str(path), model=model)):
                counts = Confusion.of(truth.labels[index], displayed_labels(tracks), num_true, tracks.num_parts)
                confusion = counts if confusion is None else confusion + counts
                true_centers.append(truth.affines[index, :, :, 2])
                found_centers.append(tracks.centers / (size / 2) - 1)
                seen.append(truth.visible_fraction[index] > 0.5)
    if confusion is None:
        raise SystemExit("no frame was streamed")
    names = load_names(kind)
    errors = center_errors(np.stack(true_centers), np.stack(found_centers), confusion.match(), np.stack(seen))
    ious = confusion.part_ious()
    return {
        "kind": kind,
        "frames": len(seen),
        "foreground_iou": round(confusion.foreground_iou(), 4),
        "part_iou": round(float(ious.mean()), 4),
        "center_error": round(float(errors.mean()), 4),
        "center_error_median": round(float(np.median(errors)), 4),
        "part_iou_each": {name: round(float(iou), 3) for name, iou in zip(names, ious, strict=True)},
        "matched_part": dict(zip(names, confusion.match().tolist(), strict=True)),
    }


def load_names(kind: str) -> list[str]:
    return [bone.name for bone in FIGURES[kind].bones]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="default: the shipped model")
    parser.add_argument("--kind", default="human", choices=sorted(FIGURES))
    parser.add_argument("--num-clips", type=int, default=20)
    parser.add_argument("--num-frames", type=int, default=48)
    parser.add_argument("--size", type=int, default=256, help="side of the clips in pixels")
    parser.add_argument("--out", type=Path, help="also write the result there as JSON")
    args = parser.parse_args()
    result = measure(args.model, args.kind, args.num_clips, args.num_frames, args.size)
    text = json.dumps(result, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
