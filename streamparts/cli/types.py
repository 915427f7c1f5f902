"""Argparse types for the command line's values, each with a one-line error."""

from __future__ import annotations

import argparse
import math
from fractions import Fraction
from pathlib import Path

from streamparts.errors import StreampartsError, message_of


def count(text: str) -> int:
    """A whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def rate(text: str) -> Fraction:
    """A positive number, exact: 29.97 or 30000/1001."""
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        value = Fraction(0)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def duration(text: str) -> float:
    """Seconds above 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def region(text: str) -> str | tuple[float, float, float, float]:
    """auto, off, or left, top, width and height in pixels."""
    if text in ("auto", "off"):
        return text
    try:
        left, top, width, height = (float(word) for word in text.split(","))
    except ValueError:
        width = height = math.nan
    if not (width >= 1 and height >= 1 and math.isfinite(left + top + width + height)):
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto, off nor X,Y,WIDTH,HEIGHT in pixels")
    return left, top, width, height


def moment(text: str) -> float:
    """A time of a video: seconds, mm:ss or hh:mm:ss."""
    from streamparts.sources import parse_seconds

    try:
        return parse_seconds(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; write seconds, mm:ss or hh:mm:ss") from None


def mp4(text: str) -> Path:
    """The name of a video to write."""
    if Path(text).suffix.lower() != ".mp4":
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .mp4, the only video format written")
    return Path(text)


def place(text: str) -> Path | str:
    """A folder, or the address of one in a store."""
    from streamparts.corpus.plan import is_remote

    return text if is_remote(text) else Path(text)


def share(text: str) -> float:
    """A share, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0")
    return value


def jsonl(text: str) -> str:
    """The name of a file of JSON lines, or "-"."""
    if text != "-" and Path(text).suffix.lower() != ".jsonl":
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .jsonl; put a bare --stats after the videos")
    return text


def add_backend(parser: argparse.ArgumentParser, default: str | None, **options: object) -> None:
    """Add --backend and --threads; `options` apply to the first."""
    what = "backend of the network" + (" (default: auto, the fastest here)" if default else " (default: all that can)")
    names = ", ".join(options["choices"])  # type: ignore[arg-type]
    parser.add_argument("--backend", metavar="NAME", default=default, help=f"{what}: {names}", **options)  # type: ignore[arg-type]
    parser.add_argument(
        "--threads", metavar="N", type=count, help="processor threads of the network (default: half of the cores)"
    )


def one_line(error: BaseException) -> str:
    """Return an error's message for users; for one that an unsuitable package may have caused, that package's line."""
    if isinstance(error, ImportError | AttributeError | TypeError) and not isinstance(error, StreampartsError):
        from streamparts.doctor.packages import unsuitable

        if reason := next(unsuitable(), None):
            return reason
    return message_of(error)
