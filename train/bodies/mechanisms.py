"""Mechanisms of rigid links as plain arrays, from MJCF files and the meshes that they name.

The robot arms are those of the package `robosuite` (MIT), of which only the files are used, not its code nor MuJoCo.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from streamparts.errors import MissingExtraError, StreampartsError

from .builds import Array

CREASE = np.cos(np.radians(40))
"""Edges sharper than 40 degrees are drawn as edges, others as round."""


@dataclass(frozen=True)
class Link:
    """A rigid link."""

    name: str
    parent: int
    """Number of the parent link, which comes before it; -1 for the first."""
    turned: Array
    """(3, 3) rotation against the parent, at angle 0."""
    place: Array
    """(3,) its origin, which its joint turns about, in the parent's axes."""
    axis: Array | None
    """(3,) unit vector of its joint; None for a fixed one."""
    limits: tuple[float, float] = (0.0, 0.0)
    """Of the angle in radians, or of the shift in metres."""
    slides: bool = False


@dataclass(frozen=True)
class Mechanism:
    """Links with their triangles, each in its link's own axes."""

    links: tuple[Link, ...]
    vertices: Array
    """(V, 3) in metres."""
    normals: Array
    """(V, 3) unit normals; a vertex at an edge occurs once for each side."""
    faces: NDArray[np.int32]
    """(T, 3)"""
    owners: NDArray[np.int32]
    """(V,) number of the link."""
    colours: Array
    """(V, 3) of the file, in [0, 1]."""

    def number(self, name: str) -> int:
        """The number of a link. Raises ValueError for another name."""
        return [link.name for link in self.links].index(name)


def find_robots() -> Path:
    """Return the folder of robosuite's models, without importing it. Raises MissingExtraError."""
    spec = find_spec("robosuite")
    places = spec.submodule_search_locations if spec else None
    if not places:
        raise MissingExtraError("rendering robot arms needs robosuite's files; pip install 'streamparts[arms]'")
    return Path(places[0]) / "models" / "assets"


def read_mechanism(model: Path, cell: float) -> Mechanism:
    """Read an MJCF file and the meshes of its visible geoms, whose vertices are merged in cubes of side `cell`. Raises
    StreampartsError for a damaged one, and for meshes that it cannot find."""
    try:
        return _parsed(_read_xml(model), model, cell)
    except ValueError as error:
        raise StreampartsError(f"{model}: {error}") from None


def _parsed(root: ElementTree.Element, model: Path, cell: float) -> Mechanism:
    # of two meshes with one name, the first counts
    files = {mesh.get("name", ""): mesh for mesh in reversed(list(root.iter("mesh"))) if mesh.get("file")}
    paints = {paint.get("name", ""): _numbers(paint, "rgba", (0.7, 0.7, 0.7, 1))[:3] for paint in root.iter("material")}
    links: list[Link] = []
    pieces: list[tuple[Array, Array, NDArray[np.int32], int, Array]] = []
    world = root.find("worldbody")
    if world is None:
        raise StreampartsError(f"{model} has no worldbody")
    waiting = [(body, -1) for body in reversed(world.findall("body"))]
    while waiting:
        body, parent = waiting.pop()
        links.append(_link(body, parent))
        number = len(links) - 1
        for geom in body.findall("geom"):
            name = geom.get("mesh", "")
            if not name or geom.get("group", "1") != "1" or geom.get("class") == "collision":
                continue
            if name not in files:
                raise StreampartsError(f"{model} has no mesh {name}")
            points, normals, faces = _read_mesh(model, files[name], cell)
            turned, place = _rotation(geom), _numbers(geom, "pos", (0, 0, 0))
            paint = geom.get("material", "")
            colour = paints[paint] if paint in paints else _numbers(geom, "rgba", (0.7, 0.7, 0.7, 1))[:3]
            pieces.append((points @ turned.T + place, normals @ turned.T, faces, number, colour))
        waiting += [(child, number) for child in reversed(body.findall("body"))]
    return _assembled(tuple(links), pieces)


