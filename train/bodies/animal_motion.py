"""Motion of animals: one gait with advancing phase, or slow changes between poses of a kind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from .builds import Array
from .gaits import PHASES, RODENT_STANCE, STANCE, draw_dog_pose, draw_rodent_pose, lay_tail
from .motion import Steps, blend, eased, number_of_keys, through
from .skins import Rig

CADENCE = {"walk": (0.9, 1.5), "trot": (1.5, 2.3), "gallop": (2.0, 3.0)}
"""Cycles of a dog's gaits per second."""
RODENT_CADENCE = (1.5, 3.0)
"""The same of rodents, slow enough for 30 frames per second."""
DOG_MOTIONS = {
    "walk": 0.32,
    "trot": 0.22,
    "gallop": 0.14,
    "standing": 0.14,
    "sitting": 0.08,
    "bow": 0.06,
    "lying": 0.04,
}
"""Frequencies of a dog's activities in clips."""
SECONDS_A_POSE = 1.2
"""Seconds between the key poses of an animal that stays in place, and between the bearings of head, back and tail of
one that runs."""
TIPPING = 0.12
"""Share of a cycle over which the pitch of the whole body is averaged."""
AT_ONCE = 1 << 31
"""Upper bound of the seeds of key poses."""

DrawPose = Callable[[Generator, float], Array]
"""Draws rotations (B, 3, 3) at a phase of the gait; all else depends on the generator alone."""


def dog_steps(rng: Generator, rig: Rig, joints: tuple[str, ...], seconds: Array) -> Steps:
    """Draw a dog's motion at times `seconds` (F,); `joints` are the names of the figure's joints."""
    kind = str(rng.choice(list(DOG_MOTIONS), p=list(DOG_MOTIONS.values())))
    if kind not in PHASES:
        return _staying(rng, lambda draws: draw_dog_pose(draws, rig, kind), seconds)
    phases = rng.random() + rng.uniform(*CADENCE[kind]) * seconds
    poses = _running(rng, lambda draws, phase: draw_dog_pose(draws, rig, kind, phase), phases, seconds)
    return _on_legs(poses, kind, STANCE[kind], joints, phases)


def rodent_steps(rng: Generator, rig: Rig, joints: tuple[str, ...], seconds: Array, runs: float = 0.6) -> Steps:
    """Draw a rodent's motion: a share `runs` of them run, with changing speed; the others look around, bend and
    rear."""
    above = float(rng.uniform(0, 0.06))
    if rng.random() >= runs:
        steps = _staying(rng, lambda draws: draw_rodent_pose(draws, rig), seconds)
        for pose in steps.poses:
            lay_tail(rig, pose, above)
        return steps
    gait = "trot" if rng.random() < 0.7 else "gallop"
    # (F,) the phase is the integral of a speed that rises and falls by half
    pace = 1 + 0.5 * np.sin(2 * np.pi * (seconds / rng.uniform(1.5, 4) + rng.random()))
    phases = rng.random() + rng.uniform(*RODENT_CADENCE) * np.cumsum(pace) * seconds[-1] / max(1, len(seconds) - 1)
    poses = _running(rng, lambda draws, phase: draw_rodent_pose(draws, rig, gait, phase), phases, seconds)
    for pose in poses:
        lay_tail(rig, pose, above)
    return _on_legs(poses, gait, RODENT_STANCE, joints, phases)


def _staying(rng: Generator, draw: Callable[[Generator], Array], seconds: Array) -> Steps:
    keys = np.stack([draw(rng) for _ in range(number_of_keys(seconds, SECONDS_A_POSE))])
    return Steps(through(keys, seconds / SECONDS_A_POSE), smooth=1.0)


def _running(rng: Generator, draw: DrawPose, phases: Array, seconds: Array) -> Array:
    """Return (F, B, 3, 3) poses at `phases` (F,), which change between several bearings."""
    seeds = rng.integers(AT_ONCE, size=number_of_keys(seconds, SECONDS_A_POSE))
    # one seed draws one bearing: at equal phases, both have the same step of the gait
    before, share = eased(seconds / SECONDS_A_POSE)
    bearings = [
        np.stack(
            [draw(np.random.default_rng(seeds[k + more]), phase % 1.0) for k, phase in zip(before, phases, strict=True)]
        )
        for more in (0, 1)
    ]
    out = blend(bearings[0], bearings[1], share)
    # Pose.level tips the body at once when another paw becomes the lowest
    tipped = Rotation.from_matrix(out[:, 0]).as_rotvec()
    soft = gaussian_filter1d(tipped, _frames_a_cycle(phases) * TIPPING, axis=0, mode="nearest")
    out[:, 0] = Rotation.from_rotvec(soft).as_matrix()
    return out


def _frames_a_cycle(phases: Array) -> float:
    return len(phases) / max(float(phases[-1] - phases[0]), 1e-3)


def _on_legs(poses: Array, gait: str, stance: float, joints: tuple[str, ...], phases: Array) -> Steps:
    """Add which toes are on the floor in this gait; the speed is averaged over a third of a cycle."""
    standing = np.zeros((len(phases), len(joints)))
    for leg, start in PHASES[gait].items():
        toe = {"front": "finger", "hind": "toe"}[leg[:-2]] + leg[-2:]
        standing[:, joints.index(toe)] = (phases + start) % 1.0 < stance
    return Steps(poses, standing, max(1.0, _frames_a_cycle(phases) / 3))
