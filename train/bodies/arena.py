"""Floors and cages of rodents, from above and from the side: plain, bedding, grids, wire, tiles, bars and glass, with
walls, vignettes, and the grey of infrared."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from .builds import Array
from .colours import any_colour
from .things import noise, ramp


def draw_arena(rng: Generator, size: int) -> Array:
    """(S, S, 3) a floor, in some images with its walls, objects on it, and a ring of light."""
    kind = rng.random()
    image: Array
    if kind < 0.35:
        image = np.tile(_floor_colour(rng), (size, size, 1)) * ramp(rng, size, 0.3)
    elif kind < 0.6:
        image = _bedding(rng, size)
    elif kind < 0.8:
        image = _grid(rng, size)
    else:
        image = _floor_colour(rng) * (1 + rng.uniform(0.05, 0.3) * noise(rng, size, int(rng.integers(3, 30))))
    image = np.asarray(image, np.float32) * (1 + rng.uniform(0, 0.12) * noise(rng, size, size // 3))
    if rng.random() < 0.4:
        _walls(rng, image)
    return _as_filmed(rng, image)


def draw_cage(rng: Generator, size: int, horizon: float) -> Array:
    """(S, S, 3) a floor and the wall behind it, seen from the side: plain, bars, glass, wire, with bedding and objects;
    `horizon` is the line between them, as a share of the height from the top."""
    wall: Array
    kind = rng.random()
    if kind < 0.45:
        wall = np.tile(_floor_colour(rng), (size, size, 1)) * ramp(rng, size, 0.4)
    elif kind < 0.75:
        wall = _bars(rng, size)
    else:
        wall = _grid(rng, size)
    image = np.asarray(wall, np.float32)
    edge = int(np.clip(horizon + rng.uniform(0.02, 0.25), 0.1, 1.1) * size)
    if edge < size:
        plain = np.tile(_floor_colour(rng), (size, size, 1)) * ramp(rng, size, 0.3)
        floor = _bedding(rng, size) if rng.random() < 0.35 else plain
        image[edge:] = floor[edge:]
        if rng.random() < 0.4:  # the rim of a wall, or the foot of the glass
            image[max(0, edge - int(rng.integers(1, 8))) : edge] = _floor_colour(rng)
    return _as_filmed(rng, image * (1 + rng.uniform(0, 0.1) * noise(rng, size, size // 3)))


def _bars(rng: Generator, size: int) -> Array:
    """Draw parallel bars, each with a bright side."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    along = (x if rng.random() < 0.75 else y) / (size * rng.uniform(0.03, 0.12)) % 1.0
    wide = rng.uniform(0.12, 0.4)
    round_ = np.clip(1 - np.abs(along / wide - 0.4), 0.2, 1)[..., None]
    return np.where((along < wide)[..., None], _floor_colour(rng) * round_, _floor_colour(rng)).astype(np.float32)


def _as_filmed(rng: Generator, image: Array) -> Array:
    """Add objects, a ring of light, infrared's grey and a lens out of focus, each in some images."""
    size = len(image)
    for _ in range(int(rng.poisson(1.2)) if rng.random() < 0.5 else 0):
        _object(rng, image)
    if rng.random() < 0.5:
        image *= _vignette(rng, size)
    if rng.random() < 0.35:  # infrared
        image = np.repeat(image.mean(2, keepdims=True), 3, 2)
    if rng.random() < 0.3:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.5)), np.float32)
    return np.asarray(np.clip(image, 0, 1), np.float32)


def _floor_colour(rng: Generator) -> Array:
    kind = rng.random()
    if kind < 0.7:
        return np.asarray(rng.uniform(0.03, 0.95) * (1 + rng.normal(0, 0.04, 3)), np.float32).clip(0, 1)
    return any_colour(rng)


