"""Reads a skeleton's file, and checks that it fits a model."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Sequence
from pathlib import Path

import msgspec

from streamparts.bundle.spec import error_line
from streamparts.errors import SkeletonError
from streamparts.tracking.skeleton import ANEW, Skeleton

MAX_FILE_BYTES = 1_000_000


def load_skeleton(path: str | Path) -> Skeleton:
    """Read a file of `streamparts skeleton`. Raises SkeletonError with a one-line message for anything else."""
    try:
        with Path(path).open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1).removeprefix(BOM_UTF8)
    except OSError as error:
        raise SkeletonError(f"{path}: cannot be read ({error.strerror})") from error
    if len(text) > MAX_FILE_BYTES:
        raise SkeletonError(f"{path}: is larger than 1 MB, so not a skeleton")
    try:
        return msgspec.json.decode(text, type=Skeleton)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SkeletonError(f"{path}: is not a skeleton ({error_line(error)}); {ANEW}") from error


def skeleton_for(names: Sequence[str], skeleton: Skeleton | str | Path | None) -> Skeleton | None:
    """Return a skeleton, or the one in a file, for the parts of a model. Raises SkeletonError if it does not fit
    them."""
    if skeleton is None:
        return None
    found = skeleton if isinstance(skeleton, Skeleton) else load_skeleton(skeleton)
    found.require_parts(names)
    return found
