"""A dressed person as a mesh in a pose: the body, loose cloth, and added skirts, hair and hats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .base_mesh import BaseMesh
from .builds import Array
from .garments import Worn
from .mesh import JOINTS, PARTS, Bodies, parts_of
from .outfit import BODY, GARMENT, HAIR, HAT, SKIRT, Outfit
from .pose import place_joints, unit
from .raster import Ints, skin, vertex_normals

AXES = {
    "torso": ("pelvis", "neck"),
    "head": ("neck", "head"),
    **{f"{side}_thigh": (f"hip.{s}", f"knee.{s}") for side, s in (("left", "L"), ("right", "R"))},
    **{f"{side}_shin": (f"knee.{s}", f"ankle.{s}") for side, s in (("left", "L"), ("right", "R"))},
    **{f"{side}_upper_arm": (f"arm.{s}", f"elbow.{s}") for side, s in (("left", "L"), ("right", "R"))},
    **{f"{side}_forearm": (f"elbow.{s}", f"wrist.{s}") for side, s in (("left", "L"), ("right", "R"))},
}
"""Joints at the ends of the first axis of each part."""


@dataclass(frozen=True)
class BodyFigure:
    """A mesh in world coordinates: x and y along the floor, z up, in metres."""

    vertices: Array
    """(V, 3) positions."""
    normals: Array
    """(V, 3) unit normals."""
    faces: Ints
    parts: NDArray[np.uint8]
    """(V,) index of each vertex's part in the kind's list of parts."""
    places: Array
    """(V, 8) places on the body, see mesh.places_on_body and anatomy.places_of."""
    materials: Array
    """(V, 1) BODY, SKIRT, HAIR or HAT."""
    rest: Array
    """(V, 3) position on the body at rest, in units of its height, relative to the middle of the hips: the canonical
    coordinates."""
    joints: Array
    """(J, 3) positions of the joints."""
    ends: Array
    """(K, 2, 3) both ends of each part's first axis."""
    facing: Array
    """(3,) unit vector in the direction of the chest."""
    corners: Array | None = None
    """(T, 3, 2) texture coordinates of the triangles' corners."""
    worn: tuple[Worn, ...] = ()
    """Garments; those of number k have the material GARMENT + k."""


def moved(figure: BodyFigure, turned: Array, shift: Array) -> BodyFigure:
    """Turn a figure by `turned` (3, 3) about the origin, then move it by `shift` (3,)."""
    return BodyFigure(
        (figure.vertices @ turned.T + shift).astype(np.float32), figure.normals @ turned.T, figure.faces, figure.parts,
        figure.places, figure.materials, figure.rest, figure.joints @ turned.T + shift, figure.ends @ turned.T + shift,
        turned @ figure.facing, figure.corners, figure.worn,
    )  # fmt: skip


def dress(
    bodies: Bodies, index: int, pose: Array, outfit: Outfit, rng: Generator, base: BaseMesh | None = None
) -> BodyFigure:
    """Pose and dress body number `index`, with its lowest point on the floor; `base` carries the outfit's garments."""
    rest, joints = bodies.vertices[index], bodies.joints[index]
    normals = vertex_normals(rest, bodies.faces)
    # (V,) cloth stands off the skin along its normals
    loose = outfit.looseness(bodies.places, rest)
    shaped = rest + loose[:, None] * normals
    places, turned = place_joints(joints, pose)
    # a bone maps its rest joint J to its place p: v -> R v + (p - R J), blended by the weights
    shift = places - np.einsum("jab,jb->ja", turned, joints)
    moves = np.concatenate([turned, shift[..., None]], axis=2)
    height = float(np.ptp(rest[:, 2]))
    middle = (joints[JOINTS.index("hip.L")] + joints[JOINTS.index("hip.R")]) / 2
    shown = _uncovered(bodies, outfit, base)
    corners = base.corners[shown] if base else None
    posed = skin(shaped, bodies.weights, moves)
    pieces = [Piece(posed, bodies.faces[shown], bodies.parts, bodies.places, BODY, (rest - middle) / height, corners)]
    pieces += _added(outfit, bodies, index, places, turned, rng)
    pieces += _garments(outfit, base, bodies, index, moves, middle) if base else []
    whole = _joined(pieces)
    down = np.array([0, 0, whole.vertices[:, 2].min()], np.float32)
    vertices = whole.vertices - down
    # at rest the chest faces -y
    facing = np.asarray(turned[JOINTS.index("chest")] @ np.array([0, -1, 0], np.float32))
    ends = np.stack([places[[JOINTS.index(joint) for joint in AXES[part]]] for part in PARTS]) - down
    materials = np.concatenate([np.full((len(piece.vertices), 1), piece.material, np.float32) for piece in pieces])
    return BodyFigure(
        vertices, vertex_normals(vertices, whole.faces), whole.faces, whole.parts, whole.places, materials,
        whole.canonical, places - down, ends, facing, whole.corners if base else None, outfit.worn if base else (),
    )  # fmt: skip


