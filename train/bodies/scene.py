"""What is behind and in front of people: rooms, outdoors, photographs, furniture, plants, animals of simple shapes.

Pictures are (S, S, 3) float32 RGB in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from streamparts.data import ByteArray
from train.bodies.mesh import Array
from train.bodies.outfit import SKINS, any_colour

PHOTO_PIXELS = 640
"""Longer side of photographs in memory."""


@dataclass(frozen=True)
class Photos:
    """Photographs without people, to put behind people and to show by themselves; panoramas are twice as wide as
    high."""

    images: tuple[ByteArray, ...] = ()

    @staticmethod
    def load(folders: tuple[Path, ...], most: int = 600) -> Photos:
        """Every picture below the folders, evenly thinned to `most`."""
        paths = sorted(p for folder in folders for p in folder.rglob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
        step = max(1, -(-len(paths) // most))
        return Photos(tuple(_read(path) for path in paths[::step]))


def _read(path: Path) -> ByteArray:
    image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path} is not a picture")
    scale = min(1.0, PHOTO_PIXELS / max(image.shape[:2]))
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[..., ::-1], np.uint8)


def draw_background(rng: Generator, size: int, horizon: float, photos: Photos) -> Array:
    """(S, S, 3); `horizon` is where the floor meets what is far, as a share of the height from the top."""
    kind = rng.random()
    if photos.images and kind < 0.5:
        image = _photo(rng, size, photos)
    elif kind < 0.8:
        image = _room(rng, size, horizon)
    elif kind < 0.9:
        image = _outdoors(rng, size, horizon)
    else:
        image = np.tile(any_colour(rng), (size, size, 1)) * _ramp(rng, size, 0.25)
    for _ in range(int(rng.poisson(2.2)) if rng.random() < 0.6 else 0):
        add_thing(rng, image, horizon)
    if rng.random() < 0.25:  # out of focus
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 3))
    return np.asarray(np.clip(image + noise(rng, size, 48) * rng.uniform(0, 0.05), 0, 1), np.float32)


def _photo(rng: Generator, size: int, photos: Photos) -> Array:
    image = photos.images[rng.integers(len(photos.images))]
    height, width = image.shape[:2]
    side = min(height, width) * rng.uniform(0.45, 1.0)
    left, top = rng.uniform(0, width - side), rng.uniform(0, height - side)
    mirror = rng.choice([-1, 1])
    tilt = np.radians(rng.normal(0, 4))
    scale = side / size
    linear = scale * np.array([[mirror * np.cos(tilt), -np.sin(tilt)], [mirror * np.sin(tilt), np.cos(tilt)]])
    shift = np.array([left + side / 2, top + side / 2]) - linear @ [size / 2, size / 2]
    out = cv2.warpAffine(
        image, np.column_stack([linear, shift]), (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )  # fmt: skip
    gain = rng.uniform(0.75, 1.2) * (1 + rng.normal(0, 0.05, 3))
    return np.asarray(out.astype(np.float32) / 255 * gain, np.float32)


def noise(rng: Generator, size: int, cells: int) -> Array:
    """(S, S, 1) smooth, in about [-1, 1]."""
    coarse = rng.uniform(-1, 1, (max(2, cells), max(2, cells))).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)[..., None], np.float32)


def _ramp(rng: Generator, size: int, strength: float) -> Array:
    y, x = np.mgrid[:size, :size].astype(np.float32) / size - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    return np.asarray(1 + strength * rng.uniform(-1, 1) * 2 * (x * np.cos(angle) + y * np.sin(angle))[..., None], np.float32)


def _wall(rng: Generator, size: int) -> Array:
    y, x = np.mgrid[:size, :size].astype(np.float32)
    first = any_colour(rng) if rng.random() < 0.5 else np.float32(rng.uniform(0.45, 0.95)) * (1 + rng.normal(0, 0.05, 3))
    second = np.clip(first + rng.normal(0, 0.13, 3), 0, 1)
    period = rng.uniform(6, 60)
    kind = rng.integers(6)
    if kind == 0:  # curtains, boards
        mix = 0.5 + 0.5 * np.sin(2 * np.pi * x / period + 1.5 * np.sin(2 * np.pi * x / (period * 2.7)))
    elif kind == 1:  # bricks, tiles
        row = np.floor(y / period)
        mix = (((y % period) < 0.1 * period) | (((x + (row % 2) * period) % (2 * period)) < 0.1 * period)).astype(np.float32)
    elif kind == 2:  # wallpaper
        mix = (np.sin(2 * np.pi * x / period) * np.sin(2 * np.pi * y / period) > rng.uniform(0, 0.8)).astype(np.float32)
    elif kind == 3:  # slats
        mix = ((y % (period / 2)) < 0.2 * period).astype(np.float32)
    else:
        mix = np.zeros_like(x)
    return np.asarray(first + (second - first) * mix[..., None], np.float32) * _ramp(rng, size, 0.35)


def _room(rng: Generator, size: int, horizon: float) -> Array:
    image = _wall(rng, size)
    edge = int(np.clip(horizon + rng.uniform(0.0, 0.25), 0, 1.3) * size)
    if edge < size:
        image[edge:] = _floor(rng, size, edge)[edge:]
        if rng.random() < 0.5:
            image[max(0, edge - rng.integers(2, 7)) : edge] = any_colour(rng)
    if rng.random() < 0.35:  # a window or a picture
        _panel(rng, image)
    image += 0.03 * noise(rng, size, 6) + 0.02 * noise(rng, size, 60)
    return np.clip(image, 0, 1)


def _floor(rng: Generator, size: int, edge: int) -> Array:
    """Planks, tiles or carpet that run towards the horizon."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    depth = size / np.maximum(y - edge + rng.uniform(10, 60), 1)
    across = (x - size * rng.uniform(0.2, 0.8)) * depth / size
    first, second = any_colour(rng), np.float32(rng.uniform(0.75, 1.15))
    cells = rng.uniform(1, 6)
    kind = rng.integers(3)
    if kind == 0:
        mix = (np.floor(across * cells) + np.floor(depth * cells)) % 2
    elif kind == 1:
        mix = ((across * cells) % 1 < 0.06).astype(np.float32) + 0.5 * (np.floor(across * cells) % 3 == 0)
    else:
        mix = np.zeros_like(x)
    floor = first * (1 - mix[..., None] * (1 - second))
    return np.asarray(floor * (0.85 + 0.3 * (y[..., None] - edge) / size) + 0.04 * noise(rng, size, 70), np.float32)


