"""Motion of people in clips: they change between poses, or walk."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.random import Generator

from .builds import Array
from .motion import Steps, number_of_keys, through
from .pose import LEFT, RIGHT, draw_of_family, draw_pose, set_arm, unit, walking

SECONDS_A_POSE = 0.9
WALKS = 0.35
"""Share of clips of people who walk."""
CADENCE = (0.6, 1.1)
"""Cycles of two steps per second."""

DrawPose = Callable[[Generator, Array], Array]


def draw_steps(rng: Generator, joints: Array, seconds: Array) -> Steps:
    """Draw the motion of a body with joints at (J, 3) at times `seconds` (F,)."""
    return walk(rng, joints, seconds) if rng.random() < WALKS else change(rng, joints, seconds)


def change(rng: Generator, joints: Array, seconds: Array, draw: DrawPose = draw_pose) -> Steps:
    """Change between poses, one every SECONDS_A_POSE, with a short rest in each."""
    keys = np.stack([draw(rng, joints) for _ in range(number_of_keys(seconds, SECONDS_A_POSE))])
    return Steps(through(keys, seconds / SECONDS_A_POSE))


def walk(rng: Generator, joints: Array, seconds: Array) -> Steps:
    """Walk or run straight on, the arms swinging against the legs."""
    seed, reach = int(rng.integers(1 << 31)), rng.uniform(0.15, 0.7)
    phases = rng.uniform(0, 2 * np.pi) + 2 * np.pi * rng.uniform(*CADENCE) * seconds
    return Steps(np.stack([_stride(seed, joints, reach, float(phase)) for phase in phases]), smooth=3.0)


def _stride(seed: int, joints: Array, reach: float, phase: float) -> Array:
    rng = np.random.default_rng(seed)
    pose = draw_of_family(rng, joints, partial(walking, at=phase))
    for side in (LEFT, RIGHT):
        ahead = -side * reach * np.sin(phase)  # the left leg is ahead at a quarter of the cycle
        upper, fore = unit(np.array([0.22, ahead, -1.0])), unit(np.array([0.1, ahead + 0.4 * (1 + reach), -1.0]))
        set_arm(pose, rng, joints, side, upper, fore)
    return pose
