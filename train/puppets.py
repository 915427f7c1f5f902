"""Render clips of textured, jointed, moving figures with exact ground truth. drawing/puppet_clips.py draws them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import av

from streamparts.learning.trainers import exit_code, trainer_parser

from .drawing.puppet_clips import write_clips
from .drawing.puppet_figures import FIGURES

ERRORS = (ValueError, OSError, av.FFmpegError)
"""Errors of wrong values, and of folders that cannot be written."""
EXAMPLES = """examples:
  streamparts render-puppets human --out clips/human --num-clips 96 --size 256
  streamparts render-puppets arm --out clips/arm --width 640 --height 360 --camera moving
"""


def _parser() -> argparse.ArgumentParser:
    what = "Render clips of textured, jointed, moving figures with exact ground truth."
    parser = trainer_parser("render-puppets", what, EXAMPLES)
    parser.add_argument("kind", metavar="KIND", help=f"kind of figure: {', '.join(FIGURES)}")
    parser.add_argument("--out", type=Path, required=True, help="folder for clip_0000.mp4, clip_0000.npz, ...")
    numbers = {
        "num-clips": (48, "number of clips"),
        "num-frames": (96, "frames per clip"),
        "size": (256, "side in pixels"),
        "seed": (0, "seed of the first clip's appearance and motion; each later clip has the next one"),
        "fps": (30, "frame rate"),
    }
    for flag, (value, what) in numbers.items():
        parser.add_argument(f"--{flag}", type=int, default=value, help=f"{what} (default: {value})")
    for flag in ("width", "height"):
        parser.add_argument(f"--{flag}", type=int, help="in pixels (default: --size)")
    camera = "a moving camera pans, zooms and rotates over a larger background (default: still)"
    parser.add_argument("--camera", choices=("still", "moving"), default="still", help=camera)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 for a wrong value or a folder that cannot be written, or 2 for wrong usage."""
    args = _parser().parse_args(argv)
    height, width = (args.size if side is None else side for side in (args.height, args.width))
    looks = {"moving_camera": args.camera == "moving", "fps": args.fps}
    numbers = (args.num_clips, args.seed, args.num_frames)
    return exit_code(lambda: write_clips(args.out, args.kind, *numbers, (height, width), **looks), args.debug, ERRORS)


if __name__ == "__main__":
    raise SystemExit(main())
