"""Motion of puppets: smooth random joint angles, and the kinematics from angles to the position of every bone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .puppet_figures import UNITS, Bone, PuppetFigure

Array = NDArray[np.float64]
Size = tuple[int, int]


def similarity(radians: Array, scale: Array, shift: Array) -> Array:
    """(F, 3, 3) from (F,) angles, (F,) scales and (F, 2) or (2,) translations."""
    out = np.zeros((len(radians), 3, 3))
    # s R(angle) as homogeneous matrices
    out[:, 0, 0] = out[:, 1, 1] = scale * np.cos(radians)
    out[:, 1, 0] = scale * np.sin(radians)
    out[:, 0, 1] = -out[:, 1, 0]
    out[:, :2, 2], out[:, 2, 2] = shift, 1
    return out


def kinematics(bones: Sequence[Bone], motion: Array, root: Array) -> Array:
    """(F, K, 3, 3) each bone's frame -> continuous pixels, from joint `motion` (F, K) in degrees and `root`
    (F, 3, 3), which maps units from the image centre to pixels."""
    placed: dict[str | None, Array] = {None: root}
    for bone, degrees in zip(bones, motion.T, strict=True):
        radians = np.deg2rad(bone.rest + degrees)
        local = similarity(radians, np.ones_like(radians), np.array(bone.attach))
        # bones come after their parents, so that the parent's frame is there
        placed[bone.name] = placed[bone.parent] @ local
    return np.stack([placed[bone.name] for bone in bones], 1)


def wave(rng: Generator, seconds: Array, gestures: bool = False) -> Array:
    """(F,) smooth values in [-1, 1]: the sine of a randomly varying phase, which sweeps the range and never leaves it.
    A gesture is half a turn of that phase within a third of a second."""
    # 1.2 to 3 radians per second, in either direction, with three slower oscillations
    phase = rng.uniform(0, 2 * np.pi) + rng.choice([-1, 1]) * rng.uniform(1.2, 3.0) * seconds
    for _ in range(3):
        phase += rng.uniform(0.2, 0.8) * np.sin(2 * np.pi * (rng.uniform(0.15, 0.8) * seconds + rng.random()))
    for start in rng.uniform(0, seconds[-1] + 2, rng.integers(0, 2 + int(seconds[-1] / 4)) * gestures):
        t = np.clip((seconds - start) / rng.uniform(0.25, 0.45), 0, 1)
        # smoothstep from 0 to half a turn
        phase += np.pi * t * t * (3 - 2 * t)
    return np.asarray(np.sin(phase))


def animate(figure: PuppetFigure, rng: Generator, seconds: Array, size_hw: Size) -> Array:
    """(F, K, 3, 3) bone frames -> pixels of a random performance."""
    stride = rng.uniform(0.8, 1.5) * seconds + rng.random()
    motion = np.empty((len(seconds), len(figure.bones)))
    for k, bone in enumerate(figure.bones):
        low, high = bone.swing
        swing = wave(rng, seconds, gestures=True)
        if bone.phase is not None:
            swing = 0.8 * np.sin(2 * np.pi * (stride + bone.phase)) + 0.2 * swing
        # [-1, 1] -> [low, high] degrees
        motion[:, k] = (low + high) / 2 + swing * (high - low) / 2
    slow = 0.4 * seconds
    scale = min(size_hw) / UNITS * rng.uniform(0.85, 1.1) * (1 + figure.breathing * wave(rng, slow))
    drift = np.stack([wave(rng, slow), wave(rng, slow)], -1) * figure.wander
    root = similarity(np.zeros_like(seconds), scale, (0.5 + drift) * size_hw[::-1])
    return kinematics(figure.bones, motion, root)
