"""Reads a skeleton's file, and checks that it fits a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from streamparts.bundle.json_file import read_json
from streamparts.errors import SkeletonError
from streamparts.tracking.skeleton import ANEW, Skeleton


def load_skeleton(path: str | Path) -> Skeleton:
    """Read a file of `streamparts skeleton`. Raises SkeletonError with a one-line message for anything else."""
    try:
        return read_json(Path(path), Skeleton, "a skeleton")
    except ValueError as error:
        raise SkeletonError(f"{path}: {error}; {ANEW}") from error


def skeleton_for(names: Sequence[str], skeleton: Skeleton | str | Path | None) -> Skeleton | None:
    """Return a skeleton, or the one in a file, for the parts of a model. Raises SkeletonError if it does not fit
    them."""
    if skeleton is None:
        return None
    found = skeleton if isinstance(skeleton, Skeleton) else load_skeleton(skeleton)
    found.require_parts(names)
    return found
