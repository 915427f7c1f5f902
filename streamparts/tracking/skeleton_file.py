"""Reads a skeleton's file, and checks that it fits a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from streamparts.bundle.json_file import read_json
from streamparts.bundle.shipped import bundled_path
from streamparts.errors import SkeletonError
from streamparts.tracking.skeleton import ANEW, Skeleton

SUFFIX = ".skeleton.json"
"""Ending of the file beside a model, in place of .onnx."""


def load_skeleton(path: str | Path) -> Skeleton:
    """Read a file of `streamparts skeleton`, or the skeleton of a bundled model, given its name. Raises SkeletonError
    with a one-line message for anything else."""
    if bundled := bundled_path(str(path)):
        path = bundled.with_suffix(SUFFIX)
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