class Piece(NamedTuple):
    """A mesh that is part of a figure."""

    vertices: Array
    faces: Ints
    parts: NDArray[np.uint8]
    places: Array
    material: int
    canonical: Array
    corners: Array | None = None


def _joined(pieces: list[Piece]) -> Piece:
    counts = np.cumsum([0] + [len(piece.vertices) for piece in pieces])
    faces = np.concatenate([piece.faces + start for piece, start in zip(pieces, counts, strict=False)])
    vertices, parts, places, canonical = (np.concatenate([piece[k] for piece in pieces]) for k in (0, 2, 3, 5))
    blank = [
        np.zeros((len(piece.faces), 3, 2), np.float32) if piece.corners is None else piece.corners for piece in pieces
    ]
    return Piece(
        vertices.astype(np.float32), faces.astype(np.int32), parts, places, BODY, canonical.astype(np.float32),
        np.concatenate(blank),
    )  # fmt: skip


def _uncovered(bodies: Bodies, outfit: Outfit, base: BaseMesh | None) -> NDArray[np.bool_]:
    """(T,) triangles of the body that no garment covers."""
    if base is None or not outfit.worn:
        return np.ones(len(bodies.faces), bool)
    hidden = np.any([worn.garment.hides[base.rows] for worn in outfit.worn], axis=0)
    return np.asarray(~hidden[bodies.faces].all(1))


def _garments(outfit: Outfit, base: BaseMesh, bodies: Bodies, index: int, moves: Array, middle: Array) -> list[Piece]:
    """Fit the garments to the build, and move them with the body."""
    own, out = base.vertices[index], []
    height = float(np.ptp(bodies.vertices[index][:, 2]))
    for k, worn in enumerate(outfit.worn):
        rest, weights = worn.garment.fitted(own), worn.garment.carried(base.weights)
        # no paint by place: the texture has it
        where = np.full((len(rest), 8), -1, np.float32)
        piece = Piece(
            skin(rest, weights, moves), worn.garment.faces, parts_of(weights), where, GARMENT + k,
            (rest - middle) / height, worn.garment.corners,
        )  # fmt: skip
        out.append(piece)
    return out


def _added(outfit: Outfit, bodies: Bodies, index: int, places: Array, turned: Array, rng: Generator) -> list[Piece]:
    rest, joints = bodies.vertices[index], bodies.joints[index]
    head = JOINTS.index("head")
    own = rest[bodies.parts == PARTS.index("head")]
    low, high = own.min(0), own.max(0)
    out = []
    for centre, radii, material in outfit.on_head:
        ball, faces = _ball(8, 12)
        # in the box of the head: 0 is its low corner, 1 its high one
        at_rest = low + (np.array(centre) + ball * np.array(radii)) * (high - low)
        vertices = (at_rest - joints[head]) @ turned[head].T + places[head]
        kind = {"hair": HAIR, "hat": HAT}[material]
        where = np.tile(np.array([-1, -1, 2, 0, 3, 2, 0, 0], np.float32), (len(ball), 1))
        parts = np.full(len(ball), PARTS.index("head"), np.uint8)
        canonical = (at_rest - joints[0]) / float(np.ptp(rest[:, 2]))
        out.append(Piece(vertices.astype(np.float32), faces, parts, where, kind, canonical))
    if outfit.skirt > 0:
        out.append(_skirt(outfit, rest, joints, places, turned, rng))
    return out