def _bedding(rng: Generator, size: int) -> Array:
    """Draw wood chips or paper: many short strokes."""
    base = np.array([0.72, 0.6, 0.42]) if rng.random() < 0.6 else np.array([0.85, 0.84, 0.8])
    image = np.tile((base * rng.uniform(0.4, 1.0)).astype(np.float32), (size, size, 1))
    for _ in range(int(rng.integers(150, 500))):
        at, angle, reach = rng.uniform(0, size, 2), rng.uniform(0, np.pi), rng.uniform(0.01, 0.05) * size
        along = reach * np.array([np.cos(angle), np.sin(angle)])
        tint = np.clip(base * rng.uniform(0.4, 1.25), 0, 1)
        ends = ([int(x) for x in at - along], [int(x) for x in at + along])
        cv2.line(image, ends[0], ends[1], tint.tolist(), int(rng.integers(1, 4)), cv2.LINE_AA)
    return image


def _grid(rng: Generator, size: int) -> Array:
    """Draw tiles, wire mesh, or printed lines, at any angle."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    angle, cell = rng.uniform(0, np.pi), size * rng.uniform(0.04, 0.35)
    u, v = (x * np.cos(angle) + y * np.sin(angle)) / cell, (y * np.cos(angle) - x * np.sin(angle)) / cell
    wide = rng.uniform(0.03, 0.2)
    lines = ((u % 1 < wide) | (v % 1 < wide))[..., None] if rng.random() < 0.7 else (u % 1 < 0.5)[..., None]
    return np.where(lines, _floor_colour(rng), _floor_colour(rng)).astype(np.float32)


def _walls(rng: Generator, image: Array) -> None:
    """Paint the surroundings of a rectangular or round arena."""
    size = len(image)
    mask = np.zeros((size, size), np.uint8)
    middle, reach = rng.uniform(0.2, 0.8, 2) * size, rng.uniform(0.35, 0.8) * size
    if rng.random() < 0.4:
        cv2.circle(mask, (int(middle[0]), int(middle[1])), int(reach), 255, -1, cv2.LINE_AA)
    else:
        box = cv2.boxPoints((middle.tolist(), (2 * reach, 2 * reach * rng.uniform(0.5, 1)), rng.uniform(-180, 180)))
        cv2.fillPoly(mask, [box.astype(np.int32)], 255, cv2.LINE_AA)
    edge = cv2.dilate(mask, np.ones((int(rng.integers(3, 15)),) * 2)).astype(np.float32)[..., None] / 255
    inside = mask.astype(np.float32)[..., None] / 255
    wall, outside = _floor_colour(rng), _floor_colour(rng)
    image[:] = image * inside + (1 - inside) * (wall * edge + outside * (1 - edge))


def _object(rng: Generator, image: Array) -> None:
    """Paint a dish, a block, a pellet, or a cable."""
    size, colour, at = len(image), _floor_colour(rng), rng.uniform(0, len(image), 2)
    middle, kind = (int(at[0]), int(at[1])), rng.random()
    if kind < 0.4:
        axes = [int(x) for x in rng.uniform(0.01, 0.14, 2) * size + 1]
        cv2.ellipse(image, middle, axes, rng.uniform(0, 180), 0, 360, colour.tolist(), -1, cv2.LINE_AA)
    elif kind < 0.7:
        box = cv2.boxPoints((at.tolist(), (rng.uniform(0.05, 0.3, 2) * size).tolist(), rng.uniform(0, 180)))
        cv2.fillPoly(image, [box.astype(np.int32)], colour.tolist(), cv2.LINE_AA)
    else:
        points = (at + np.cumsum(rng.normal(0, 0.12 * size, (6, 2)), 0)).astype(np.int32)
        cv2.polylines(image, [points], False, colour.tolist(), int(rng.integers(1, 5)), cv2.LINE_AA)


def _vignette(rng: Generator, size: int) -> Array:
    y, x = np.mgrid[:size, :size].astype(np.float32) / size - 0.5
    middle = rng.normal(0, 0.15, 2)
    far = np.hypot(x - middle[0], y - middle[1])[..., None]
    return np.asarray(1 - rng.uniform(0.2, 1.2) * far**2 * 1.6, np.float32).clip(0, 1.2)
