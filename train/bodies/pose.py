"""Random poses of people: standing, walking, dancing, sitting, bending, lying; joint rotations within human limits.

Directions are (outwards, forwards, upwards), so that one table serves both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from .builds import Array
from .mesh import JOINTS, PARENTS

LEFT, RIGHT = 1, -1
ARMS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float], float]] = {
    "hanging": ((0.25, 0.0, -1.0), (0.12, 0.25, -1.0), 0.20),
    "on hips": ((0.75, -0.3, -0.7), (-0.75, 0.42, -0.45), 0.08),
    "crossed": ((0.2, 0.4, -0.95), (-0.9, 0.45, 0.15), 0.05),
    "overhead": ((0.4, 0.1, 1.0), (-0.1, 0.1, 1.0), 0.08),
    "reaching": ((0.2, 1.0, 0.0), (0.1, 1.0, 0.1), 0.08),
    "spread": ((1.0, 0.1, 0.0), (1.0, 0.2, 0.1), 0.10),
    "guarding": ((0.5, 0.6, -0.6), (-0.4, 0.9, 0.25), 0.10),
    "to the head": ((0.5, 0.3, -0.6), (-0.3, 0.3, 1.0), 0.05),
    "behind": ((0.4, -0.4, -0.9), (-0.6, -0.4, -0.5), 0.03),
    "in the lap": ((0.2, 0.3, -0.95), (-0.25, 0.9, -0.3), 0.05),
    "anywhere": ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0.18),
}
"""Directions of upper arm and forearm, and their frequency."""


@dataclass(frozen=True)
class Leg:
    """Angles of a leg, in degrees from standing."""

    flexion: float = 0.0
    """Forward angle of the thigh."""
    abduction: float = 4.0
    """Outward angle of the thigh."""
    twist: float = 8.0
    """Outward angle of the toes."""
    knee: float = 4.0


def draw_pose(rng: Generator, joints: Array) -> Array:
    """Draw rotations (J, 3, 3) against the parent, in the axes at rest, of a body with joints at (J, 3). Poses with
    hands in the trunk or crossing legs are drawn again."""
    family = rng.choice(list(FAMILIES), p=np.array([share for _, share in FAMILIES.values()]))
    for _ in range(8):
        pose = draw_of_family(rng, joints, FAMILIES[family][0])
        if is_possible(joints, pose):
            break
    return pose


def draw_of_family(rng: Generator, joints: Array, family: Callable[[Generator], Family]) -> Array:
    """Draw one pose of a family, possible or not."""
    pose = np.repeat(np.eye(3, dtype=np.float32)[None], len(JOINTS), 0)
    left, right, bend, whole = family(rng)
    for joint in ("waist", "chest"):  # half of the bend each
        pose[JOINTS.index(joint)] = turn(*(bend / 2))
    # degrees about x, y and z; half each in neck and head
    nod = rng.normal(0, (14, 8, 22))
    pose[JOINTS.index("neck")], pose[JOINTS.index("head")] = turn(*(nod / 2)), turn(*(nod / 2))
    pose[0] = whole
    for side, leg in ((LEFT, left), (RIGHT, right)):
        _set_leg(pose, rng, side, leg)
    first, second = (str(rng.choice(list(ARMS), p=[share for *_, share in ARMS.values()])) for _ in range(2))
    if rng.random() < 0.45:
        second = first
    for side, name in ((LEFT, first), (RIGHT, second)):
        set_arm(pose, rng, joints, side, *arm_directions(rng, name))
    return pose


def _set_leg(pose: Array, rng: Generator, side: int, leg: Leg) -> None:
    at = "L" if side == LEFT else "R"
    # flexion about x, after abduction about y and twist about z; the right side is mirrored
    thigh = turn(-leg.flexion, 0, 0) @ turn(0, -side * leg.abduction, side * leg.twist)
    pose[JOINTS.index(f"hip.{at}")] = thigh
    pose[JOINTS.index(f"knee.{at}")] = turn(leg.knee, 0, 0)
    pose[JOINTS.index(f"ankle.{at}")] = turn(rng.normal(-3, 9), rng.normal(0, 6), rng.normal(0, 8))


def set_arm(pose: Array, rng: Generator, joints: Array, side: int, upper: Array, fore: Array) -> None:
    """Turn an arm so that its halves point in these directions; the wrist is drawn."""
    at = "L" if side == LEFT else "R"
    arm, elbow, wrist = (JOINTS.index(f"{joint}.{at}") for joint in ("arm", "elbow", "wrist"))
    # (outwards, forwards, upwards) -> the body's axes: x to its left, y to its back, z up
    towards = [unit(np.array([side * out, -front, up])) for out, front, up in (upper, fore)]
    rest = [unit(joints[elbow] - joints[arm]), unit(joints[wrist] - joints[elbow])]
    raised = turn(0, -side * float(np.clip(40 * (upper[2] + 0.2), 0, 25)), 0)
    pose[JOINTS.index(f"shoulder.{at}")] = raised
    # the rotation that takes the frame at rest to the wanted one, minus the shoulder's own
    pose[arm] = raised.T @ _frame(*towards) @ _frame(*rest).T
    # the elbow only opens and closes: one angle about its hinge
    bent = _between(*towards) - _between(*rest)
    pose[elbow] = about(np.cross(rest[0], rest[1]), bent)
    pose[wrist] = about(rest[1], rng.normal(0, 0.6)) @ turn(*rng.normal(0, 16, 3))


def arm_directions(rng: Generator, name: str) -> tuple[Array, Array]:
    """Draw the directions of upper arm and forearm, as ARMS has them under this name."""
    upper, fore, _ = ARMS[name]
    if name != "anywhere":
        return unit(np.array(upper) + rng.normal(0, 0.17, 3)), unit(np.array(fore) + rng.normal(0, 0.17, 3))
    first = unit(rng.normal(0, 1, 3) + np.array([0.6, 0.35, 0]))
    second = unit(rng.normal(0, 0.8, 3) + np.array([0, 0.3, 0.1]) + 0.7 * first)
    return first, second


def _frame(along: Array, bent: Array) -> Array:
    """Return the (3, 3) matrix whose columns are a bone's direction, its hinge axis, and their cross product."""
    # the hinge is across both bones; for a straight limb, any axis across it
    hinge: Array = np.cross(along, bent)
    if np.linalg.norm(hinge) < 1e-3:
        hinge = np.cross(along, (0.1, -1.0, 0.2))
    hinge = unit(hinge)
    return np.stack([along, hinge, np.cross(along, hinge)], axis=1)


