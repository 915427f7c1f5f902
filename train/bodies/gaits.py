"""Random poses of animals: walking, trotting, galloping, standing, sitting, lying, grazing; rodents bend, rear and run.

Angles are degrees against the parent. About y, positive is nose down and legs backwards; about z, to the left.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.random import Generator

from .builds import Array
from .pose import about, place_joints, turn, unit
from .skins import Rig

PHASES = {
    "walk": {"hind_L": 0.0, "front_L": 0.25, "hind_R": 0.5, "front_R": 0.75},
    "trot": {"hind_L": 0.0, "front_R": 0.0, "hind_R": 0.5, "front_L": 0.5},
    "gallop": {"hind_L": 0.0, "hind_R": 0.1, "front_L": 0.5, "front_R": 0.62},
}
"""When each leg leaves the floor, as a share of the cycle."""
STANCE = {"walk": 0.62, "trot": 0.48, "gallop": 0.3}
"""Share of the cycle in which a leg is on the floor."""
RODENT_STANCE = 0.5
"""The same of rodents, in every gait."""
UP = np.array([0, 0, 1], np.float32)
TAIL_SINKS = 0.3
"""Height above the floor, in body lengths, from which a rodent's tail would fall vertically."""
REACH = {"walk": (12, 24), "trot": (16, 30), "gallop": (28, 48)}
"""Range of the legs' swing to both sides."""
DOG_POSES = {"standing": 0.24, "walk": 0.26, "trot": 0.14, "gallop": 0.12, "sitting": 0.10, "lying": 0.06, "side": 0.03,
             "bow": 0.05}  # fmt: skip
"""Frequency of a dog's poses."""