def _panel(rng: Generator, image: Array) -> None:
    size = len(image)
    wide, high = rng.integers(size // 8, size // 2, 2)
    left, top = rng.integers(-wide // 2, size), rng.integers(-high // 2, size // 2)
    box = (slice(max(0, top), max(0, top + high)), slice(max(0, left), max(0, left + wide)))
    image[box] = any_colour(rng)
    inner = (slice(max(0, top + 3), max(0, top + high - 3)), slice(max(0, left + 3), max(0, left + wide - 3)))
    shape = image[inner].shape
    if min(shape) > 0:
        bright = np.float32(rng.uniform(0.1, 1.1))
        image[inner] = np.clip(bright * (1 + 0.4 * rng.standard_normal((1, 1, 3)) * 0.3) + 0.2 * noise(rng, size, 9)[inner], 0, 1)
        if rng.random() < 0.5:
            image[inner][:, :: max(3, wide // 2)][:, :, :] = any_colour(rng)


def _outdoors(rng: Generator, size: int, horizon: float) -> Array:
    y = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]
    sky = np.array([0.55, 0.7, 0.9]) * rng.uniform(0.6, 1.15) + rng.normal(0, 0.08, 3)
    image = np.asarray(sky + y * rng.uniform(-0.2, 0.3) + 0.12 * noise(rng, size, 5), np.float32)
    image = np.broadcast_to(image, (size, size, 3)).copy()
    green = np.array([0.25, 0.36, 0.16]) * rng.uniform(0.5, 1.7) + rng.normal(0, 0.05, 3)
    edge = np.clip(horizon + 0.06 * noise(rng, size, 5)[:1, :, 0] - rng.uniform(0, 0.4), -1, 2)
    trees = (y[..., 0] > edge)[..., None]
    image = np.where(trees, green * (0.7 + 0.5 * noise(rng, size, 40) + 0.4 * noise(rng, size, 14)), image)
    ground = any_colour(rng) * 0.5 + green * 0.5 if rng.random() < 0.6 else any_colour(rng)
    image = np.where(y > horizon + 0.03, ground * (0.9 + 0.25 * noise(rng, size, 64)), image)
    return np.asarray(np.clip(image, 0, 1), np.float32)


@lru_cache(maxsize=1)
def _unit_grid() -> Array:
    y, x = np.mgrid[-1:1:64j, -1:1:64j].astype(np.float32)
    return np.stack([x, y], -1)


def add_thing(rng: Generator, image: Array, horizon: float, near: bool = False) -> NDArray[np.bool_]:
    """Paint one thing that is no person into the picture; which pixels it covers (S, S). Near ones come out of the
    picture's border."""
    size = len(image)
    mask = np.zeros((size, size), np.uint8)
    scale = size * (rng.uniform(0.15, 0.6) if not near else rng.uniform(0.2, 0.7))
    at = np.array([rng.uniform(0, size), size * np.clip(horizon + rng.uniform(-0.4, 0.5), 0, 1)])
    if near and rng.random() < 0.7:
        at = np.array([rng.choice([0.0, size]) + rng.normal(0, 0.12) * size, size * rng.uniform(0.3, 1.1)])
    colour = any_colour(rng) if rng.random() < 0.85 else np.array(SKINS[rng.integers(len(SKINS))], np.float32)
    kinds = (_box, _pole, _plant, _chair, _blob, _limbs, _animal, _blade)
    shade = kinds[rng.choice(len(kinds), p=(0.22, 0.14, 0.14, 0.12, 0.08, 0.10, 0.12, 0.08))](rng, mask, at, scale)
    pattern = 1 + rng.uniform(0, 0.35) * noise(rng, size, int(rng.integers(3, 40)))
    cover = mask > 127
    alpha = (mask.astype(np.float32) / 255)[..., None]
    image += alpha * (np.clip(colour * shade * pattern, 0, 1) - image)
    return np.asarray(cover)


def _shade(rng: Generator, mask: NDArray[np.uint8]) -> Array:
    """Round shapes look round: lighter inside, from one side."""
    soft = cv2.GaussianBlur(mask, (0, 0), max(1.0, len(mask) * rng.uniform(0.015, 0.05))).astype(np.float32) / 255
    gx, gy = cv2.Sobel(soft, cv2.CV_32F, 1, 0, ksize=3), cv2.Sobel(soft, cv2.CV_32F, 0, 1, ksize=3)
    angle = rng.uniform(0, 2 * np.pi)
    light = 0.55 + 0.5 * soft + 3.0 * (gx * np.cos(angle) + gy * np.sin(angle))
    return np.asarray(light[..., None], np.float32)


def _polygon(mask: NDArray[np.uint8], points: NDArray[np.floating]) -> None:
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)


def _capsule(mask: NDArray[np.uint8], start: NDArray[np.floating], end: NDArray[np.floating], wide: float, narrow: float) -> None:
    along = end - start
    across = np.array([-along[1], along[0]]) / max(1e-6, float(np.hypot(*along)))
    _polygon(mask, np.stack([start + across * wide, end + across * narrow, end - across * narrow, start - across * wide]))
    for point, radius in ((start, wide), (end, narrow)):
        cv2.circle(mask, tuple(np.round(point * 16).astype(int).tolist()), max(1, round(radius * 16)), 255, -1, cv2.LINE_AA, 4)


def _box(rng: Generator, mask: NDArray[np.uint8], at: Array, scale: float) -> Array:
    wide, high = scale * rng.uniform(0.2, 1, 2)
    skew = rng.normal(0, 0.08, (4, 2)) * scale
    _polygon(mask, at + np.array([[-wide, -high], [wide, -high], [wide, high], [-wide, high]]) / 2 + skew)
    return _ramp(rng, len(mask), 0.5)


def _pole(rng: Generator, mask: NDArray[np.uint8], at: Array, scale: float) -> Array:
    lean = rng.normal(0, 0.05)
    thick = max(1.0, scale * rng.uniform(0.01, 0.09))
    end = at - np.array([lean * scale, scale * rng.uniform(0.8, 3)])
    _capsule(mask, at, end, thick, thick)
    if rng.random() < 0.5:  # a lamp, a sign, a crown
        radii = scale * rng.uniform(0.08, 0.35, 2)
        cv2.ellipse(mask, end.astype(int).tolist(), np.maximum(1, radii).astype(int).tolist(), 0, 0, 360, 255, -1, cv2.LINE_AA)
    return _shade(rng, mask)


def _plant(rng: Generator, mask: NDArray[np.uint8], at: Array, scale: float) -> Array:
    for _ in range(rng.integers(6, 22)):
        angle, length = rng.normal(-np.pi / 2, 0.8), scale * rng.uniform(0.3, 0.8)
        middle = at + length * 0.6 * np.array([np.cos(angle), np.sin(angle)])
        axes = np.maximum(1, [length * 0.45, length * rng.uniform(0.03, 0.14)])
        cv2.ellipse(mask, middle.astype(int).tolist(), axes.astype(int).tolist(), np.degrees(angle), 0, 360, 255, -1, cv2.LINE_AA)
    shade = _shade(rng, mask)
    return np.asarray(shade * (0.8 + 0.4 * noise(rng, len(mask), 30)) * np.array([0.75, 1.25, 0.7], np.float32), np.float32)


def _chair(rng: Generator, mask: NDArray[np.uint8], at: Array, scale: float) -> Array:
    wide, thick = scale * rng.uniform(0.3, 0.7), max(1.0, scale * rng.uniform(0.02, 0.07))
    seat = at + np.array([[-wide / 2, 0], [wide / 2, rng.normal(0, 0.05) * scale]])
    _capsule(mask, seat[0], seat[1], thick * 1.5, thick * 1.5)
    for corner in (*seat, seat.mean(0) + (wide * 0.2, -thick)):
        _capsule(mask, corner, corner + np.array([rng.normal(0, 0.05), rng.uniform(0.4, 0.7)]) * scale, thick, thick)
    if rng.random() < 0.7:
        back = seat[rng.integers(2)]
        _capsule(mask, back, back - (0, scale * rng.uniform(0.3, 0.8)), thick * rng.uniform(1, 5), thick * rng.uniform(1, 4))
    return _shade(rng, mask)


def _blob(rng: Generator, mask: NDArray[np.uint8], at: Array, scale: float) -> Array:
    axes = np.maximum(1, scale * rng.uniform(0.08, 0.5, 2)).astype(int)
    cv2.ellipse(mask, at.astype(int).tolist(), axes.tolist(), rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
    return _shade(rng, mask)


def _limbs(rng: Generator, mask: NDArray[np.uint8], at: Array, scale: float) -> Array:
    """A chain of tapered rods: pipes, branches, robot arms."""
    angle, point, wide = rng.uniform(0, 2 * np.pi), at, scale * rng.uniform(0.03, 0.12)
    for _ in range(rng.integers(2, 5)):
        angle += rng.normal(0, 0.8)
        end = point + scale * rng.uniform(0.2, 0.6) * np.array([np.cos(angle), np.sin(angle)])
        _capsule(mask, point, end, wide, wide * 0.85)
        point, wide = end, wide * 0.85
    return _shade(rng, mask)


def _animal(rng: Generator, mask: NDArray[np.uint8], at: Array, scale: float) -> Array:
    """A trunk across, four legs, a neck and a head; or a bird on two."""
    long, thick, side = scale * rng.uniform(0.5, 0.9), scale * rng.uniform(0.1, 0.24), rng.choice([-1, 1])
    ends = at + np.array([[-long / 2, 0], [long / 2, rng.normal(0, 0.06) * scale]])
    _capsule(mask, ends[0], ends[1], thick, thick * rng.uniform(0.8, 1.2))
    legs = scale * rng.uniform(0.15, 0.7)
    for end in ends if rng.random() < 0.8 else ends.mean(0, keepdims=True):
        for _ in range(2):
            foot = end + np.array([rng.normal(0, 0.2) * scale, legs + thick])
            _capsule(mask, end, foot, thick * rng.uniform(0.3, 0.6), thick * rng.uniform(0.15, 0.35))
    neck = ends[int(side > 0)]
    head = neck + scale * np.array([side * rng.uniform(0.05, 0.4), -rng.uniform(0.0, 0.6)])
    _capsule(mask, neck, head, thick * 0.7, thick * rng.uniform(0.3, 0.6))
    _capsule(mask, head, head + scale * np.array([side * rng.uniform(0.05, 0.25), 0.05]), thick * 0.5, thick * 0.25)
    return np.asarray(_shade(rng, mask) * (1 + 0.3 * noise(rng, len(mask), 50)), np.float32)


def _blade(rng: Generator, mask: NDArray[np.uint8], at: Array, scale: float) -> Array:
    """Long and thin: swords on walls, bars, ropes."""
    angle = rng.uniform(0, np.pi)
    end = at + 2 * scale * rng.uniform(0.4, 1) * np.array([np.cos(angle), np.sin(angle)])
    thick = max(0.6, scale * rng.uniform(0.008, 0.05))
    _capsule(mask, at, end, thick, thick * rng.uniform(0.4, 1))
    return _ramp(rng, len(mask), 0.3)
