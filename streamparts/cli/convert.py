"""`streamparts convert` of the command line: tracks to other formats, and back."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from streamparts.cli.types import duration, rate

CONVERT_EXAMPLES = """examples:
  streamparts convert dance.tracks.jsonl -o dance.csv
      a table with one row per frame and part
  streamparts convert dance.tracks.jsonl -o dance.h5 --format dlc
      in DeepLabCut's format
  streamparts convert dance.csv -o dance.jsonl
      back to tracks
  streamparts convert --list
      lists all formats, with what they keep and lose
"""


def add_convert(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the others."""
    convert = commands.add_parser(
        "convert",
        help="convert tracks to other formats, and back",
        description="Write a tracks file as a table or in the format of another tool, or convert such a file to "
        "tracks; one of the two files is .jsonl.",
        epilog=CONVERT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    convert.add_argument(
        "tracks", metavar="INPUT", type=Path, nargs="?", help="tracks file, or a file to convert to tracks"
    )
    convert.add_argument("-o", "--output", metavar="OUTPUT", type=Path, help="file to write; .jsonl for tracks")
    convert.add_argument(
        "--format", metavar="NAME", help="format of the file that is not .jsonl (default: by its suffix)"
    )
    convert.add_argument("--force", action="store_true", help="replace an existing output")
    convert.add_argument(
        "--video",
        metavar="VIDEO",
        help="video of the poses: gives times to a file without them, is named in .slp, and its images are stored in "
        ".mcap and .rrd",
    )
    convert.add_argument("--rate", metavar="FPS", type=rate, help="frame rate, instead of --video")
    convert.add_argument("--size", metavar="WIDTHxHEIGHT", type=_size, help="frame size, instead of --video")
    convert.add_argument(
        "--joints", action="store_true", help="trc, openpose: write the skeleton's joints, instead of the parts"
    )
    convert.add_argument("--metres-per-pixel", metavar="M", type=duration, help="trc: size of a pixel (default: 0.001)")
    convert.add_argument("--list", action="store_true", help="print all formats, with what they keep and lose")
    convert.add_argument("--debug", action="store_true", help="show a traceback on errors")
    convert.set_defaults(command=_convert, usage_error=convert.error)


def _size(text: str) -> tuple[int, int]:
    """Height and width of "1280x720"."""
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 1280x720")
    return int(height), int(width)


def _write_options(args: argparse.Namespace) -> dict[str, Any]:
    names = ("video", "rate", "size", "joints", "metres_per_pixel")
    return {name: getattr(args, name) for name in names}


def _convert(args: argparse.Namespace) -> int:
    from streamparts.formats import convert
    from streamparts.formats.table import listing

    if args.list:
        print(listing())
        return 0
    if args.tracks is None or args.output is None:
        args.usage_error("INPUT and -o OUTPUT are needed (or --list)")
    done = convert(args.tracks, args.output, args.format, args.force, **_write_options(args))
    for note in done.notes:
        print(f"streamparts: warning: {done.path}: {note}", file=sys.stderr)
    print(f"wrote {done.path} ({done.num_frames} frames, {done.format.name})")
    return 0
