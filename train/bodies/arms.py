"""Robot arms: several makers' models in one kind, in any possible pose, painted anew, on floors, tables and stands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .arena import draw_arena
from .arm_kinds import HAND, JOINTS, PARTS, Arm
from .arm_paint import CABLE, STAND, ArmLooks, draw_arm_looks
from .builds import Array
from .camera import Camera, frame_it, turned_towards
from .cast import Act, BodyLooks, act_beside, beside
from .figure import BodyFigure, grid_faces
from .mechanisms import Mechanism, place_links
from .motion import eased, number_of_keys
from .pose import turn, unit
from .raster import vertex_normals
from .scene import Photos, draw_background

OTHER = 255
"""Part number of things without a label: stands and tables."""
TRIES = 60
CLEARANCE = 0.07
"""Least distance between the hand, the elbow and other parts of the arm, in arm lengths: about half of their
thickness."""
SECONDS_A_POSE = 1.5
"""Time from one pose of an arm to the next in clips."""
STEP = 0.6
"""Radians by which its joints turn between them."""
APART = (0.5, 1.5)
"""Range of the distance between two arms, in arm lengths."""
HANGING = 1.4
"""Height of the ceiling that arms hang from, in arm lengths."""
Piece = tuple[Array, NDArray[np.int32], NDArray[np.uint8], Array, int, Array]
"""Vertices, triangles, parts, places, material, and canonical coordinates."""


@dataclass(frozen=True)
class Arms:
    """Robot arms with grippers; the way from the foot to the hand is 1 long."""

    arms: tuple[Arm, ...]
    parts: tuple[str, ...] = PARTS
    joints: tuple[str, ...] = JOINTS
    together: float = 0.14
    animals: bool = True
    blurred: float = 0.08

    def draw(self, rng: Generator) -> tuple[BodyFigure, ArmLooks]:
        """Draw an arm in a pose, its stand on the floor."""
        arm = self._any(rng)
        looks = draw_arm_looks(rng, makers_colours(arm))
        return figure_of(arm, draw_angles(rng, arm), int(rng.integers(2**31))), looks

    def act(self, rng: Generator, seconds: Array) -> Act:
        """Draw an arm that moves between poses."""
        arm, extras = self._any(rng), int(rng.integers(2**31))
        looks, keys = draw_arm_looks(rng, makers_colours(arm)), [draw_angles(rng, arm)]
        for _ in range(number_of_keys(seconds, SECONDS_A_POSE) - 1):
            keys.append(next_angles(rng, arm, keys[-1]))
        before, share = eased(seconds / SECONDS_A_POSE)
        path = [keys[k] + s * (keys[k + 1] - keys[k]) for k, s in zip(before, share, strict=True)]
        figures = [figure_of(arm, angles, extras) for angles in path]
        return Act(figures, looks, framed=figures[0].parts != OTHER)

    def _any(self, rng: Generator) -> Arm:
        names = sorted({arm.name for arm in self.arms})
        name = names[rng.integers(len(names))]
        some = [arm for arm in self.arms if arm.name == name]
        # the first has the maker's own gripper
        return some[0] if rng.random() < 0.5 else some[rng.integers(len(some))]

    def second(self, rng: Generator, first: BodyFigure, looks: BodyLooks) -> tuple[BodyFigure, BodyLooks]:
        """Draw another arm, half of the time with the same paint."""
        figure, own = self.draw(rng)
        return beside(rng, figure, first, APART), looks if rng.random() < 0.5 else own

    def second_act(self, rng: Generator, seconds: Array, first: Act) -> Act:
        """Another arm, half of the time with the same paint."""
        act = act_beside(rng, self.act(rng, seconds), first, APART)
        return replace(act, looks=first.looks) if rng.random() < 0.5 else act

    def side(self, _figure: BodyFigure) -> str:
        """Arms have none."""
        return ""

    def view(self, rng: Generator, figure: BodyFigure, size: int) -> Camera:
        """Place the camera on any side of the arm, mostly slightly above it."""
        angle = rng.uniform(0, 2 * np.pi)
        degrees = rng.normal(16, 13) if rng.random() < 0.85 else rng.uniform(-20, 78)
        lift = np.radians(np.clip(degrees, -25, 80))
        outwards = np.array([np.cos(angle) * np.cos(lift), np.sin(angle) * np.cos(lift), np.sin(lift)], np.float32)
        # the view is chosen for the arm alone, without stands
        mine = figure.parts != OTHER
        arm = replace(figure, vertices=figure.vertices[mine], parts=figure.parts[mine])
        away = rng.uniform(1.4, 2.4) if rng.random() < 0.3 else rng.uniform(2.2, 7)
        place = np.asarray(arm.vertices.mean(0), np.float32) + outwards * away
        close = (("gripper", "wrist"), ("gripper", "wrist", "forearm"))
        rows = tuple(tuple(PARTS.index(name) for name in names) for names in close)
        return frame_it(rng, Camera(turned_towards(-outwards, rng.normal(0, 4)), place), arm, size, rows)

    def background(self, rng: Generator, size: int, horizon: float, photos: Photos) -> Array:
        """Draw a room, a photo or a table."""
        return draw_arena(rng, size) if rng.random() < 0.12 else draw_background(rng, size, horizon, photos)


def makers_colours(arm: Arm) -> Array:
    """(3, 3) mean colours of the surfaces that are light, dark and bright in the maker's file; greys for missing
    ones."""
    out = np.array([[0.85, 0.85, 0.86], [0.12, 0.12, 0.13], [0.6, 0.6, 0.62]], np.float32)
    for slot in range(3):
        mine = arm.places[:, 3] == slot
        if mine.any():
            out[slot] = arm.mechanism.colours[mine].mean(0)
    return out


def draw_angles(rng: Generator, arm: Arm) -> Array:
    """Draw (L,) angles and shifts of the joints within their limits, with which the arm intersects neither the floor
    nor itself; among several, one whose gripper tends to point downwards or ahead."""
    best: tuple[float, Array] | None = None
    found = 0
    for attempt in range(TRIES):
        angles = _any_angles(rng, arm.mechanism)
        joints = arm.joints(*place_links(arm.mechanism, angles))
        bad = trouble(joints)
        if bad > 0 and (found or attempt < TRIES - 1) and best is not None and best[0] < bad:
            continue
        found += bad == 0
        down = float(unit(joints[-1] - joints[-2])[2])
        # impossible poses by their violation; possible ones below all of these, those that point down first
        score = bad if bad > 0 else -3.0 + down + rng.normal(0, 0.7)
        if best is None or score < best[0]:
            best = (score, angles)
        if found >= 4:
            break
    assert best is not None
    return best[1]


def next_angles(rng: Generator, arm: Arm, angles: Array) -> Array:
    """Return (L,) angles near these, with which the arm intersects neither the floor nor itself; these themselves if
    none are found."""
    low, high = np.clip(np.array([link.limits for link in arm.mechanism.links]), -np.pi, np.pi).T
    hand = arm.mechanism.number(HAND)
    for _ in range(TRIES):
        wanted = np.clip(angles + rng.normal(0, STEP, len(angles)), low, high)
        wanted[hand:] = _any_angles(rng, arm.mechanism)[hand:]
        # the way there must be free, too: four places along it
        ways = (angles + share * (wanted - angles) for share in (0.25, 0.5, 0.75, 1.0))
        if all(trouble(arm.joints(*place_links(arm.mechanism, way))) == 0 for way in ways):
            return np.asarray(wanted, np.float32)
    return angles


def _any_angles(rng: Generator, mechanism: Mechanism) -> Array:
    out = np.zeros(len(mechanism.links), np.float32)
    closed = rng.uniform(0, 1)
    hand = mechanism.number(HAND)
    for number, link in enumerate(mechanism.links):
        if link.axis is None:
            continue
        low, high = np.clip(link.limits, -np.pi, np.pi)
        if number < hand:
            out[number] = rng.uniform(low, high)
        elif link.slides:
            # a shift runs from closed to open; the end farther from 0 is open
            share = 1 - closed
            out[number] = low + share * (high - low) if abs(high) >= abs(low) else high - share * (high - low)
        else:
            low = 0.0 if low <= -np.pi else low
            bend = closed * (min(float(high), 0.85, low + 1.3) - low)
            # a parallel gripper's pads keep their direction
            out[number] = -bend if "inner_finger" in link.name else low + bend
    return out


def trouble(joints: Array) -> float:
    """Distance of a pose from a possible one, for JOINTS (J, 3): the depth below the floor, or of the hand or the elbow
    within other parts; 0 for a possible pose."""
    foot, _, shoulder, elbow, wrist, hand, tip = joints
    floor = foot[2]
    out = sum(max(0.0, float(floor + 0.05 - point[2])) for point in (elbow, wrist, hand, tip))
    # distances of points from the axes of other parts, as segments between joints
    column = (foot, shoulder)
    for point in (wrist, hand, tip):
        out += max(0.0, 1.3 * CLEARANCE - _distance(point, *column))
    for point in (hand, tip):
        out += max(0.0, CLEARANCE - _distance(point, shoulder, elbow))
    out += max(0.0, 0.8 * CLEARANCE - _distance(tip, elbow, wrist))
    return float(out)


def _distance(point: Array, start: Array, end: Array) -> float:
    along = end - start
    share = np.clip((point - start) @ along / max(float(along @ along), 1e-9), 0, 1)
    return float(np.linalg.norm(point - start - share * along))


def figure_of(arm: Arm, angles: Array, extras: int) -> BodyFigure:
    """Pose an arm, sometimes hanging or with a cable or a stand: the same ones for the same seed `extras`."""
    rng, mechanism = np.random.default_rng(extras), arm.mechanism
    turned, places = place_links(mechanism, angles)
    joints = arm.joints(turned, places)
    vertices = np.einsum("vab,vb->va", turned[mechanism.owners], mechanism.vertices) + places[mechanism.owners]
    normals = np.einsum("vab,vb->va", turned[mechanism.owners], mechanism.normals)
    pieces: list[Piece] = [(vertices, mechanism.faces, arm.parts, arm.places, 0, arm.canonical)]
    if rng.random() < 0.3:
        pieces.append(_cable(rng, joints))
    if rng.random() < 0.45:
        pieces.append(_stand(rng, joints[0]))
    counts = np.cumsum([0] + [len(piece[0]) for piece in pieces])
    faces = np.concatenate([piece[1] + start for piece, start in zip(pieces, counts, strict=False)]).astype(np.int32)
    added = [vertex_normals(np.asarray(piece[0], np.float32), piece[1]) for piece in pieces[1:]]
    materials = np.concatenate([np.full((len(piece[0]), 1), piece[4], np.float32) for piece in pieces])
    parts, where, canonical = (np.concatenate([piece[k] for piece in pieces]) for k in (2, 3, 5))
    # the whole figure turned about the vertical
    whole = turn(0, 0, rng.uniform(-180, 180))
    hanging = rng.random() < 0.06
    if hanging:
        whole = np.asarray(turn(180, 0, 0) @ whole, np.float32)
    vertices = np.concatenate([piece[0] for piece in pieces]) @ whole.T
    normals = np.concatenate([normals, *added]) @ whole.T
    joints = joints @ whole.T
    # stands stay on the floor while the arm moves
    still = (parts == PARTS.index("base")) | (materials[:, 0] == STAND)
    floor = joints[0, 2] - HANGING if hanging else vertices[still, 2].min()
    down = np.array([0, 0, floor], np.float32)
    vertices, joints = np.asarray(vertices - down, np.float32), np.asarray(joints - down, np.float32)
    ends = np.stack([joints[:-1], joints[1:]], 1)
    return BodyFigure(
        vertices, np.asarray(normals, np.float32), faces, parts, np.asarray(where, np.float32), materials,
        np.asarray(canonical, np.float32), joints, ends, unit(joints[-1] - joints[-2]),
    )  # fmt: skip


def _cable(rng: Generator, joints: Array) -> Piece:
    """A hose along the arm from the base to the wrist, which belongs to the parts beside it."""
    reach = rng.uniform(0.05, 0.09)
    side = unit(rng.normal(0, 1, 3))
    knots = joints[1 : 5 + int(rng.integers(2))] + side * reach
    path, owners = [], []
    for part, (start, end) in enumerate(pairwise(knots), 1):
        share = np.linspace(0, 1, 9)[:-1, None]
        sag = 4 * share * (1 - share) * rng.uniform(-0.03, 0.06)
        path.append(start + share * (end - start) + sag * unit(side + np.array([0, 0, -0.5])))
        owners += [part] * 8
    line = np.concatenate([*path, knots[-1:]])
    owners.append(owners[-1])
    smooth = line.copy()
    for _ in range(3):
        smooth[1:-1] = (smooth[:-2] + 2 * smooth[1:-1] + smooth[2:]) / 4
    along = np.gradient(smooth, axis=0)
    first = np.cross(along, side + 1e-3)
    first /= np.linalg.norm(first, axis=1, keepdims=True) + 1e-9
    second = np.cross(along, first)
    second /= np.linalg.norm(second, axis=1, keepdims=True) + 1e-9
    columns, wide = 7, rng.uniform(0.006, 0.016)
    angles = np.linspace(0, 2 * np.pi, columns)
    rings = smooth[:, None] + wide * (
        np.cos(angles)[:, None] * first[:, None] + np.sin(angles)[:, None] * second[:, None]
    )
    parts = np.repeat(np.array(owners, np.uint8), columns)
    where = np.zeros((len(parts), 8), np.float32)
    where[:, 0] = parts
    along_arm = (parts + 0.5) / len(PARTS) - 0.5
    canonical = np.stack([np.zeros_like(along_arm), np.full_like(along_arm, 0.07), along_arm], 1)
    return rings.reshape(-1, 3).astype(np.float32), grid_faces(len(smooth), columns), parts, where, CABLE, canonical


def _stand(rng: Generator, foot: Array) -> Piece:
    """A pedestal or a table below the foot."""
    if rng.random() < 0.6:
        high, half = rng.uniform(0.05, 0.7), rng.uniform(0.09, 0.2, 2)
        columns = int(rng.choice([5, 17]))
    else:
        high, half = rng.uniform(0.03, 0.08), rng.uniform(0.3, 1.3, 2)
        columns = 5
    angles = np.linspace(0, 2 * np.pi, columns) + np.pi / 4
    profile = np.array([(0, 1), (1, 1), (1, 0)]) if rng.random() < 0.7 else np.array([(0, 1.3), (1, 1), (1, 0)])
    around = np.stack([np.cos(angles), np.sin(angles)], 1) * (np.sqrt(2) if columns == 5 else 1)
    rows = [np.column_stack([around * half * wide, np.full(columns, (up - 1) * high)]) for up, wide in profile]
    # rings are repeated at the edge, so that it stays sharp
    vertices = np.concatenate([rows[0], rows[1], rows[1], rows[2]]) + foot
    side = grid_faces(2, columns)
    faces = np.concatenate([side, side + 2 * columns]).astype(np.int32)
    if columns == 5:  # each face of a box has its own corners
        vertices, faces = vertices[faces.ravel()], np.arange(faces.size, dtype=np.int32).reshape(-1, 3)
    count = len(vertices)
    zeros = np.zeros((count, 3), np.float32)
    return vertices.astype(np.float32), faces, np.full(count, OTHER, np.uint8), np.zeros((count, 8)), STAND, zeros
