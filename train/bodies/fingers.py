"""Random poses of a hand: fist, open, pointing, counting, pinch, thumb up, signs, grasp; within the limits of joints.

Angles are in degrees; positive ones flex towards the palm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.random import Generator

from .builds import Array
from .hand_mesh import FINGERS, JOINTS, PARENTS, hinge
from .pose import about, place_joints, turn, unit

THUMBS: dict[str, tuple[tuple[float, float, float], float, float, float]] = {
    "out": ((0.80, 0.58, 0.15), 0, 5, 0),
    "up": ((0.75, 0.65, 0.00), 0, -5, 0),
    "along": ((0.42, 0.86, 0.30), 5, 5, 5),
    "across": ((0.34, 0.58, 0.80), 38, 45, 25),
    "opposed": ((0.38, 0.62, 0.70), 18, 22, 30),
    "tucked": ((0.22, 0.70, 0.66), 45, 55, 25),
    "relaxed": ((0.55, 0.75, 0.40), 14, 18, 10),
}
"""Direction of the thumb's metacarpal bone (to the thumb's side, to the fingertips, out of the palm), flexion of its
two other joints, and its turn about itself towards the fingers."""
REST_SPREAD = (6.0, 0.0, -5.0, -12.0)
"""Directions of straight fingers at ease, towards the thumb."""
FLEXION = ((-22.0, 92.0), (-4.0, 108.0), (-6.0, 78.0))
"""Limits of the fingers' three joints."""
RADII = {"thumb": 0.026, "index": 0.021, "middle": 0.021, "ring": 0.020, "little": 0.018, "palm": 0.022}
"""Half of the thickness of fingers and palm; forearm and hand are 1 long together."""


@dataclass(frozen=True)
class HandPose:
    """Angles of one hand."""

    flexion: Array
    """(4, 3) of index to little finger."""
    spread: float
    """Spread of the fingers: 0 closed, 1 at ease, 2 wide."""
    thumb: str
    """One of THUMBS."""
    held: float = 0.0
    """Radius of a thing in the hand, 0 without one."""
    pinched: bool = False
    """True if the thing is between the tips of thumb and index finger, not in the palm."""


def curled(rng: Generator, share: Array, hooked: Array | float = 0.0) -> Array:
    """(4, 3) flexion of fingers that are `share` (4,) closed; `hooked` ones keep the knuckles straight."""
    knuckle = (-10 + 98 * share) * (1 - np.asarray(hooked)) + rng.normal(0, 6, 4)
    middle = 108 * share**0.8 + rng.normal(0, 5, 4)
    # the last joint follows the middle one: they share a tendon
    last = 0.62 * middle + rng.normal(0, 5, 4)
    return np.stack([knuckle, middle, last], 1).astype(np.float32)


def fist(rng: Generator) -> HandPose:
    thumb = str(rng.choice(["across", "along", "tucked", "opposed"], p=[0.5, 0.3, 0.12, 0.08]))
    return HandPose(curled(rng, rng.uniform(0.86, 1.0, 4)), rng.uniform(0, 0.6), thumb)


def open_hand(rng: Generator) -> HandPose:
    return HandPose(
        curled(rng, np.clip(rng.normal(0.06, 0.06) + rng.normal(0, 0.03, 4), 0, 0.3)),
        rng.uniform(0, 2.2),
        str(rng.choice(["out", "along", "relaxed", "opposed"], p=[0.4, 0.25, 0.25, 0.1])),
    )


def relaxed(rng: Generator) -> HandPose:
    share = rng.uniform(0.15, 0.45) + np.sort(rng.uniform(0, 0.3, 4))
    return HandPose(curled(rng, share), rng.uniform(0.2, 1.2), "relaxed")


def counting(rng: Generator) -> HandPose:
    """Any fingers straight, the others closed; pointing is one of them."""
    straight = rng.random(4) < 0.5
    if rng.random() < 0.35:
        straight[:] = np.arange(4) == 0
    thumb = ["across", "tucked"] if not straight.all() and rng.random() < 0.65 else ["out", "along", "up"]
    share = np.where(straight, rng.uniform(0, 0.15, 4), rng.uniform(0.75, 1.0, 4))
    return HandPose(curled(rng, share), rng.uniform(0.2, 2.0), str(rng.choice(thumb)))


def pinching(rng: Generator) -> HandPose:
    """The tips of the thumb and one or two fingers near each other."""
    share = np.full(4, rng.choice([0.1, 0.5, 0.9])) + rng.uniform(-0.1, 0.1, 4)
    share[: rng.integers(1, 3)] = rng.uniform(0.4, 0.62)
    return HandPose(
        curled(rng, np.clip(share, 0, 1)),
        rng.uniform(0.2, 1.3),
        "opposed",
        0.0 if rng.random() < 0.6 else float(rng.uniform(0.006, 0.03)),
        True,
    )


def thumb_up(rng: Generator) -> HandPose:
    return HandPose(curled(rng, rng.uniform(0.85, 1.0, 4)), rng.uniform(0, 0.5), "up")


