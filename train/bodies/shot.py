"""How a clip is filmed, beyond where the camera is: the shutter, a thing before the bodies, and compression."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.random import Generator

from .builds import Array
from .camera import Camera
from .cast import Act, Cast
from .figure import BodyFigure
from .things import add_thing

BLURRED, HIDDEN, COMPRESSED = 0.35, 0.2, 0.5
"""Shares of clips with motion blur, with a thing before the bodies, and with more compression than others."""
SHUTTER = (0.4, 1.0)
"""Range of the share of the time between two frames during which the shutter is open."""
FINEST, COARSEST = 17, 36
"""Quality of the video as x264's constant rate factor: of most clips, and the worst."""
MOST_COVERED = 0.3
"""Share of the image that a thing before the bodies covers at most."""
PARALLAX = (1.0, 1.6)
"""How much more a near thing pans than the floor beside the bodies."""
PIXELS_APART, MOST_SAMPLES = 1.5, 9
"""Distance in pixels between two samples of an exposure, and how many there are at most."""
JITTER = ((-0.25, -0.25), (0.25, 0.25), (0.25, -0.25), (-0.25, 0.25))
"""Parts of a pixel by which the samples differ, so that edges across the motion are smooth, too."""


@dataclass(frozen=True)
class Thing:
    """A thing that stands between the camera and the bodies."""

    rgba: Array
    """(S, S, 4) colour, multiplied by the opacity, and opacity, as seen in the middle of the clip."""
    parallax: float

    def seen(self, pan: Array) -> Array:
        """Return (S, S, 4) of the thing when the floor has moved by `pan` (2,) pixels; what touches a border goes on
        beyond it."""
        x, y = self.parallax * pan
        size, matrix = self.rgba.shape[:2], np.array([[1, 0, x], [0, 1, y]])
        flags, border = cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
        return np.asarray(cv2.warpAffine(self.rgba, matrix, size[::-1], flags=flags, borderMode=border), np.float32)


@dataclass(frozen=True)
class Filming:
    """A plain one is sharp, shows the bodies alone, and is hardly compressed."""

    shutter: float = 0.0
    """Share of the time between two frames during which it is open."""
    thing: Thing | None = None
    rate_factor: int = FINEST


def draw_shot(rng: Generator, cast: Cast, size: int) -> Filming:
    """Choose how a clip of `size` pixels is filmed."""
    shutter = rng.uniform(*SHUTTER) if rng.random() < BLURRED else 0.0
    thing = draw_thing(rng, size, cast.animals) if rng.random() < HIDDEN else None
    factor = int(rng.integers(FINEST + 1, COARSEST + 1)) if rng.random() < COMPRESSED else FINEST
    return Filming(shutter, thing, factor)


def draw_thing(rng: Generator, size: int, animals: bool) -> Thing:
    """Draw a thing that covers some of the image, but not most of it; see things.add_thing."""
    for _ in range(8):
        seed, black, white = int(rng.integers(1 << 31)), *(np.full((size, size, 3), k, np.float32) for k in (0, 1))
        for image in (black, white):
            add_thing(np.random.default_rng(seed), image, 0.8, near=True, animals=animals)
        # over black: a c; over white: a c + 1 - a
        opacity = 1 - (white - black).mean(2, keepdims=True)
        if 0.01 < opacity.mean() < MOST_COVERED:
            break
    return Thing(np.concatenate([black, opacity], 2), float(rng.uniform(*PARALLAX)))


@dataclass(frozen=True)
class Moment:
    """Bodies and camera at a time near a frame."""

    figures: list[BodyFigure]
    camera: Camera
    pan: Array
    """(2,) see film.Take."""
    frame: int


def moment(acts: list[Act], cameras: list[Camera], pans: Array, frame: int, later: float = 0.0) -> Moment:
    """Return what is `later` frames after a frame, between -1 and 1, on straight ways; beyond the first and the last
    frame, everything goes on as before."""
    other = frame + (1 if later > 0 else -1)
    if not 0 <= other < len(cameras):
        other = 2 * frame - other
    if later == 0 or not 0 <= other < len(cameras):
        return Moment([act.figures[frame] for act in acts], cameras[frame], pans[frame], frame)
    share = later * (other - frame)
    figures = [_between(act.figures[frame], act.figures[other], share) for act in acts]
    one, next_ = cameras[frame], cameras[other]
    centre = (
        one.centre[0] + share * (next_.centre[0] - one.centre[0]),
        one.centre[1] + share * (next_.centre[1] - one.centre[1]),
    )
    camera = replace(one, place=one.place + share * (next_.place - one.place), centre=centre)
    return Moment(figures, camera, pans[frame] + share * (pans[other] - pans[frame]), frame)


def _between(one: BodyFigure, other: BodyFigure, share: float) -> BodyFigure:
    """Return a figure `share` of the way to another of the same vertices; only what is painted moves."""
    vertices = one.vertices + np.float32(share) * (other.vertices - one.vertices)
    normals = one.normals + np.float32(share) * (other.normals - one.normals)
    return replace(one, vertices=vertices, normals=normals)


def exposure(acts: list[Act], cameras: list[Camera], pans: Array, frame: int, shutter: float) -> list[Moment]:
    """Return the moments whose mean is the image of a frame: one if nothing moves by much, else as many as the motion
    in the image asks for, half before and half after the frame."""
    ends = [moment(acts, cameras, pans, frame, sign * shutter / 2) for sign in (-1, 1)]
    far = float(np.linalg.norm(ends[1].pan - ends[0].pan))
    for one, other in zip(*(end.figures for end in ends), strict=True):
        before, after = (e.camera.project(f.vertices[::7])[:, :2] for e, f in zip(ends, (one, other), strict=True))
        far = max(far, float(np.linalg.norm(after - before, axis=1).max()))
    count = min(MOST_SAMPLES, 1 + int(far / PIXELS_APART))
    if count < 2:
        return [moment(acts, cameras, pans, frame)]
    # (n + 1/2) / N of the time that the shutter is open
    times = shutter * ((np.arange(count) + 0.5) / count - 0.5)
    moments = [moment(acts, cameras, pans, frame, float(time)) for time in times]
    return [_jittered(each, *JITTER[n % len(JITTER)]) for n, each in enumerate(moments)]


def _jittered(each: Moment, right: float, down: float) -> Moment:
    centre = (each.camera.centre[0] + right, each.camera.centre[1] + down)
    return replace(each, camera=replace(each.camera, centre=centre))
