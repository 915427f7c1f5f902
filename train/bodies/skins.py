"""Bodies of animals as plain arrays: a skinned mesh and the tree of its bones, from two files of MuJoCo's formats.

The dog and the rat are those of the package `dm_control` (Apache-2.0), of which only the files are used. Axes of a
body: x ahead, y to its left, z up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from streamparts.errors import MissingExtraError, StreampartsError

from .builds import Array

NAME_BYTES = 40
"""Length of a bone's name in a .skn file, padded with zeros."""


@dataclass(frozen=True)
class Rig:
    """A mesh of V vertices and T triangles with B bones, at rest; bones at rest have the axes of the body."""

    names: tuple[str, ...]
    parents: tuple[int, ...]
    """Number of each bone's parent, which comes before it; -1 for the first."""
    joints: Array
    """(B, 3) centres of rotation."""
    vertices: Array
    """(V, 3)"""
    faces: NDArray[np.int32]
    """(T, 3)"""
    weights: Array
    """(V, B) influence of each bone on each vertex; rows sum to 1."""

    def bones(self, *starts: str) -> list[int]:
        """The numbers of the bones whose names begin with one of these words."""
        return [b for b, name in enumerate(self.names) if name.startswith(starts)]

    def with_points(self, points: dict[str, tuple[str, Array]]) -> Rig:
        """Add bones without influence, such as the tip of the nose, each from its parent's name and its place."""
        joints = np.array([place for _, place in points.values()], np.float32).reshape(-1, 3)
        return Rig(
            (*self.names, *points),
            (*self.parents, *(self.names.index(parent) for parent, _ in points.values())),
            np.concatenate([self.joints, joints]),
            self.vertices,
            self.faces,
            np.pad(self.weights, ((0, 0), (0, len(points)))),
        )


def find_assets() -> Path:
    """Return the folder of dm_control's walkers, without importing it. Raises MissingExtraError."""
    spec = find_spec("dm_control")
    places = spec.submodule_search_locations if spec else None
    if not places:
        raise MissingExtraError("rendering animals needs dm_control's files; pip install 'streamparts[animals]'")
    return Path(places[0]) / "locomotion" / "walkers" / "assets"


def read_rig(skin: Path, model: Path) -> Rig:
    """Read a .skn file and the tree of its bones from an MJCF file. Raises StreampartsError for a damaged file and for
    bones that the tree lacks."""
    names, joints, vertices, faces, weights = read_skin(skin)
    above = read_tree(model)
    missing = [name for name in names if name not in above]
    if missing:
        raise StreampartsError(f"{model} lacks the body {missing[0]} of {skin}")
    depth = {name: len(_line(above, name)) for name in names}
    order = sorted(range(len(names)), key=lambda b: depth[names[b]])
    sorted_names = [names[b] for b in order]
    parents = [_nearest(above, name, sorted_names) for name in sorted_names]
    return Rig(tuple(sorted_names), tuple(parents), joints[order], vertices, faces, weights[:, order])


def read_skin(path: Path) -> tuple[list[str], Array, Array, NDArray[np.int32], Array]:
    """Return the bones' names, their places (B, 3), vertices (V, 3), triangles (T, 3) and weights (V, B) of a .skn
    file. Raises StreampartsError for a damaged one."""
    try:
        data = path.read_bytes()
        return _parse_skin(data)
    except OSError as error:
        raise StreampartsError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, IndexError, UnicodeDecodeError):
        raise StreampartsError(f"{path} is not a whole .skn file") from None


def _parse_skin(data: bytes) -> tuple[list[str], Array, Array, NDArray[np.int32], Array]:
    at = 0

    def take(kind: str, count: int) -> NDArray[np.generic]:
        nonlocal at
        if count < 0:
            raise ValueError(count)
        out = np.frombuffer(data, kind, count, at)
        at += out.nbytes
        return out

    num_vertices, num_textured, num_faces, num_bones = (int(n) for n in take("<i4", 4))
    vertices = take("<f4", 3 * num_vertices).reshape(-1, 3).astype(np.float32)
    take("<f4", 2 * num_textured)
    faces = take("<i4", 3 * num_faces).reshape(-1, 3).astype(np.int32)
    names, joints = [], np.zeros((num_bones, 3), np.float32)
    weights = np.zeros((num_vertices, num_bones), np.float32)
    for b in range(num_bones):
        names.append(take("u1", NAME_BYTES).tobytes().split(b"\0")[0].decode("ascii"))
        joints[b] = take("<f4", 3)
        take("<f4", 4)  # the bone's rotation at rest cancels out: ours are against the body's axes
        (count,) = (int(n) for n in take("<i4", 1))
        # sparse weights: the vertices that the bone moves, then how much
        rows = take("<i4", count)
        weights[rows, b] = take("<f4", count)
    if at != len(data) or (len(faces) and not 0 <= faces.min() <= faces.max() < num_vertices):
        raise ValueError("sizes")
    sums = weights.sum(1, keepdims=True)
    if num_vertices == 0 or sums.min() <= 0:
        raise ValueError("weights")
    return names, joints, vertices, faces, np.asarray(weights / sums, np.float32)


def read_tree(path: Path) -> dict[str, str | None]:
    """Map each body of an MJCF file to its parent. Raises StreampartsError for anything else."""
    try:
        text = path.read_text(encoding="utf-8")
        if "<!" in text.replace("<!--", ""):  # entities can grow without limit
            raise StreampartsError(f"{path} has a document type, which MJCF files do not have")
        world = ElementTree.fromstring(text).find("worldbody")
    except (OSError, UnicodeDecodeError, ElementTree.ParseError) as error:
        raise StreampartsError(f"cannot read {path}: {error}") from None
    if world is None:
        raise StreampartsError(f"{path} has no worldbody")
    above: dict[str, str | None] = {}
    waiting: list[tuple[ElementTree.Element, str | None]] = [(world, None)]
    while waiting:
        element, parent = waiting.pop()
        for body in element.findall("body"):
            name = body.get("name", "")
            above[name] = parent
            waiting.append((body, name))
    return above


def _line(above: dict[str, str | None], name: str) -> list[str]:
    out, parent = [], above[name]
    while parent is not None:
        out.append(parent)
        parent = above[parent]
    return out


def _nearest(above: dict[str, str | None], name: str, known: Sequence[str]) -> int:
    return next((known.index(parent) for parent in _line(above, name) if parent in known), -1)


def coarser(rig: Rig, cell: float) -> Rig:
    """Merge the vertices in each cube of side `cell` that mostly follow the same bone, and drop triangles that
    collapse."""
    # (V, 4) cube and strongest bone of each vertex; equal keys become one vertex
    keys = np.concatenate([np.floor(rig.vertices / cell).astype(np.int64), rig.weights.argmax(1)[:, None]], 1)
    _, group = np.unique(keys, axis=0, return_inverse=True)
    group = group.reshape(-1)
    count = np.bincount(group)[:, None]

    def mean(values: Array) -> Array:
        sums = np.zeros((len(count), values.shape[1]), np.float64)
        np.add.at(sums, group, values)
        return np.asarray(sums / count, np.float32)

    # (T, 3) with merged vertices; one with two equal corners collapses
    faces = group[rig.faces]
    whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 0] != faces[:, 2])
    # each triangle once, whichever corner it starts at
    _, once = np.unique(np.sort(faces[whole], axis=1), axis=0, return_index=True)
    kept = faces[whole][np.sort(once)].astype(np.int32)
    return Rig(rig.names, rig.parents, rig.joints, mean(rig.vertices), kept, mean(rig.weights))