def flat_bent(rng: Generator) -> HandPose:
    """Straight fingers bent at the knuckles, as around a thing or in signs."""
    share = np.clip(rng.uniform(0.05, 0.25) + rng.normal(0, 0.04, 4), 0, 1)
    out = curled(rng, share)
    out[:, 0] += rng.uniform(25, 75)
    return HandPose(out, rng.uniform(0, 0.8), str(rng.choice(["opposed", "along", "relaxed"])))


def claw(rng: Generator) -> HandPose:
    hooked = np.where(rng.random(4) < 0.85, rng.uniform(0.6, 1.0), 0.0)
    return HandPose(
        curled(rng, rng.uniform(0.4, 0.95, 4), hooked),
        rng.uniform(0.2, 1.8),
        str(rng.choice(["out", "along", "relaxed", "opposed"])),
    )


def signing(rng: Generator) -> HandPose:
    """Each finger independent of the others, as in finger spelling."""
    share = rng.choice([0.04, 0.35, 0.6, 0.95], 4, p=[0.35, 0.15, 0.15, 0.35]) + rng.uniform(-0.08, 0.08, 4)
    same = rng.random(3) < 0.5  # neighbours move together
    for k in range(3):
        share[k + 1] = share[k] if same[k] else share[k + 1]
    hooked = np.where(rng.random(4) < 0.15, 0.9, 0.0)
    return HandPose(curled(rng, np.clip(share, 0, 1), hooked), rng.uniform(-0.4, 1.8), str(rng.choice(list(THUMBS))))


def grasping(rng: Generator) -> HandPose:
    held = float(rng.uniform(0.02, 0.085))
    # a thicker thing keeps the fingers more open
    share = 0.95 - 6.0 * held + rng.normal(0, 0.03) + rng.normal(0, 0.03, 4)
    return HandPose(curled(rng, np.clip(share, 0.2, 1)), rng.uniform(0, 0.8), "opposed", held)


FAMILIES: dict[Callable[[Generator], HandPose], float] = {
    fist: 0.14,
    open_hand: 0.15,
    relaxed: 0.12,
    counting: 0.16,
    pinching: 0.09,
    thumb_up: 0.05,
    flat_bent: 0.06,
    claw: 0.06,
    signing: 0.10,
    grasping: 0.07,
}
"""Families and their frequency."""


def draw_hand_pose(rng: Generator, joints: Array) -> tuple[Array, HandPose]:
    """Draw rotations (J, 3, 3) against the parent, in the axes at rest, for joints (J, 3), and the pose in angles. Of a
    few draws of a family, the one whose fingers overlap least is returned."""
    family = list(FAMILIES)[rng.choice(len(FAMILIES), p=np.array(list(FAMILIES.values())))]
    arm = arm_pose(rng)
    best: tuple[float, Array, HandPose] | None = None
    for _ in range(8):
        hand = family(rng)
        pose = set_fingers(rng, joints, hand, arm)
        places, _ = place_joints(joints, pose, PARENTS)
        cost = overlap(places) + (3 * _apart(places) if family is pinching else 0)
        if best is None or cost < best[0]:
            best = (cost, pose, hand)
        if cost < 0.004:
            break
    assert best is not None
    return best[1], best[2]


def arm_pose(rng: Generator) -> Array:
    """(J, 3, 3) with the elbow, the turning forearm and the wrist set."""
    pose = np.repeat(np.eye(3, dtype=np.float32)[None], len(JOINTS), 0)
    pose[JOINTS.index("wrist")] = turn(float(np.clip(rng.normal(-2, 18), -60, 60)), rng.normal(0, 9), 0)
    pose[JOINTS.index("twist")] = turn(0, 0, float(np.clip(rng.normal(0, 18), -45, 45)))
    # the hinge lies across: the upper arm folds towards the palm's side
    pose[JOINTS.index("upper_arm")] = turn(-float(rng.uniform(0, 1) ** 1.5 * 95), 0, 0) @ turn(0, 0, rng.normal(0, 20))
    return pose


def set_fingers(rng: Generator, joints: Array, hand: HandPose, arm: Array) -> Array:
    """Return `arm` (J, 3, 3) with the fingers bent as `hand` states."""
    pose = arm.copy()
    at = {name: joints[j] for j, name in enumerate(JOINTS)}
    low, high = np.array(FLEXION, np.float32).T
    # (4, 3) within the limits of the three joints
    flexion = np.clip(hand.flexion, low, high)
    for row, finger in enumerate(FINGERS[1:]):
        bones = np.stack(
            [at[f"{finger}{k + 1}"] - at[f"{finger}{k}"] for k in (1, 2)] + [at[f"{finger}_tip"] - at[f"{finger}3"]]
        )
        axis = hinge(joints, finger)
        # (3,) degrees by which the bones are bent at rest: `flexion` counts from straight
        before = np.concatenate(
            [[_bent(bones[0])], np.degrees([_turn_of(bones[k], bones[k + 1], axis) for k in (0, 1)])]
        )
        # sideways only with straight knuckles: bent ones are locked by their ligaments
        free = np.cos(np.radians(max(0.0, float(flexion[row, 0]))))
        wanted = REST_SPREAD[row] * hand.spread + rng.normal(0, 2.5)
        sideways = turn(0, float((_sideways(bones[0]) - wanted) * free), 0)
        for k in range(3):
            bend = about(axis, np.radians(float(flexion[row, k] - before[k])))
            pose[JOINTS.index(f"{finger}{k + 1}")] = bend @ sideways if k == 0 else bend
        if row > 1:  # the palm cups for the little finger's side
            cup = 0.07 * (row - 1) * max(0.0, float(flexion[row, 0]))
            pose[JOINTS.index(f"palm{row + 2}")] = about(axis, np.radians(cup))
    _set_thumb(rng, joints, hand, pose)
    return pose


