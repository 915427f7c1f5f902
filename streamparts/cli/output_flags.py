"""Flags of the command line that concern outputs, and what they mean."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from streamparts.sinks.overlay.style import DRAWABLE, OverlayStyle

SHOW = ("auto", "window", "page")
"""Kinds of preview."""


def add_output_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of the overlay, the preview, messages and of going on."""
    group = parser.add_argument_group("overlay, preview, messages and going on")
    group.add_argument(
        "--draw",
        metavar="WORDS",
        type=_words,
        help=f"what the overlay shows, of {','.join(DRAWABLE)} (default: the first five)",
    )
    group.add_argument("--opacity", metavar="SHARE", type=float, help="of the parts' colours, 0 to 1 (default: 0.5)")
    group.add_argument("--trail-seconds", metavar="S", type=float, help="draw trails of so many seconds (default: 1)")
    group.add_argument(
        "--skeleton",
        metavar="FILE.json|PAIRS",
        type=_skeleton,
        help="a skeleton file, which gives joints and places hidden parts; or parts to join by lines: 0-1,1-2",
    )
    group.add_argument("--side-by-side", action="store_true", help="the source on the left, the overlay on the right")
    group.add_argument(
        "--encoder",
        metavar="NAME",
        default="auto",
        help="who encodes the overlay: small (libx264, half the size, lower quality), libx264, h264_nvenc, "
        "h264_qsv, h264_videotoolbox, ... (default: auto, libx264)",
    )
    group.add_argument("--no-audio", action="store_true", help="leave the source's sound out of the overlay")
    group.add_argument("--resume", action="store_true", help="go on after the last frame in the tracks file")
    group.add_argument(
        "--show",
        metavar="window|page",
        nargs="?",
        choices=SHOW,
        const="auto",
        help="live preview in a window or on a local page (default: a window where one can be)",
    )
    group.add_argument(
        "--send",
        metavar="ADDRESS",
        action="append",
        help="send every frame's tracks, live: udp://HOST:PORT, osc://HOST:PORT, lsl://NAME, or to who comes to "
        "zmq://HOST:PORT or ws://HOST:PORT of this machine; may be repeated",
    )
    group.add_argument("--show-port", metavar="PORT", type=int, default=0, help="of the page (default: any free one)")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _skeleton(text: str) -> Path | tuple[tuple[int, int], ...]:
    if Path(text).suffix.lower() == ".json":
        return Path(text)
    try:
        pairs = [pair.split("-") for pair in _words(text)]
        return tuple((int(one), int(other)) for one, other in pairs)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no .json file, and no list of pairs of part numbers like 0-1,1-2"
        ) from error


def style_of(args: argparse.Namespace) -> OverlayStyle:
    """Raises ValueError where the flags say what cannot be drawn."""
    style = OverlayStyle() if args.draw is None else OverlayStyle.drawing(args.draw)
    changes = {
        "opacity": args.opacity,
        "trail_seconds": args.trail_seconds,
        "trails": style.trails or args.trail_seconds is not None,
        "skeleton": None if isinstance(args.skeleton, Path) else args.skeleton,
        "side_by_side": args.side_by_side,
    }
    return replace(style, **{name: value for name, value in changes.items() if value is not None})


def with_show_kind(argv: Sequence[str]) -> list[str]:
    """`--show dance.mp4` means `--show=auto dance.mp4`: argparse would take the video for the kind."""
    return [
        "--show=auto" if word == "--show" and after not in SHOW else word
        for word, after in zip(argv, [*argv[1:], ""], strict=False)
    ]