def joined(first: Mechanism, second: Mechanism, at: str) -> Mechanism:
    """Attach the second mechanism to a link of the first."""
    count, where = len(first.links), first.number(at)
    links = tuple(
        Link(link.name, link.parent + count if link.parent >= 0 else where, *tuple(vars(link).values())[2:])
        for link in second.links
    )
    return Mechanism(
        first.links + links,
        np.concatenate([first.vertices, second.vertices]),
        np.concatenate([first.normals, second.normals]),
        np.concatenate([first.faces, second.faces + len(first.vertices)]).astype(np.int32),
        np.concatenate([first.owners, second.owners + count]).astype(np.int32),
        np.concatenate([first.colours, second.colours]),
    )


def place_links(mechanism: Mechanism, angles: Array) -> tuple[Array, Array]:
    """Return rotations (L, 3, 3) and origins (L, 3) of the links, for the angles or shifts (L,) of their joints."""
    turned = np.zeros((len(mechanism.links), 3, 3), np.float32)
    places = np.zeros((len(mechanism.links), 3), np.float32)
    for number, link in enumerate(mechanism.links):
        above, origin = (turned[link.parent], places[link.parent]) if link.parent >= 0 else (np.eye(3), np.zeros(3))
        # T_link = T_parent (R | p) Q: the fixed place in the parent, then the joint itself
        turned[number] = above @ link.turned
        places[number] = origin + above @ link.place
        if link.axis is not None and link.slides:
            places[number] += turned[number] @ (link.axis * angles[number])
        elif link.axis is not None:
            turned[number] = turned[number] @ _about(link.axis, float(angles[number]))
    return turned, places


def _assembled(links: tuple[Link, ...], pieces: list[tuple[Array, Array, NDArray[np.int32], int, Array]]) -> Mechanism:
    starts = np.cumsum([0] + [len(piece[0]) for piece in pieces])
    empty = np.zeros((0, 3), np.float32)
    return Mechanism(
        links,
        np.concatenate([empty] + [piece[0] for piece in pieces]).astype(np.float32),
        np.concatenate([empty] + [piece[1] for piece in pieces]).astype(np.float32),
        np.concatenate(
            [np.zeros((0, 3), np.int32)] + [piece[2] + start for piece, start in zip(pieces, starts, strict=False)]
        ).astype(np.int32),
        np.concatenate([np.zeros(0, np.int32)] + [np.full(len(piece[0]), piece[3], np.int32) for piece in pieces]),
        np.concatenate([empty] + [np.tile(piece[4], (len(piece[0]), 1)) for piece in pieces]).astype(np.float32),
    )


def _read_xml(path: Path) -> ElementTree.Element:
    try:
        text = path.read_text(encoding="utf-8")
        if "<!" in text.replace("<!--", ""):  # entities can grow without limit
            raise StreampartsError(f"{path} has a document type, which MJCF files do not have")
        return ElementTree.fromstring(text)
    except (OSError, UnicodeDecodeError, ElementTree.ParseError) as error:
        raise StreampartsError(f"cannot read {path}: {error}") from None


def _numbers(element: ElementTree.Element, name: str, default: tuple[float, ...]) -> Array:
    text = element.get(name)
    values = np.array([float(word) for word in text.split()] if text else default, np.float32)
    if values.shape != (len(default),) or not np.isfinite(values).all():
        raise ValueError(f"{name}={text!r} should be {len(default)} numbers")
    return values


def _rotation(element: ElementTree.Element) -> Array:
    """(3, 3) of a quaternion w x y z, which MJCF does not require to have length 1, or of turns about x, y and z."""
    if "euler" in element.attrib:
        x, y, z = (
            _about(axis, float(a)) for axis, a in zip(np.eye(3), _numbers(element, "euler", (0,) * 3), strict=True)
        )
        return np.asarray(x @ y @ z, np.float32)
    # q and -q are the same rotation, so only the length matters
    quaternion = _numbers(element, "quat", (1, 0, 0, 0))
    w, x, y, z = quaternion / max(float(np.linalg.norm(quaternion)), 1e-9)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ],
        np.float32,
    )