def _bent(bone: Array) -> float:
    """The angle between a bone at rest and the plane of the palm."""
    return float(np.degrees(np.arctan2(-bone[1], np.hypot(bone[0], bone[2]))))


def _sideways(bone: Array) -> float:
    """The angle between a bone at rest and the palm's axis, towards the thumb."""
    return float(np.degrees(np.arctan2(-bone[0], bone[2])))


def _turn_of(one: Array, other: Array, axis: Array) -> float:
    """The angle from one bone to the other about an axis, in radians."""
    return float(np.arctan2(np.cross(one, other) @ axis, one @ other))


def _set_thumb(rng: Generator, joints: Array, hand: HandPose, pose: Array) -> None:
    (out, ahead, palmar), middle, last, turned = THUMBS[hand.thumb]
    first, second, third, tip = (joints[JOINTS.index(f"thumb{name}")] for name in ("1", "2", "3", "_tip"))
    axis = hinge(joints, "thumb")
    # (to the thumb, to the tips, out of the palm) -> the axes of the hand
    wanted = unit(np.array([-out, -palmar, ahead]) + rng.normal(0, 0.12, 3))
    bone = unit(second - first)
    # the shortest rotation from the bone at rest to the wanted direction, then the turn about it
    swing = about(np.cross(bone, wanted), float(np.arccos(np.clip(bone @ wanted, -1, 1))))
    twist = about(wanted, np.radians(-turned + rng.normal(0, 6)))
    pose[JOINTS.index("thumb1")] = twist @ swing
    for k, angle, before in (
        (2, middle, _turn_of(second - first, third - second, axis)),
        (3, last, _turn_of(third - second, tip - third, axis)),
    ):
        bend = np.clip(angle + rng.normal(0, 9), (-8, -20)[k - 2], (60, 80)[k - 2])
        pose[JOINTS.index(f"thumb{k}")] = about(axis, float(np.radians(bend) - before))


def overlap(places: Array) -> float:
    """Depth by which fingers overlap each other or the palm, summed over points along their bones, for joints (J,
    3)."""
    points, radii, owners = [], [], []
    steps = np.linspace(0.15, 1, 5, dtype=np.float32)[:, None]
    for number, finger in enumerate(FINGERS):
        chain = [places[JOINTS.index(f"{finger}{name}")] for name in ("1", "2", "3", "_tip")]
        for start, end in pairwise(chain):
            if finger == "thumb" and start is chain[0]:
                continue  # within the hand
            points.append(start + steps * (end - start))
            radii.append(np.full(len(steps), RADII[finger]))
            owners.append(np.full(len(steps), number))
        if number:
            wrist = places[JOINTS.index("wrist")]
            points.append(wrist + steps[:-1] * 0.9 * (chain[0] - wrist))
            radii.append(np.full(len(steps) - 1, RADII["palm"]))
            owners.append(np.full(len(steps) - 1, 9))
    where, reach, owner = np.concatenate(points), np.concatenate(radii), np.concatenate(owners)
    # (P, P) distances of points that stand for spheres of their finger's radius
    apart = np.linalg.norm(where[:, None] - where[None], axis=2)
    # 0.85: skin gives way where fingers touch
    deep = np.maximum(0.85 * (reach[:, None] + reach[None]) - apart, 0)
    # a finger begins in the palm, next to its neighbours: those points do not count
    first = np.zeros(len(where), bool)
    for number in range(1, 5):
        first |= (owner == number) & (np.cumsum(owner == number) <= len(steps))
    other = (
        (owner[:, None] != owner[None])
        & ~(first[:, None] & (owner[None] == 9))
        & ~(first[None] & (owner[:, None] == 9))
    )
    other &= ~(first[:, None] & first[None])
    return float((deep * other).sum() / 2)


def _apart(places: Array) -> float:
    """Distance by which the tips of thumb and index finger miss each other."""
    gap = np.linalg.norm(places[JOINTS.index("thumb_tip")] - places[JOINTS.index("index_tip")])
    return max(0.0, float(gap) - 0.9 * (RADII["thumb"] + RADII["index"]))