class Pose:
    """Rotations (B, 3, 3) of a rig's bones, set by name."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.turns = np.repeat(np.eye(3, dtype=np.float32)[None], len(rig.names), 0)

    def bend(self, bones: list[int], pitch: float, yaw: float = 0.0, roll: float = 0.0) -> None:
        """Share a bend among the bones of a chain."""
        count = max(1, len(bones))
        for bone in bones:
            self.turns[bone] = turn(roll / count, pitch / count, yaw / count) @ self.turns[bone]

    def set(self, bone: str, pitch: float, yaw: float = 0.0, roll: float = 0.0) -> None:
        self.turns[self.rig.names.index(bone)] = turn(roll, pitch, yaw)

    def front(self, side: str, swing: float, elbow: float = 0.0, wrist: float = 0.0, out: float = 0.0) -> None:
        """`swing` forwards; a bent elbow lifts the paw ahead, a bent wrist folds it back."""
        outwards = out if side == "L" else -out
        self.set(f"scapula_{side}", -0.3 * swing)
        self.set(f"upper_arm_{side}", -0.7 * swing + 0.5 * elbow, 0, outwards)
        self.set(f"lower_arm_{side}", -elbow)
        self.set(f"hand_{side}", wrist)

    def hind(self, side: str, swing: float, knee: float = 0.0, hock: float = 0.0, out: float = 0.0) -> None:
        outwards = out if side == "L" else -out
        self.set(f"upper_leg_{side}", -swing - 0.5 * knee, 0, outwards)
        self.set(f"lower_leg_{side}", knee)
        self.set(f"foot_{side}", -hock)

    def level(self, hands: str = "finger", feet: str = "toe") -> None:
        """Pitch the whole body so that front and hind legs reach down to one floor."""
        places, _ = place_joints(self.rig.joints, self.turns, self.rig.parents)
        front, hind = (min((places[b] for b in self.rig.bones(f"{name}_")), key=lambda p: float(p[2]))
                       for name in (hands, feet))  # fmt: skip
        # the slope of the line from the lowest hind foot to the lowest forefoot, taken back
        tilt = np.arctan2(front[2] - hind[2], front[0] - hind[0])
        self.turns[0] = turn(0, float(np.degrees(tilt)), 0) @ self.turns[0]


def draw_dog_pose(rng: Generator, rig: Rig, kind: str | None = None, phase: float | None = None) -> Array:
    """Draw rotations (B, 3, 3) of a dog's bones against their parents; of one `kind`, and of one `phase` of a gait's
    cycle, in [0, 1), if they are given. All other draws are the same for every phase."""
    pose = Pose(rig)
    drawn = str(rng.choice(list(DOG_POSES), p=list(DOG_POSES.values())))
    kind = kind or drawn
    spine, neck, tail = rig.bones("L_"), rig.bones("C_"), rig.bones("Ca_")
    pose.bend(spine, rng.normal(0, 5), rng.normal(0, 12), rng.normal(0, 5))
    if kind in PHASES:
        _stride(rng, pose, kind, spine, phase)
    else:
        {"standing": _standing, "sitting": _sitting, "lying": _lying, "side": _side, "bow": _bow}[kind](rng, pose)
    nod = rng.normal(0, 16) if rng.random() < 0.8 or kind in ("sitting", "lying") else rng.uniform(50, 105)
    if kind == "gallop":
        nod = rng.normal(25, 12)
    pose.bend(neck, nod, rng.normal(0, 28), rng.normal(0, 8))
    pose.set("skull", -0.45 * nod + rng.normal(0, 12), rng.normal(0, 12), rng.normal(0, 10))
    pose.set("jaw", -18 + rng.uniform(0, 22) * (rng.random() < 0.5))
    pose.bend(tail, rng.normal(0, 45) - 40 * (rng.random() < 0.35), rng.normal(0, 35))
    pose.bend(tail[:4], -rng.uniform(0, 90) if rng.random() < 0.4 else rng.uniform(-5, 30))
    return pose.turns


def _stride(rng: Generator, pose: Pose, gait: str, spine: list[int], at: float | None) -> None:
    phase, reach, lively = rng.random(), rng.uniform(*REACH[gait]), rng.uniform(0.5, 1.1)
    phase = phase if at is None else at
    for leg, start in PHASES[gait].items():
        swing, lifted = step_of((phase + start) % 1.0, STANCE[gait])
        side, lift = leg[-1], lively * lifted * (1.4 if gait == "gallop" else 1.0)
        if leg.startswith("front"):
            pose.front(side, reach * swing, 60 * lift, 65 * lift, rng.normal(0, 2))
        else:
            pose.hind(side, reach * swing, 45 * lift, 45 * lift, rng.normal(1, 2))
    if gait == "gallop":
        pose.bend(spine, 26 * float(np.sin(2 * np.pi * phase)) * rng.uniform(0.3, 1))
        pose.turns[0] = turn(rng.normal(0, 5), rng.normal(0, 9), 0)
    else:
        pose.level()


def step_of(phase: float, stance: float) -> tuple[float, float]:
    """Return the swing of a leg, 1 ahead to -1 behind, and how far it is lifted, 0 to 1: first on the floor, then in
    the air."""
    # on the floor the paw goes back at constant speed relative to the body, as the floor does
    if phase < stance:
        return 1 - 2 * phase / stance, 0.0
    # in the air it returns ahead; the lift is half a sine
    air = (phase - stance) / (1 - stance)
    return 2 * air - 1, float(np.sin(np.pi * air))


def _standing(rng: Generator, pose: Pose) -> None:
    for side in "LR":
        pose.front(side, rng.normal(0, 8), max(0.0, rng.normal(0, 5)), 0, rng.normal(1, 3))
        bent = max(0.0, rng.normal(4, 8))
        pose.hind(side, rng.normal(4, 9), bent, bent, rng.normal(2, 3))
    if rng.random() < 0.12:  # a paw given, or a leg lifted
        pose.front("L" if rng.random() < 0.5 else "R", rng.uniform(10, 40), rng.uniform(40, 90), rng.uniform(0, 80))
    pose.level()


def _folded(rng: Generator, pose: Pose, thigh: float, shin: float) -> None:
    """Hind legs on the floor from the hock on: total angles of thigh and shin."""
    out = max(0.0, rng.normal(10, 8))
    for side in "LR":
        high, low = thigh + rng.normal(0, 6), shin + rng.normal(0, 6)
        pose.set(f"upper_leg_{side}", high, 0, out if side == "L" else -out)
        pose.set(f"lower_leg_{side}", low - high)
        # angles add up along the chain, so the foot is level whatever thigh and shin do
        pose.set(f"foot_{side}", -82 - low)
        pose.set(f"toe_{side}", 80)


def _sitting(rng: Generator, pose: Pose) -> None:
    up = rng.uniform(28, 55)
    _folded(rng, pose, -75 + up, 22 + up)
    for side in "LR":
        pose.set(f"foot_{side}", -82 - 22 + rng.normal(0, 6))
        pose.front(side, -up + rng.normal(6, 6), 0, 0, rng.normal(2, 3))
    pose.turns[0] = turn(0, -up, 0)
    pose.bend(pose.rig.bones("C_"), 0.6 * up)


def _lying(rng: Generator, pose: Pose) -> None:
    _folded(rng, pose, -62, 35)
    for side in "LR":
        pose.set(f"upper_arm_{side}", 28 + rng.normal(0, 8), 0, rng.normal(0, 5))
        pose.set(f"lower_arm_{side}", -112 + rng.normal(0, 8))
        pose.set(f"hand_{side}", rng.normal(15, 10))
        pose.set(f"finger_{side}", 60)


def _side(rng: Generator, pose: Pose) -> None:
    for side in "LR":
        pose.front(side, rng.normal(10, 20), max(0.0, rng.normal(30, 25)), max(0.0, rng.normal(20, 20)))
        pose.hind(side, rng.normal(15, 20), max(0.0, rng.normal(25, 20)), rng.uniform(0, 40))
    pose.turns[0] = turn(rng.choice([-1, 1]) * rng.normal(85, 12), rng.normal(0, 6), 0)


def _bow(rng: Generator, pose: Pose) -> None:
    """Play bow or stretch: forelegs down, hind legs standing."""
    _standing(rng, pose)
    low = rng.uniform(0.4, 1.0)
    for side in "LR":
        pose.front(side, 55 * low + rng.normal(0, 8), 40 * low, -20 * low)
    pose.level()


def draw_rodent_pose(rng: Generator, rig: Rig, gait: str | None = None, phase: float | None = None) -> Array:
    """Draw rotations of a rodent's bones: bent to a side, running, rearing, curled; one that runs, at one `phase` of a
    `gait`, if they are given. All other draws are the same for every phase."""
    pose = Pose(rig)
    spine = [b for b in rig.bones("vertebra_") if "_C" not in rig.names[b] and rig.names[b][9:].isdigit()]
    neck, tail = rig.bones("vertebra_cervical", "vertebra_a"), rig.bones("vertebra_C")
    curl = rng.normal(0, 26) if rng.random() < 0.85 else rng.choice([-1, 1]) * rng.uniform(50, 95)
    # a runner is nearly straight
    curl = curl if gait is None else 0.4 * curl
    pose.bend(spine, rng.normal(-4, 12), -curl, rng.normal(0, 8))
    pose.bend(neck, rng.normal(0, 14), 0.5 * curl + rng.normal(0, 18), rng.normal(0, 8))
    pose.set("skull", rng.normal(0, 12), rng.normal(0, 10), rng.normal(0, 6))
    pose.set("jaw", -13)
    # everything is drawn whether it is used or not: the draws of all phases must be the same
    drawn, reach = rng.random(), rng.uniform(0, 32)
    drawn_gait = "trot" if rng.random() < 0.6 else "gallop"
    reach = reach if gait is None else 14 + 0.5 * reach
    for leg, start in PHASES[gait or drawn_gait].items():
        swing, lifted = step_of(((drawn if phase is None else phase) + start) % 1.0, RODENT_STANCE)
        side, out = leg[-1], max(0.0, rng.normal(4, 8))
        if leg.startswith("front"):
            pose.front(side, reach * swing, 30 * lifted, 30 * lifted, out)
        else:
            pose.hind(side, reach * swing, 25 * lifted, 25 * lifted, out)
    if rng.random() < 0.1 and gait is None:  # rears, at a wall or freely
        pose.turns[0] = turn(rng.normal(0, 6), -rng.uniform(25, 75), 0)
    else:
        pose.level()
    sway = rng.normal(0, 45, 3)
    for part, yaw in zip(np.array_split(np.array(tail), 3), sway, strict=True):
        pose.bend([int(b) for b in part], 0, float(yaw))
    lay_tail(rig, pose.turns, max(0.0, rng.normal(0.02, 0.04)))
    return pose.turns


def lay_tail(rig: Rig, turns: Array, above: float) -> None:
    """Raise or lower the bones of a rodent's tail in a pose (B, 3, 3), so that it sinks to `above` the paws, in body
    lengths, and runs along the floor."""
    tail = rig.bones("vertebra_C")
    places, turned = place_joints(rig.joints, turns, rig.parents)
    floor = min(float(places[b, 2]) for b in rig.bones("finger_", "toe_")) + above
    parent, place = turned[rig.parents[tail[0]]], places[tail[0]]
    for bone, following in pairwise(tail):
        own = parent @ turns[bone]
        along = own @ (rig.joints[following] - rig.joints[bone])
        direction = unit(along)
        # the higher above the floor, the steeper it sinks; flat where it touches
        slope = -np.arcsin(np.clip((place[2] - floor) / TAIL_SINKS, -0.8, 0.8))
        # in the vertical plane of the bone: its sideways bend stays
        raised = about(np.cross(direction, UP), slope - np.arcsin(np.clip(direction[2], -1, 1)))
        turns[bone] = parent.T @ raised @ own
        parent, place = raised @ own, place + raised @ along