def _about(axis: Array, radians: float) -> Array:
    x, y, z = axis
    # Rodrigues: R = I + sin a [u]x + (1 - cos a) [u]x^2
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(radians) * cross + (1 - np.cos(radians)) * (cross @ cross), np.float32)


def _link(body: ElementTree.Element, parent: int) -> Link:
    turned, place, joint = _rotation(body), _numbers(body, "pos", (0, 0, 0)), body.find("joint")
    if joint is None:
        return Link(body.get("name", ""), parent, turned, place, None)
    axis = _numbers(joint, "axis", (0, 0, 1))
    # the file's drawing is at the joint's `ref`
    low, high = _numbers(joint, "range", (-np.pi, np.pi)) - float(joint.get("ref", "0"))
    axis = axis / max(float(np.linalg.norm(axis)), 1e-9)
    slides = joint.get("type") == "slide"
    return Link(body.get("name", ""), parent, turned, place, axis, (float(low), float(high)), slides)


def _read_mesh(model: Path, mesh: ElementTree.Element, cell: float) -> tuple[Array, Array, NDArray[np.int32]]:
    try:
        import trimesh
    except ImportError as error:
        raise MissingExtraError("reading meshes needs trimesh; pip install 'streamparts[arms]'") from error
    path = model.parent / mesh.get("file", "")
    try:
        shape: Any = trimesh.load(path, force="mesh", process=False, skip_materials=True)
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise StreampartsError(f"cannot read {path}: {error}") from None
    points = np.asarray(shape.vertices, np.float64) * _numbers(mesh, "scale", (1, 1, 1))
    return creased(*merged(points, np.asarray(shape.faces, np.int64), cell))


def merged(points: NDArray[np.float64], faces: NDArray[np.int64], cell: float) -> tuple[Array, NDArray[np.int64]]:
    """Merge the vertices in each cube of side `cell`, and drop triangles that collapse or repeat."""
    # (V,) the cube of each vertex; its vertices become their mean
    _, group = np.unique(np.floor(points / cell).astype(np.int64), axis=0, return_inverse=True)
    group = group.reshape(-1)
    count = np.bincount(group)[:, None]
    sums = np.zeros((len(count), 3))
    np.add.at(sums, group, points)
    # (T, 3) with merged vertices; one with two equal corners has no area left
    triangles = group[faces]
    whole = (
        (triangles[:, 0] != triangles[:, 1])
        & (triangles[:, 1] != triangles[:, 2])
        & (triangles[:, 0] != triangles[:, 2])
    )
    triangles = triangles[whole]
    _, once = np.unique(np.sort(triangles, axis=1), axis=0, return_index=True)
    return np.asarray(sums / count, np.float32), triangles[np.sort(once)]


def creased(points: Array, faces: NDArray[np.int64]) -> tuple[Array, Array, NDArray[np.int32]]:
    """Repeat vertices at sharp edges; returns vertices, unit normals and triangles. A corner's normal is the mean over
    those triangles at it whose normals are within CREASE of its own, weighted by area."""
    ends = points[faces]
    # (T, 3) twice the area times the unit normal, so that sums weigh by area
    own = np.cross(ends[:, 1] - ends[:, 0], ends[:, 2] - ends[:, 0]).astype(np.float64)
    unit = own / (np.linalg.norm(own, axis=1, keepdims=True) + 1e-15)
    corners = faces.ravel()
    triangle = np.repeat(np.arange(len(faces)), 3)
    order = np.argsort(corners, kind="stable")
    normals = np.zeros((len(corners), 3))
    for some in np.split(order, np.flatnonzero(np.diff(corners[order])) + 1) if len(order) else []:
        mine = triangle[some]
        # (n, n) True where two of the n triangles at this vertex meet softly
        near = unit[mine] @ unit[mine].T > CREASE
        normals[some] = near @ own[mine]
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-15
    # corners with the same vertex and, rounded, the same normal are one
    keys = np.concatenate([corners[:, None], np.round(normals * 12).astype(np.int64)], 1)
    _, first, index = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    triangles = index.reshape(-1, 3).astype(np.int32)
    return np.asarray(points[corners[first]], np.float32), normals[first].astype(np.float32), triangles