def _between(one: Array, other: Array) -> float:
    return float(np.arccos(np.clip(one @ other, -1, 1)))


def unit(vector: Array) -> Array:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), np.float32)


def turn(x: float, y: float, z: float) -> Array:
    """Return the rotation by degrees about the three axes, x first."""
    angles = np.radians([x, y, z])
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x, np.float32)


def about(axis: Array, radians: float) -> Array:
    """Return the rotation about any axis: Rodrigues' formula."""
    x, y, z = unit(axis)
    # R = I + sin a [u]x + (1 - cos a) [u]x^2
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(radians) * cross + (1 - np.cos(radians)) * (cross @ cross), np.float32)


def place_joints(joints: Array, pose: Array, parents: Sequence[int] = PARENTS) -> tuple[Array, Array]:
    """Return where joints at rest (J, 3) come to lie (J, 3), and the total rotation of each (J, 3, 3)."""
    places, turned = np.empty_like(joints), np.empty_like(pose)
    for j, parent in enumerate(parents):
        if parent < 0:
            places[j], turned[j] = joints[j], pose[j]
            continue
        # forward kinematics: rotations multiply, and bones hang at their parents' ends
        turned[j] = turned[parent] @ pose[j]
        places[j] = places[parent] + turned[parent] @ (joints[j] - joints[parent])
    return places, turned


def is_possible(joints: Array, pose: Array) -> bool:
    """Return whether hands and elbows stay outside of trunk and head, and the legs outside of each other."""
    places, _turned = place_joints(joints, pose)
    at = {name: places[j] for j, name in enumerate(JOINTS)}
    size = float(np.linalg.norm(joints[JOINTS.index("neck")] - joints[0])) / 0.5
    for side in "LR":
        # distances in shares of the body's height, from the trunk's length of half of it
        wrist = at[f"wrist.{side}"]
        hand = wrist + 0.6 * size * 0.12 * unit(wrist - at[f"elbow.{side}"])
        if _distance(hand, at["pelvis"], at["neck"]) < 0.14 * size or np.linalg.norm(hand - at["head"]) < 0.12 * size:
            return False
        if _distance(at[f"elbow.{side}"], at["pelvis"], at["chest"]) < 0.14 * size:
            return False
    apart = [np.linalg.norm(at[f"{one}.L"] - at[f"{one}.R"]) for one in ("knee", "ankle")]
    return bool(min(apart) > 0.1 * size)


def _distance(point: Array, start: Array, end: Array) -> float:
    along = end - start
    # the nearest point of the segment from `start` to `end`
    share = np.clip((point - start) @ along / (along @ along), 0, 1)
    return float(np.linalg.norm(point - start - share * along))


