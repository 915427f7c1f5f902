"""Rendered people with exact parts: `python -m train.bodies person --out FOLDER`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from streamparts.errors import StreampartsError

from ..drawing.png import write_png
from .clips import write_clips
from .mesh import load_bodies
from .picture import EMPTY, draw_picture
from .scene import Photos
from .shards import sheet, write_pictures

EXAMPLES = """examples:
  python -m train.bodies person --out pictures/people --num-pictures 9000 --photos ~/rooms
  python -m train.bodies person --out clips/people --num-clips 60
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m train.bodies",
        description="Render people of many builds, poses, clothes and places, with exact truth beside each picture.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", choices=("person",), help="what to render")
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures; those that are there stay")
    numbers = {
        "num-pictures": (0, "single pictures, none like another, for train.supervised"),
        "num-clips": (0, "clips of one moving person each, as train.puppets writes them"),
        "num-frames": (96, "frames of a clip"),
        "size": (192, "pixels of a side"),
        "seed": (0, "draws everything"),
        "num-bodies": (300, "different builds"),
    }
    for flag, (value, what) in numbers.items():
        parser.add_argument(f"--{flag}", type=int, default=value, help=f"{what} (default: {value})")
    parser.add_argument(
        "--photos", type=Path, nargs="*", default=[], help="folders of photographs without people, as backgrounds"
    )
    parser.add_argument(
        "--cutouts", type=Path, nargs="*", default=[],
        help="folders with frames/ and masks/ of animals and things, to be put into pictures as what is no person",
    )  # fmt: skip
    parser.add_argument(
        "--empty", type=float, default=EMPTY, help="share of the pictures that show nobody (default: %(default)s)"
    )
    return parser


def render(args: argparse.Namespace) -> None:
    """Pictures, then clips, each with a bar; first of all a sheet of pictures to look at."""
    bodies = load_bodies(args.out / "bodies", args.num_bodies, args.seed)
    photos = Photos.load(tuple(args.photos), tuple(args.cutouts))
    first = [
        draw_picture(np.random.default_rng([args.seed, i]), bodies, photos, args.size, args.empty) for i in range(32)
    ]
    write_png(args.out / "sheet.png", sheet(first))
    for count, unit in ((args.num_pictures, "picture"), (args.num_clips, "clip")):
        with tqdm(total=count, unit=unit, disable=None if count else True) as bar:

            def say(done: int, bar: tqdm[None] = bar) -> None:
                bar.update(done - bar.n)

            if unit == "picture":
                write_pictures(args.out, bodies, photos, count, args.size, args.seed, args.empty, say)
            else:
                write_clips(args.out, bodies, photos, count, args.num_frames, args.size, args.seed, say)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, 1 with one line on what is wrong, 2 for wrong usage."""
    args = _parser().parse_args(argv)
    cv2.setNumThreads(1)
    try:
        if min(args.num_pictures, args.num_clips, args.seed) < 0 or args.num_pictures + args.num_clips < 1:
            raise ValueError("nothing to render; give --num-pictures or --num-clips, and a --seed from 0")
        if min(args.num_bodies, args.num_frames) < 1 or args.size < 32 or args.size % 2:
            raise ValueError("need at least one body and frame, and an even --size from 32")
        render(args)
    except (StreampartsError, ValueError, OSError) as error:
        print(f"bodies: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
