"""Shared by the commands that evaluate models on named sets: benchmarks.bodies and benchmarks.real."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.place import commit, machine
from streamparts.errors import StreampartsError


def default_cache(name: str) -> Path:
    """Return the folder of a benchmark's clips and runs, outside the checkout."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "streamparts" / name


def sets_parser(name: str, doc: str | None, sets: Iterable[str], more: str) -> argparse.ArgumentParser:
    """Return the parser of `python -m benchmarks.NAME`, whose help ends with a line for each set. Words after -- are
    flags of `more`."""
    lines = "\n".join(f"  {line}" for line in sets)
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=doc,
        epilog=f"sets:\n{lines}\n\nFlags after -- are passed on to {more}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_output_flags(parser: argparse.ArgumentParser, name: str, pictures: str) -> None:
    parser.add_argument("--pictures", type=Path, metavar="DIR", help=pictures)
    parser.add_argument("--cache", type=Path, help=f"for clips and runs (default: ~/.cache/streamparts/{name})")
    parser.add_argument("--out", type=Path, help="also write the figures there as JSON")


def parsed(parser: argparse.ArgumentParser, words: Sequence[str]) -> tuple[argparse.Namespace, tuple[str, ...]]:
    """Parse the words before --; also return those after it."""
    own, more = (words[: (at := words.index("--"))], words[at + 1 :]) if "--" in words else (words, ())
    return parser.parse_args(own), tuple(more)


def require_work(args: argparse.Namespace, other: bool = False) -> None:
    """Raise StreampartsError unless a model is given or trained, or there is `other` work, and the folders of the
    results exist."""
    if not (args.models or args.train or other):
        raise StreampartsError("nothing to judge: give --models NAME[=FILE], or --train")
    for path in (args.out.parent if args.out else None, args.pictures):
        if path and not path.is_dir():
            raise StreampartsError(f"{path} is not a folder; create it first")


def named(text: str) -> tuple[str, str]:
    """Return name, and file or name, of a model given as NAME, FILE or NAME=FILE."""
    name, _, file = text.partition("=")
    return (name, file) if file else (Path(name).stem if name.endswith(".onnx") else name, name)


def print_error(name: str, error: Exception) -> int:
    """Print one line; return exit code 1."""
    print(f"benchmarks.{name}: error: {error}", file=sys.stderr)
    return 1


def write_figures(out: Path | None, words: Sequence[str], figures: Mapping[str, Any]) -> None:
    """Write figures with their command, commit and machine as JSON, if a file is given."""
    if out:
        about = {"command": list(words), "commit": commit(), "machine": machine()}
        out.write_text(json.dumps({**about, **figures}, indent=1) + "\n", encoding="utf-8")
