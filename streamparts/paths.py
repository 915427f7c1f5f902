"""Which files a run writes, and whether it may."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from streamparts.errors import VideoError
from streamparts.sources import Source, output_stem


def check_outputs(outputs: Sequence[Path], inputs: Sequence[Path], force: bool) -> None:
    """Raise VideoError unless every output can be written without destroying an input or, unforced, anything."""
    outputs = [output for output in outputs if str(output) != "-"]  # standard output
    for number, output in enumerate(outputs):
        if any(_is_same_file(output, other) for other in (*inputs, *outputs[:number])):
            raise VideoError(f"{output}: is also an input or another output; give every file its own name")
        if not output.parent.is_dir():
            raise VideoError(f"{output}: the folder {output.parent} does not exist; create it first")
        if output.is_dir():
            raise VideoError(f"{output}: is a folder; give the name of a file in it")
        if (output.is_file() or (output.is_symlink() and not output.exists())) and not force:
            raise VideoError(f"{output}: exists already; use --force (in Python: force=True) to replace it")
        if not os.access(output if output.exists() else output.parent, os.W_OK):
            raise VideoError(f"{output}: no permission to write there; choose another folder")


def input_paths(*inputs: object) -> list[Path]:
    """Those of some sources and models that are files, as far as that is known."""
    candidates = [getattr(item, "path", item) for item in inputs]
    return [Path(item) for item in candidates if isinstance(item, str | Path)]


def output_stems(sources: Sequence[str | Path | Source]) -> list[str]:
    """What the outputs of each source are called after: the name of its file without the ending, or what identifies a
    stream, without credentials. Where two are alike, the later one gets a number."""
    stems: list[str] = []
    for source in sources:
        stem, number = _stem(source), 2
        unique = stem
        while unique.lower() in (other.lower() for other in stems):
            unique, number = f"{stem}-{number}", number + 1
        stems.append(unique)
    return stems


def _stem(source: str | Path | Source) -> str:
    return output_stem(str(source) if isinstance(source, str | Path) else source.name)


def _is_same_file(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))
