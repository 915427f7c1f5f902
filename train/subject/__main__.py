"""Show the subject that training would use.

Finds the subject in raw clips, without labels, and draws it over frames of every clip. The trainers do the same and
reuse the result from the cache.

examples:
  streamparts find-subject clips/dance
  streamparts find-subject clips/mouse --subject motion --out mouse.png
  streamparts find-subject clips/cars --subject my_masks.onnx
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from streamparts.learning.trainers import trainer_parser

from ..drawing.png import write_png
from ..running.loop import trainer_exit_code
from .find import find_subjects
from .sheet import contact_sheet
from .values import SubjectSource


def parse_source(text: str) -> SubjectSource:
    """Parse --subject: a word, or a path."""
    words: dict[str, SubjectSource] = {"auto": "auto", "motion": "motion", "saliency": "saliency"}
    return words.get(text, Path(text))


def _parser() -> argparse.ArgumentParser:
    words, _, examples = (__doc__ or "").partition("examples:")
    parser = trainer_parser("find-subject", words.strip(), f"examples:{examples}")
    parser.add_argument("clips", metavar="CLIPS", type=Path, help="folder of videos, or of folders of pictures")
    parser.add_argument(
        "--subject",
        type=parse_source,
        default="auto",
        metavar="SOURCE",
        help="auto: motion, and saliency if it is installed; motion; saliency; your own mask network as an .onnx file; "
        "a folder of another tool's masks (default: %(default)s)",
    )
    parser.add_argument(
        "--out", metavar="FILE.png", type=Path, default=Path("subject.png"), help="contact sheet (default: %(default)s)"
    )
    parser.add_argument(
        "--cache", metavar="DIR", type=Path, help="folder of masks and crops (default: .streamparts-cache in CLIPS)"
    )
    parser.add_argument(
        "--threads", metavar="N", type=int, default=0, help="CPU threads, 0 for torch's choice (default: %(default)s)"
    )
    return parser


def run(options: argparse.Namespace) -> None:
    if options.threads:
        torch.set_num_threads(options.threads)
    cache = options.cache or options.clips / ".streamparts-cache"
    subjects = find_subjects(options.clips, options.subject, cache, say=lambda line: tqdm.write(line, file=sys.stdout))
    write_png(options.out, contact_sheet(subjects))
    print(f"look at {options.out}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 with a one-line error, or 2 for wrong usage."""
    options = _parser().parse_args(argv)
    return trainer_exit_code(lambda: run(options), options.debug)


if __name__ == "__main__":
    raise SystemExit(main())
