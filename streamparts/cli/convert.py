"""`streamparts convert` of the command line: tracks to other formats, and back."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from streamparts.cli.types import duration, rate

CONVERT_EXAMPLES = """examples:
  streamparts convert dance.tracks.jsonl -o dance.csv
      a table with one row for each frame and part
  streamparts convert dance.tracks.jsonl -o dance.h5 --format dlc
      as DeepLabCut writes it
  streamparts convert dance.csv -o dance.jsonl
      tracks again
  streamparts convert --list
      all formats, with what they keep and lose
"""


def add_convert(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the others."""
    convert = commands.add_parser(
        "convert",
        help="write tracks in other formats, or read them back",
        description="Write a tracks file as a table or in the format of another tool, or turn such a file into tracks "
        "again; one of both files is .jsonl.",
        epilog=CONVERT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    convert.add_argument("tracks", metavar="INPUT", type=Path, nargs="?", help="what run wrote, or a file to read back")
    convert.add_argument("-o", "--output", metavar="OUTPUT", type=Path, help="the file to write; .jsonl for tracks")
    convert.add_argument("--format", metavar="NAME", help="of the other file than .jsonl (default: by its suffix)")
    convert.add_argument("--force", action="store_true", help="replace the output if it exists")
    convert.add_argument(
        "--video",
        metavar="VIDEO",
        help="that the poses are of: read for times where a file has none, named in .slp, its pictures put into .mcap "
        "and .rrd",
    )
    convert.add_argument("--rate", metavar="FPS", type=rate, help="frames per second, in place of --video")
    convert.add_argument("--size", metavar="WIDTHxHEIGHT", type=_size, help="of the picture, in place of --video")
    convert.add_argument("--joints", action="store_true", help="trc, openpose: the skeleton's joints, not the parts")
    convert.add_argument("--metres-per-pixel", metavar="M", type=duration, help="trc: size of a pixel (default: 0.001)")
    convert.add_argument("--list", action="store_true", help="print the formats, what they keep and what they lose")
    convert.add_argument("--debug", action="store_true", help="show a traceback on errors")
    convert.set_defaults(command=_convert, usage_error=convert.error)


def _size(text: str) -> tuple[int, int]:
    """Height and width of "1280x720"."""
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size like 1280x720")
    return int(height), int(width)


def _wishes(args: argparse.Namespace) -> dict[str, Any]:
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
    done = convert(args.tracks, args.output, args.format, args.force, **_wishes(args))
    for note in done.notes:
        print(f"streamparts: warning: {done.path}: {note}", file=sys.stderr)
    print(f"wrote {done.path} ({done.num_frames} frames, {done.format.name})")
    return 0
