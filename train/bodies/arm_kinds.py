"""Robot arms, whose links are grouped into parts and prepared for drawing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .builds import Array
from .mechanisms import Mechanism, find_robots, joined, place_links, read_mechanism

PARTS = ("base", "shoulder", "upper_arm", "forearm", "wrist", "gripper")
"""Parts from the floor to the tip: the shoulder turns about the vertical, and carries the upper arm's joint."""
JOINTS = ("foot", "base_top", "shoulder", "elbow", "wrist", "hand", "tip")
"""Points between the parts."""
CELL = 0.009
"""Side in metres of the cubes whose vertices are merged: about two pixels of a fine image with the whole arm."""
HAND = "right_hand"
"""The link of each arm that grippers are attached to."""


@dataclass(frozen=True)
class ArmKind:
    """Names of an arm's links by part, and the file of its own gripper."""

    base: tuple[str, ...]
    shoulder: tuple[str, ...]
    upper_arm: tuple[str, ...]
    forearm: tuple[str, ...]
    wrist: tuple[str, ...]
    gripper: str


KINDS = {
    "panda": ArmKind(("link0",), ("link1",), ("link2", "link3"), ("link4", "link5"), ("link6", "link7"), "panda"),
    "ur5e": ArmKind(
        ("fixed_base_link",),
        ("shoulder_link",),
        ("upper_arm_link",),
        ("forearm_link",),
        ("wrist_1_link", "wrist_2_link", "wrist_3_link"),
        "robotiq_85",
    ),
    "iiwa": ArmKind(
        ("fixed_base_link",),
        ("link_1",),
        ("link_2", "link_3"),
        ("link_4", "link_5"),
        ("link_6", "link_7"),
        "robotiq_85",
    ),
    "sawyer": ArmKind(
        ("right_arm_base_link",),
        ("right_l0", "head"),
        ("right_l1", "right_l2"),
        ("right_l3", "right_l4"),
        ("right_l5", "right_l6"),
        "rethink",
    ),
    "jaco": ArmKind(
        ("j2s7s300_link_0",),
        ("j2s7s300_link_1",),
        ("j2s7s300_link_2", "j2s7s300_link_3"),
        ("j2s7s300_link_4",),
        ("j2s7s300_link_5", "j2s7s300_link_6"),
        "jaco",
    ),
    "xarm7": ArmKind(("base",), ("link1",), ("link2", "link3"), ("link4", "link5"), ("link6",), "xarm7"),
}
GRIPPERS = {
    "panda": "panda_gripper.xml",
    "rethink": "rethink_gripper.xml",
    "robotiq_85": "robotiq_gripper_85.xml",
    "jaco": "jaco_three_finger_gripper.xml",
    "xarm7": "xarm7_gripper.xml",
}
ANY_GRIPPER = ("panda", "rethink", "robotiq_85", "xarm7")
"""Grippers that fit on any arm."""


@dataclass(frozen=True)
class Arm:
    """An arm with a gripper; the unit of length is the path from the foot to the hand along its joints."""

    name: str
    mechanism: Mechanism
    parts: NDArray[np.uint8]
    """(V,) index of each vertex's part in PARTS."""
    places: Array
    """(V, 8), see places_on_arm."""
    canonical: Array
    """(V, 3) 0, the distance from the part's axis, and the position along the arm from -0.5 to 0.5: arms have no left
    and right side."""
    points: tuple[int, ...]
    """The link at whose origin each of JOINTS lies, except the second, which is on the first link."""
    top: float
    """Height of the base."""

    def joints(self, turned: Array, places: Array) -> Array:
        """(J, 3) JOINTS for the links' rotations and origins, see place_links."""
        out = places[list(self.points)].copy()
        out[1] = places[self.points[0]] + turned[self.points[0]] @ np.array([0, 0, self.top], np.float32)
        return np.asarray(out, np.float32)


def load_arms(folder: Path | None = None) -> tuple[Arm, ...]:
    """Read all arms, each with its own gripper and with every one that fits. Raises MissingExtraError without
    robosuite's files."""
    assets = folder or find_robots()
    grippers = {name: read_mechanism(assets / "grippers" / file, CELL / 2) for name, file in GRIPPERS.items()}
    out = []
    for name, kind in KINDS.items():
        arm = read_mechanism(assets / "robots" / name / "robot.xml", CELL)
        for gripper in dict.fromkeys((kind.gripper, *ANY_GRIPPER)):
            out.append(make_arm(name, kind, joined(arm, grippers[gripper], HAND)))
    return tuple(out)


