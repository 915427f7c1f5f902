"""`streamparts learn` of the command line: from a camera or raw clips to a model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from streamparts.cli.types import rate

LEARN_EXAMPLES = """examples:
  streamparts learn webcam --out arm --minutes 5
      records a minute, finds the moving subject, learns its parts, exports arm/model.onnx and runs it live
  streamparts learn clips/mouse --out mouse
      trains on a folder of videos
  streamparts learn dancer.mp4 --out dancer --begin person
      adapts the bundled model of people to one video

The folder contains the recording, the training run with images of the parts, and the model; docs/train.md explains how
to train further.
"""


def add_learn(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the others."""
    learn = commands.add_parser(
        "learn",
        help="train a model on a camera or raw clips",
        description="Train a model on a camera's recording or on raw clips, without labels: find the moving "
        "subject, learn its parts, and export the model.",
        epilog=LEARN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    learn.add_argument(
        "source",
        metavar="SOURCE",
        help="a video, a folder of videos, or a source to record first: webcam, rtsp://..., test://",
    )
    learn.add_argument("--out", metavar="DIR", type=Path, required=True, help="new folder for all outputs")
    learn.add_argument("--minutes", metavar="N", type=rate, default=5, help="training time on two cores (default: 5)")
    learn.add_argument(
        "--record",
        metavar="SECONDS",
        type=rate,
        default=60,
        help="length of the recording of a live source (default: 60)",
    )
    learn.add_argument(
        "--begin",
        metavar="auto|scratch|MODEL",
        default="auto",
        help="auto adapts the bundled model that finds its subject in the clips, or trains from scratch if none "
        "does; scratch; or the model to adapt (default: auto)",
    )
    learn.add_argument("--no-show", action="store_true", help="stop after the export, without a live preview")
    learn.add_argument("--debug", action="store_true", help="show a traceback on errors")
    learn.set_defaults(command=_command)


def _command(args: argparse.Namespace) -> int:
    from streamparts.learning.learn import learn
    from streamparts.runtime.stream import run
    from streamparts.sources import open_source

    made = learn(
        args.source,
        args.out,
        minutes=float(args.minutes),
        record_seconds=float(args.record),
        begin=args.begin,
        say=_tell,
    )
    print(made.model)
    live = not Path(args.source).exists()
    again = f"streamparts run {args.source} --model {made.model}" + (" --show" if live else "")
    _tell(f"the model is ready: {again}")
    if live and not args.no_show:
        with open_source(args.source) as source:
            run(source, made.model, show="page", say=_tell)
    return 0


def _tell(line: str) -> None:
    print(f"streamparts: {line}", file=sys.stderr)
