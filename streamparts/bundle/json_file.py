"""Reads small JSON files that people edit and copy: sidecars of models, and skeletons."""

from __future__ import annotations

from codecs import BOM_UTF8
from pathlib import Path
from typing import TypeVar

import msgspec

from streamparts.bundle.spec import error_line

T = TypeVar("T")

MAX_BYTES = 1_000_000
"""Maximum size; what is larger is another file."""


def read_json(path: Path, kind: type[T], called: str) -> T:
    """Decode a file as a value of `kind`; a byte order mark is skipped. Raises ValueError with the reason for a file
    that cannot be used, in words that follow its name; `called` names the expected kind of file."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1).removeprefix(BOM_UTF8)
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from error
    if len(text) > MAX_BYTES:
        raise ValueError(f"is larger than 1 MB, so not {called}")
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"is not {called} ({error_line(error)})") from error
