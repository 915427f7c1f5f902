"""Clips of rendered bodies that move, in the form of the puppets' clips. They include what puppets lack: sides that
change places, limbs behind the trunk, perspective, several bodies, things before them, and motion blur."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.random import Generator

from streamparts.arrays import ByteArray

from ..drawing.png import write_png
from ..drawing.puppet_clips import truth_file, write_clip, write_truth
from .cast import Cast
from .film import PLAIN, BodyClip, film
from .scene import Photos
from .shards import sheet
from .shot import Filming, draw_shot

SHEET_CLIPS, SHEET_FRAMES = 8, 4
"""Numbers of clips on the sheet, and of frames of each."""


def render_clip(
    rng: Generator,
    cast: Cast,
    photos: Photos,
    num_frames: int,
    size: int,
    shot: Filming = PLAIN,
    bodies: int = 1,
    fps: int = 30,
) -> list[BodyClip]:
    """Render a clip of one or more bodies; returns it with the truth of each. Who uses a thing, as a wheel, is alone.
    Equal draws give equal pixels."""
    seconds = np.arange(num_frames) / fps
    acts = [cast.act(rng, seconds)]
    camera = cast.view(rng, acts[0].figures[num_frames // 2], size)
    if acts[0].prop is None:
        acts += [cast.second_act(rng, seconds, acts[0]) for _ in range(bodies - 1)]
    return film(rng, cast, acts, camera, photos, size, fps, shot=shot)


def write_clips(
    folder: Path,
    cast: Cast,
    photos: Photos,
    num_clips: int,
    num_frames: int,
    size: int,
    seed: int,
    say: Callable[[int], None],
    plain: bool = False,
) -> None:
    """Write clip_0000.mp4 and its ground truth clip_0000.npz, and so on, as the puppets are written, and a sheet of the
    first ones; only one clip is in memory at a time. With `plain`, all show one body alone, sharply."""
    folder.mkdir(parents=True, exist_ok=True)
    columns: list[tuple[list[ByteArray], list[ByteArray]]] = []
    for i in range(num_clips):
        filmed = np.random.default_rng([seed, 2, i])
        shot = PLAIN if plain else draw_shot(filmed, cast, size)
        bodies = 2 if not plain and filmed.random() < cast.together else 1
        clips = render_clip(np.random.default_rng([seed, 1, i]), cast, photos, num_frames, size, shot, bodies)
        video = folder / f"clip_{i:04d}.mp4"
        for subject, clip in enumerate(clips[1:], 1):
            write_truth(clip, truth_file(video, subject))
        write_clip(clips[0], video, shot.rate_factor)
        if i < SHEET_CLIPS:
            columns.append(_column(clips))
            write_png(folder / "clips.png", _sheet(columns, len(cast.parts)))
        say(i + 1)


def _column(clips: list[BodyClip]) -> tuple[list[ByteArray], list[ByteArray]]:
    """Frames spread over a clip, and the labels of all its bodies."""
    some = np.linspace(0, len(clips[0].frames) - 1, SHEET_FRAMES).round().astype(int)
    return [clips[0].frames[i] for i in some], [np.max([clip.labels[i] for clip in clips], axis=0) for i in some]


def _sheet(columns: list[tuple[list[ByteArray], list[ByteArray]]], num_parts: int) -> ByteArray:
    """Draw a column for each clip, from its beginning down to its end."""
    images, labels = ([column[k][n] for n in range(SHEET_FRAMES) for column in columns] for k in (0, 1))
    return sheet(images, labels, num_parts, len(columns))
