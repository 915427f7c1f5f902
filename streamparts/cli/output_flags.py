"""Flags for outputs, and their values."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from streamparts.sinks.overlay.style import DRAWABLE, OverlayStyle

if TYPE_CHECKING:
    from streamparts.sinks.outputs import Outputs

SHOW = ("auto", "window", "page")
"""Kinds of preview."""


def add_output_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags for overlay, preview, messages and resuming."""
    group = parser.add_argument_group("overlay, preview, messages and resuming")
    group.add_argument(
        "--draw",
        metavar="WORDS",
        type=_words,
        help=f"elements of the overlay: {','.join(DRAWABLE)} (default: the first five)",
    )
    group.add_argument(
        "--opacity", metavar="SHARE", type=float, help="opacity of the parts' colours, 0 to 1 (default: 0.5)"
    )
    group.add_argument("--trail-seconds", metavar="S", type=float, help="length of the trails in seconds (default: 1)")
    group.add_argument(
        "--skeleton",
        metavar="FILE.json|MODEL|PAIRS",
        type=_skeleton,
        help="a skeleton file, or the bundled model whose skeleton is used, to add joints and place hidden parts; "
        "or pairs of parts to connect by lines: 0-1,1-2",
    )
    group.add_argument(
        "--side-by-side", action="store_true", help="show the source on the left, the overlay on the right"
    )
    group.add_argument(
        "--encoder",
        metavar="NAME",
        default="auto",
        help="encoder of the overlay: small (libx264, half the size, lower quality), av1 (a third of the size, slow), "
        "av1-slow (a third, four times as slow), "
        "libx264, h264_nvenc, h264_qsv, h264_videotoolbox, ... (default: auto, libx264)",
    )
    group.add_argument("--no-audio", action="store_true", help="omit the source's audio from the overlay")
    group.add_argument("--resume", action="store_true", help="continue after the last frame in the tracks file")
    group.add_argument(
        "--show",
        metavar="window|page",
        nargs="?",
        choices=SHOW,
        const="auto",
        help="live preview in a window or on a local page (default: a window if possible)",
    )
    group.add_argument(
        "--send",
        metavar="ADDRESS",
        action="append",
        help="send every frame's tracks live: to udp://HOST:PORT, osc://HOST:PORT or lsl://NAME, or to receivers "
        "that connect to zmq://HOST:PORT or ws://HOST:PORT of this machine; can be repeated",
    )
    group.add_argument(
        "--show-port", metavar="PORT", type=int, default=0, help="port of the page (default: any free one)"
    )


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _skeleton(text: str) -> Path | tuple[tuple[int, int], ...]:
    from streamparts.bundle.shipped import model_names

    if Path(text).suffix.lower() == ".json" or text in model_names():
        return Path(text)
    try:
        pairs = [pair.split("-") for pair in _words(text)]
        return tuple((int(one), int(other)) for one, other in pairs)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no .json file, no bundled model, and no list of pairs of part numbers such as 0-1,1-2"
        ) from error


def style_of(args: argparse.Namespace) -> OverlayStyle:
    """Return the overlay's style. Raises ValueError for flags that cannot be drawn."""
    style = OverlayStyle() if args.draw is None else OverlayStyle.drawing(args.draw)
    changes = {
        "opacity": args.opacity,
        "trail_seconds": args.trail_seconds,
        "trails": style.trails or args.trail_seconds is not None,
        "skeleton": None if isinstance(args.skeleton, Path) else args.skeleton,
        "side_by_side": args.side_by_side,
    }
    return replace(style, **{name: value for name, value in changes.items() if value is not None})


def outputs_of(args: argparse.Namespace, overlay: Path | None, tracks: Path | None) -> Outputs:
    """The outputs of a run; the files are the caller's choice."""
    from streamparts.sinks.messages import parse_addresses
    from streamparts.sinks.outputs import Outputs

    return Outputs(
        overlay,
        tracks,
        args.masks,
        args.style,
        args.encoder,
        not args.no_audio,
        args.show,
        args.show_port,
        parse_addresses(args.send or ()),
        force=args.force,
        resume=args.resume,
    )


def with_show_kind(argv: Sequence[str]) -> list[str]:
    """Turn `--show dance.mp4` into `--show=auto dance.mp4`: argparse would take the video for the kind."""
    return [
        "--show=auto" if word == "--show" and after not in SHOW else word
        for word, after in zip(argv, [*argv[1:], ""], strict=False)
    ]