def _ball(rows: int, columns: int) -> tuple[Array, Ints]:
    """Return a sphere of radius 1."""
    up, round_ = np.meshgrid(np.linspace(0, np.pi, rows), np.linspace(0, 2 * np.pi, columns), indexing="ij")
    points = np.stack([np.sin(up) * np.cos(round_), np.sin(up) * np.sin(round_), np.cos(up)], -1).reshape(-1, 3)
    return points.astype(np.float32), grid_faces(rows, columns)


def grid_faces(rows: int, columns: int) -> Ints:
    # two triangles for each cell of the grid
    first = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).reshape(-1)
    upper = np.stack([first, first + columns, first + 1], 1)
    lower = np.stack([first + 1, first + columns, first + columns + 1], 1)
    return np.concatenate([upper, lower]).astype(np.int32)


def _skirt(outfit: Outfit, rest: Array, joints: Array, places: Array, turned: Array, rng: Generator) -> Piece:
    """Return rings around both legs, from above the hips to `outfit.skirt` along the legs (1 is the knees, 2 the
    ankles)."""
    at = {name: places[j] for j, name in enumerate(JOINTS)}
    size = float(np.linalg.norm(joints[JOINTS.index("neck")] - joints[0])) / 0.5
    pelvis = turned[0] @ np.array([1, 0, 0], np.float32)
    rows, columns = 12, 28
    along = np.linspace(-0.25, outfit.skirt, rows)
    angles = np.linspace(0, 2 * np.pi, columns)
    folds = 1 + outfit.folds * np.sin(angles * rng.integers(5, 11) + rng.uniform(0, 6))
    rings = []
    for step in along:
        left, right = (_on_leg(at, side, max(step, 0.0)) for side in "LR")
        middle, across = (left + right) / 2, left - right
        if across @ pelvis < 0:
            across = pelvis * 0.1
        outwards = unit(across + 0.05 * pelvis)
        down = unit(_on_leg(at, "L", max(step, 0) + 0.1) + _on_leg(at, "R", max(step, 0) + 0.1) - left - right)
        forward = unit(np.cross(outwards, down))
        middle = middle - down * min(step, 0.0) * -0.42 * size if step < 0 else middle
        flare = outfit.flare * max(step, 0.0) * size
        wide = np.linalg.norm(across) / 2 + 0.1 * size + flare
        deep = 0.125 * size + flare * 0.8
        fold = 1 + (folds - 1) * min(1, max(step, 0.0))
        rings.append(
            middle + np.cos(angles)[:, None] * (wide * outwards) * fold[:, None]
            + np.sin(angles)[:, None] * (deep * forward) * fold[:, None]
        )  # fmt: skip
    vertices = np.concatenate(rings).astype(np.float32)
    leftish = np.tile(np.cos(angles) > 0, rows)
    shin = np.repeat(along > 1, columns)
    names = [
        ("left_" if left else "right_") + ("shin" if low else "thigh") for left, low in zip(leftish, shin, strict=True)
    ]
    parts = np.array([PARTS.index(name) for name in names], np.uint8)
    parts[np.repeat(along < -0.05, columns)] = PARTS.index("torso")
    where = np.full((len(vertices), 8), -1, np.float32)
    where[:, 1] = np.repeat(along, columns)
    where[:, 2] = -np.repeat(along, columns) * 0.8
    where[:, 6], where[:, 7] = np.tile(np.cos(angles), rows) * 0.2, np.tile(np.sin(angles), rows) * 0.2
    canonical = np.stack([where[:, 6] * 0.6, -where[:, 7] * 0.6, -np.repeat(along, columns) * 0.24], 1)
    return Piece(vertices, grid_faces(rows, columns), parts, where, SKIRT, canonical.astype(np.float32))


def _on_leg(at: dict[str, Array], side: str, along: float) -> Array:
    hip, knee, ankle = (at[f"{joint}.{side}"] for joint in ("hip", "knee", "ankle"))
    return np.asarray(hip + (knee - hip) * along if along < 1 else knee + (ankle - knee) * (along - 1))
