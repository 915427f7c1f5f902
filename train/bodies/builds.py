"""Many builds of one mesh as plain arrays, and the file that keeps them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from streamparts.files import whole

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Builds:
    """N builds of one mesh with V vertices and T triangles, in one rest pose."""

    vertices: Array
    """(N, V, 3) positions at rest."""
    joints: Array
    """(N, J, 3) centres of rotation."""
    faces: NDArray[np.int32]
    """(T, 3) vertices, counter-clockwise as seen from outside."""
    weights: Array
    """(V, J) influence of each joint on each vertex; rows sum to 1."""
    parts: NDArray[np.uint8]
    """(V,) index of each vertex's part."""
    places: Array
    """(V, 8) place of each vertex on the body."""

    def __len__(self) -> int:
        return len(self.vertices)


B = TypeVar("B", bound="DataclassInstance")


def kept_builds(path: Path, kind: type[B], make: Callable[[], B]) -> B:
    """Read a dataclass of arrays, such as Builds, from an .npz file, after making and writing them if there is none."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = make()
        with whole(path) as partial:
            np.savez(partial, **{field.name: getattr(made, field.name) for field in fields(made)})
    with np.load(path, allow_pickle=False) as stored:
        return kind(**{name: stored[name] for name in stored.files})