def make_arm(name: str, kind: ArmKind, mechanism: Mechanism) -> Arm:
    """Find parts, and places on the arm; the gripper is everything attached to the link HAND."""
    names = [link.name for link in mechanism.links]
    hand = names.index(HAND)
    # (L,) part of each link; all behind HAND is gripper
    part_of = np.full(len(names), PARTS.index("gripper"), np.uint8)
    for part in PARTS[:-1]:
        part_of[[names.index(link) for link in getattr(kind, part)]] = PARTS.index(part)
    for number, link in enumerate(mechanism.links[: hand + 1]):
        if link.name not in sum((getattr(kind, part) for part in PARTS[:-1]), ()):
            # adapters without a part of their own belong to the part they are attached to
            part_of[number] = part_of[link.parent] if link.parent >= 0 else PARTS.index("base")
    first = [names.index(getattr(kind, part)[0]) for part in ("base", "upper_arm", "forearm", "wrist")]
    points = (first[0], first[0], first[1], first[2], first[3], hand, _tip(mechanism, hand))
    parts = part_of[mechanism.owners]
    top = float(mechanism.vertices[mechanism.owners == first[0], 2].max())
    turned, places = place_links(mechanism, np.zeros(len(names), np.float32))
    arm = Arm(name, mechanism, parts, np.zeros((0, 8), np.float32), np.zeros((0, 3), np.float32), points, top)
    joints = arm.joints(turned, places)
    # the arm's length is the unit, as the body length of animals
    length = float(np.linalg.norm(np.diff(joints[:-1], axis=0), axis=1).sum())
    where = places_on_arm(mechanism, parts, joints, turned, places)
    # canonical: left 0, as an arm has no sides; back is the distance from the axis, up is the way from base to tip
    # from 0 to 1 along the whole arm, each part taking an equal share
    along = (where[:, 0] + np.clip(where[:, 1], 0, 1)) / len(PARTS) - 0.5
    canonical = np.stack([np.zeros_like(along), where[:, 2] / length, along], 1).astype(np.float32)
    return Arm(name, _scaled(mechanism, 1 / length), parts, where, np.clip(canonical, -0.6, 0.6), points, top / length)


def _tip(mechanism: Mechanism, hand: int) -> int:
    """The link `eef`, which the files of grippers have between the fingertips; without it, the hand."""
    names = [link.name for link in mechanism.links]
    return names.index("eef") if "eef" in names else hand


def _scaled(mechanism: Mechanism, by: float) -> Mechanism:
    links = []
    for link in mechanism.links:
        limits = (link.limits[0] * by, link.limits[1] * by) if link.slides else link.limits
        place = np.asarray(link.place * by, np.float32)
        links.append(type(link)(link.name, link.parent, link.turned, place, link.axis, limits, link.slides))
    vertices = np.asarray(mechanism.vertices * by, np.float32)
    return Mechanism(tuple(links), vertices, mechanism.normals, mechanism.faces, mechanism.owners, mechanism.colours)


def places_on_arm(mechanism: Mechanism, parts: NDArray[np.uint8], joints: Array, turned: Array, places: Array) -> Array:
    """(V, 8) where each vertex lies, for paint:

    0 the number of its part
    1 along its part's axis: 0 at the start, 1 at the end
    2 distance from the axis, in metres
    3 the file's colour: 0 for light, 1 for dark, 2 for a bright colour
    4 to 6 position in the link's axes, in metres
    7 number of the link
    """
    # (V, 3) all links at angle 0
    world = np.einsum("vab,vb->va", turned[mechanism.owners], mechanism.vertices) + places[mechanism.owners]
    out = np.zeros((len(world), 8), np.float32)
    out[:, 0] = parts
    # projection on the part's own axis: s = (v - a) . d / |d|^2, and the remainder across it
    start, axis = joints[:-1][parts], np.diff(joints, axis=0)[parts]
    length = np.maximum((axis * axis).sum(1), 1e-6)
    out[:, 1] = ((world - start) * axis).sum(1) / length
    out[:, 2] = np.linalg.norm(world - start - out[:, 1:2] * axis, axis=1)
    bright, range_ = mechanism.colours.max(1), np.ptp(mechanism.colours, axis=1)
    out[:, 3] = np.where(range_ > 0.3, 2, np.where(bright < 0.45, 1, 0))
    out[:, 4:7], out[:, 7] = mechanism.vertices, mechanism.owners
    return out
