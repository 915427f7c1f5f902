"""Clips of one rendered body that moves, in the form of the puppets' clips. They include what puppets lack: sides that
change places, limbs behind the trunk, and perspective."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.random import Generator

from ..drawing.puppet_clips import PuppetClip, write_clip
from .cast import Cast
from .film import film
from .scene import Photos


def render_clip(rng: Generator, cast: Cast, photos: Photos, num_frames: int, size: int, fps: int = 30) -> PuppetClip:
    """Render a clip of one body; equal draws give equal pixels."""
    act = cast.act(rng, np.arange(num_frames) / fps)
    camera = cast.view(rng, act.figures[num_frames // 2], size)
    return film(rng, cast, [act], camera, photos, size, fps)[0]


def write_clips(
    folder: Path,
    cast: Cast,
    photos: Photos,
    num_clips: int,
    num_frames: int,
    size: int,
    seed: int,
    say: Callable[[int], None],
) -> None:
    """Write clip_0000.mp4 and its ground truth clip_0000.npz, and so on, as the puppets are written; only one clip is
    in memory at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(num_clips):
        clip = render_clip(np.random.default_rng([seed, 1, i]), cast, photos, num_frames, size)
        write_clip(clip, folder / f"clip_{i:04d}.mp4")
        say(i + 1)
