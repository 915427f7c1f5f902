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
from train.bodies.mesh import load_bodies
from train.bodies.picture import draw_picture
from train.bodies.scene import Photos
from train.bodies.shards import sheet, write_pictures
from train.report import write_png

EXAMPLES = """examples:
  python -m train.bodies person --out pictures/people --num-pictures 15000 --photos ~/rooms
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
        "num-pictures": (1000, "single pictures, none like another, for train.supervised"),
        "size": (192, "pixels of a side"),
        "seed": (0, "draws everything"),
        "num-bodies": (300, "different builds"),
    }
    for flag, (value, what) in numbers.items():
        parser.add_argument(f"--{flag}", type=int, default=value, help=f"{what} (default: {value})")
    parser.add_argument(
        "--photos", type=Path, nargs="*", default=[], help="folders of photographs without people, as backgrounds"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, 1 with one line on what is wrong, 2 for wrong usage."""
    args = _parser().parse_args(argv)
    cv2.setNumThreads(1)
    try:
        if min(args.num_pictures, args.num_bodies) < 1 or args.seed < 0 or args.size < 32 or args.size % 2:
            raise ValueError("need at least one picture and body, --seed from 0 and an even --size from 32")
        bodies, photos = load_bodies(args.out / "bodies", args.num_bodies), Photos.load(tuple(args.photos))
        first = [draw_picture(np.random.default_rng([args.seed, i]), bodies, photos, args.size) for i in range(32)]
        write_png(args.out / "sheet.png", sheet(first))
        with tqdm(total=args.num_pictures, unit="picture", disable=None) as bar:
            write_pictures(
                args.out, bodies, photos, args.num_pictures, args.size, args.seed, lambda done: bar.update(done - bar.n)
            )
    except (StreampartsError, ValueError, OSError) as error:
        print(f"bodies: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