Family = tuple[Leg, Leg, Array, Array]
UPRIGHT = np.eye(3, dtype=np.float32)


def _leg(rng: Generator, flexion: float, spread: float, knee: float, bent: float, abduction: float = 6.0) -> Leg:
    return Leg(
        float(rng.normal(flexion, spread)),
        float(max(-4.0, rng.normal(abduction, 4))),
        float(rng.normal(10, 12)),
        float(np.clip(rng.normal(knee, bent), 0, 145)),
    )


def standing(rng: Generator) -> Family:
    """Stand at ease, with the weight on both legs or on one."""
    wide = rng.uniform(1, 14)
    legs = [_leg(rng, 2, 6, 6, 6, wide) for _ in range(2)]
    return legs[0], legs[1], rng.normal(0, (7, 5, 8)), UPRIGHT


def walking(rng: Generator, at: float | None = None) -> Family:
    """Any phase of a step, from slow walking to running; or that `at` radians, all other draws being the same."""
    phase, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.3)
    phase = phase if at is None else at
    legs = []
    for shift in (0.0, np.pi):
        swing = np.sin(phase + shift)
        lifted = max(0.0, np.cos(phase + shift))
        legs.append(
            Leg(8 * speed + 30 * speed * swing, 3, rng.normal(6, 5), 8 + 75 * speed * lifted * rng.uniform(0.6, 1))
        )
    return legs[0], legs[1], np.array([8 * speed, 0, 14 * np.sin(phase)]), UPRIGHT


def lunging(rng: Generator) -> Family:
    """Martial arts and gymnastics: wide and low."""
    wide, low = rng.uniform(10, 45), rng.uniform(0, 1)
    legs = [_leg(rng, 35 * low + rng.normal(0, 20), 12, 60 * low, 22, wide) for _ in range(2)]
    return legs[0], legs[1], rng.normal(0, (10, 8, 18)), turn(rng.normal(0, 6), rng.normal(0, 6), 0)


def dancing(rng: Generator) -> Family:
    """Stand on one leg; the other is anywhere."""
    stand = _leg(rng, 5, 12, 12, 14, 5)
    free = Leg(rng.uniform(-35, 100), rng.uniform(0, 55), rng.normal(15, 20), float(rng.uniform(0, 1) ** 2 * 130))
    first, second = (stand, free) if rng.random() < 0.5 else (free, stand)
    return first, second, rng.normal(0, (14, 14, 22)), turn(*rng.normal(0, (10, 10, 0)))


def sitting(rng: Generator) -> Family:
    """Sit on an invisible seat."""
    legs = [_leg(rng, 85, 10, 85, 18, rng.uniform(2, 22)) for _ in range(2)]
    return legs[0], legs[1], rng.normal((10, 0, 0), (12, 6, 10)), turn(rng.normal(-5, 8), 0, 0)


def squatting(rng: Generator) -> Family:
    legs = [_leg(rng, 95, 18, 115, 18, rng.uniform(4, 30)) for _ in range(2)]
    return legs[0], legs[1], rng.normal((20, 0, 0), (14, 6, 10)), turn(rng.uniform(0, 30), 0, 0)


def bending(rng: Generator) -> Family:
    """Bend forwards, sometimes to the floor."""
    deep = rng.uniform(30, 95)
    legs = [_leg(rng, deep * 0.55, 6, 14, 14) for _ in range(2)]
    return legs[0], legs[1], rng.normal((deep * 0.6, 0, 0), (8, 10, 14)), turn(deep * 0.55, 0, 0)


def on_the_floor(rng: Generator) -> Family:
    """Lie, crawl or stand on the hands, in any orientation."""
    legs = [Leg(rng.uniform(-15, 110), rng.uniform(0, 45), rng.normal(10, 15), rng.uniform(0, 120)) for _ in range(2)]
    whole = turn(rng.uniform(-180, 180), rng.normal(0, 35), rng.uniform(-180, 180))
    return legs[0], legs[1], rng.normal(0, (18, 12, 18)), whole


FAMILIES: dict[str, tuple[Callable[[Generator], Family], float]] = {
    "standing": (standing, 0.27),
    "walking": (walking, 0.15),
    "lunging": (lunging, 0.20),
    "dancing": (dancing, 0.18),
    "sitting": (sitting, 0.07),
    "squatting": (squatting, 0.04),
    "bending": (bending, 0.05),
    "on the floor": (on_the_floor, 0.04),
}
"""Maps names to functions that draw a pose, and their frequency."""
