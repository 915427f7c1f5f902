"""Motion: paths of rotations through key poses, and bodies that move without sliding on the floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from .builds import Array
from .figure import BodyFigure, moved
from .pose import turn

NEAR_FLOOR = 0.015
"""Height above the floor, as a share of the body's size, at which the weight of a joint as standing falls to a
third."""


@dataclass(frozen=True)
class Steps:
    """Poses at F times, and the joints that stand on the floor."""

    poses: Array
    """(F, B, 3, 3) rotations against the parent."""
    standing: Array | None = None
    """(F, J) weights of the figure's joints on the floor; None: the lowest ones."""
    smooth: float = 2.0
    """Frames over which the speed is averaged."""


def blend(first: Array, second: Array, share: Array) -> Array:
    """Rotations (F, B, 3, 3) between two stacks of them, at `share` (F,) of the way."""
    shape = first.shape
    one, other = (Rotation.from_matrix(stack.reshape(-1, 3, 3)) for stack in (first, second))
    # R1 exp(s log(R1^T R2)), all at once
    ways = (one.inv() * other).as_rotvec() * np.repeat(share, shape[1])[:, None]
    return np.asarray((one * Rotation.from_rotvec(ways)).as_matrix().reshape(shape), np.float32)


def eased(at: Array) -> tuple[NDArray[np.int64], Array]:
    """Return the (F,) number of the key before each time, and the share of the way to the next, with a rest in each."""
    before = np.floor(at).astype(np.int64)
    share = at - before
    # smoothstep: the speed is 0 at every key
    return before, np.asarray(share**2 * (3 - 2 * share))


def through(keys: Array, at: Array) -> Array:
    """Return (F, B, 3, 3) rotations through the key poses (N, B, 3, 3), at times `at` (F,) in [0, N - 1)."""
    before, share = eased(at)
    return blend(keys[before], keys[before + 1], share)


def number_of_keys(seconds: Array, each: float) -> int:
    """Return how many key poses `seconds` (F,) need, with `each` seconds from one to the next."""
    return int(np.ceil(seconds[-1] / each)) + 2


def draw_headings(rng: Generator, seconds: Array, speed: float, sway: float) -> Array:
    """(F,) degrees about the vertical: a steady turn of about `speed` degrees/s, and a slow sway of about `sway`."""
    waves = np.sin(2 * np.pi * (seconds / rng.uniform(1.5, 4) + rng.random()))
    return np.asarray(rng.normal(0, speed) * seconds + rng.normal(0, sway) * waves, np.float32)


def roam(figures: list[BodyFigure], headings: Array, steps: Steps, travels: bool = True) -> list[BodyFigure]:
    """Turn figures by `headings` (F,) degrees, and move them along the floor so that standing joints do not slide;
    without `travels`, they turn on the spot."""
    turns = [turn(0, 0, float(angle)) for angle in headings]
    path: Array = np.zeros((len(figures), 2))
    if travels:
        # (F, J, 3) joints, turned but not yet moved
        joints = np.stack([figure.joints @ turned.T for figure, turned in zip(figures, turns, strict=True)])
        path = path_of(joints, standing_of(joints) if steps.standing is None else steps.standing, steps.smooth)
    shifts = np.pad(path, ((0, 0), (0, 1))).astype(np.float32)
    return [moved(*each) for each in zip(figures, turns, shifts, strict=True)]


def standing_of(joints: Array) -> Array:
    """(F, J) weights of joints (F, J, 3) on the floor: the lowest ones share them."""
    size = float(np.ptp(joints[0], axis=0).max())
    above = joints[..., 2] - joints[..., 2].min(1, keepdims=True)
    # (F, J) above the lowest joint of the frame; a soft choice of the lowest ones
    weights = np.exp(-above / (NEAR_FLOOR * size))
    return np.asarray(weights / weights.sum(1, keepdims=True))


def path_of(joints: Array, standing: Array, smooth: float) -> Array:
    """Return the (F, 2) path of a body whose joints are at (F, J, 3) in its own axes, so that those `standing` (F, J)
    stay in place; while none stands, the speed changes evenly."""
    if len(joints) < 2:
        return np.zeros((len(joints), 2))
    both = standing[1:] * standing[:-1]  # (F - 1, J)
    mass = both.sum(1)
    # the body moves opposite to the motion of its standing joints in its own axes
    speed = -np.einsum("fj,fjk->fk", both, np.diff(joints[..., :2], axis=0)) / np.maximum(mass, 1e-9)[:, None]
    at, known = np.arange(len(mass)), mass > 1e-6
    # where none stands, the speed is interpolated between the steps before and after
    if known.any():
        speed = np.stack([np.interp(at, at[known], column[known]) for column in speed.T], 1)
    speed = gaussian_filter1d(speed, smooth, axis=0, mode="nearest")
    return np.concatenate([np.zeros((1, 2)), np.cumsum(speed, 0)])
