"""Accuracy of a model on held-out puppet clips: python -m benchmarks.accuracy [--model NAME_OR_PATH]

Clips are rendered with held-out seeds, so textures, colours, backgrounds and motions are new. The model streams them as
in the runtime, and its output is compared with the exact truth, pixel by pixel.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import streamparts
from streamparts.sources.rescale import Rescaler
from train.drawing.puppet_clips import load_truth, write_clips
from train.drawing.puppet_figures import FIGURES
from train.evaluate import rounded
from train.judging.found import FoundParts
from train.judging.observation import observe
from train.judging.sections import parts_section, pose_section
from train.labels import LabelledFrame
from train.labels.puppets import UNSEEN_SEED, labelled


def stream(model: str | None, clips: list[Path]) -> Iterator[tuple[LabelledFrame, FoundParts]]:
    """Yield every frame as streamed by the runtime, with its truth."""
    rescaler = Rescaler()
    for number, path in enumerate(clips):
        truth = load_truth(path)
        for index, tracks in enumerate(streamparts.track(str(path), model=model)):
            yield labelled(rescaler.rgb(tracks.frame), truth, index, number), FoundParts.of_tracks(tracks)


def measure(model: str | None, kind: str, num_clips: int, num_frames: int, size: int) -> dict[str, object]:
    """Stream held-out clips and evaluate them."""
    names = tuple(bone.name for bone in FIGURES[kind].bones)
    with tempfile.TemporaryDirectory() as folder:
        clips = write_clips(folder, kind, num_clips, UNSEEN_SEED, num_frames, (size, size))
        observed = observe(stream(model, clips), len(names))
    parts, pose = parts_section(observed, names), pose_section(observed)
    if observed.foreground is None or parts is None or pose is None:
        raise SystemExit("no frame was streamed")
    result = {
        "kind": kind,
        "frames": len(observed.clips),
        "foreground_iou": observed.foreground.foreground_iou(),
        "part_iou": parts["iou"],
        "center_error": pose["center_share"],
        "center_error_median": pose["center_share_median"],
        "part_iou_each": parts["iou_each"],
        "matched_part": parts["matched_part"],
    }
    return {name: rounded(value, 3 if name == "part_iou_each" else 4) for name, value in result.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="puppet-human", help="default: %(default)s")
    parser.add_argument("--kind", default="human", choices=sorted(FIGURES))
    parser.add_argument("--num-clips", type=int, default=20)
    parser.add_argument("--num-frames", type=int, default=48)
    parser.add_argument("--size", type=int, default=256, help="side of the clips, in pixels")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    args = parser.parse_args()
    result = measure(args.model, args.kind, args.num_clips, args.num_frames, args.size)
    text = json.dumps(result, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
