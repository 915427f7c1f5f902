"""See what is taken for the subject before training: python -m train.subject CLIPS_FOLDER [--out sheet.png]

Finds the subject in raw clips, without labels, and draws it over frames of every clip. The trainers do the same by
themselves, and take from the cache what was found here.

examples:
  python -m train.subject clips/dance
  python -m train.subject clips/mouse --subject motion --out mouse.png
  python -m train.subject clips/cars --subject my_masks.onnx
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from ..drawing.png import write_png
from ..running.loop import exit_code
from .find import find_subjects
from .sheet import contact_sheet
from .values import SubjectSource


def parse_source(text: str) -> SubjectSource:
    """A word, or a path."""
    words: dict[str, SubjectSource] = {"auto": "auto", "motion": "motion", "saliency": "saliency"}
    return words.get(text, Path(text))


def _parser() -> argparse.ArgumentParser:
    words, _, examples = (__doc__ or "").partition("examples:")
    parser = argparse.ArgumentParser(
        "python -m train.subject",
        description=words,
        epilog=f"examples:{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("clips", type=Path, help="folder of videos, or of folders of pictures")
    parser.add_argument(
        "--subject",
        type=parse_source,
        default="auto",
        metavar="SOURCE",
        help="auto: motion, and saliency where it is installed; motion; saliency; a mask network of your own as .onnx; "
        "a folder of masks of another tool (default: %(default)s)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("subject.png"), help="the contact sheet (default: %(default)s)"
    )
    parser.add_argument(
        "--cache", type=Path, help="where masks and crops are kept (default: .streamparts-cache in CLIPS)"
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="CPU threads, 0 for torch's choice (default: %(default)s)"
    )
    return parser


def run(options: argparse.Namespace) -> None:
    if options.threads:
        torch.set_num_threads(options.threads)
    cache = options.cache or options.clips / ".streamparts-cache"
    subjects = find_subjects(options.clips, options.subject, cache, say=lambda line: tqdm.write(line, file=sys.stdout))
    write_png(options.out, contact_sheet(subjects))
    print(f"look at {options.out}", file=sys.stderr)


def main(args: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(args)
    return exit_code("train.subject", lambda: run(options))


if __name__ == "__main__":
    raise SystemExit(main())
