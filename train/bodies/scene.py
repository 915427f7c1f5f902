"""Backgrounds and foregrounds: rooms, outdoors, photos, furniture, plants, and animals of simple shapes.

Images are (S, S, 3) float32 RGB in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

from streamparts.arrays import ByteArray
from streamparts.sources.folders import IMAGE_SUFFIXES, files_below, files_in

from .builds import Array
from .colours import any_colour
from .things import add_thing, noise, ramp

PHOTO_PIXELS = 640
"""Maximum longer side of photos in memory."""


@dataclass(frozen=True)
class Photos:
    """Photos without people, used as backgrounds and alone; panoramas are twice as wide as high."""

    images: tuple[ByteArray, ...] = ()
    cutouts: tuple[ByteArray, ...] = ()
    """Cut-out animals and things, (h, w, 4) RGBA."""

    @staticmethod
    def load(folders: tuple[Path, ...], cutouts: tuple[Path, ...] = (), most: int = 600) -> Photos:
        """Read the images below the folders, subsampled evenly to `most`; and cut-outs from folders with frames/ and
        masks/ of equal names."""
        paths = sorted(p for folder in folders for p in files_below(folder) if p.suffix.lower() in IMAGE_SUFFIXES)
        step = max(1, -(-len(paths) // most))
        frames = sorted(p for folder in cutouts for p in files_in(folder / "frames"))
        step_cut = max(1, -(-len(frames) // most))
        pieces = (_cut_out(path) for path in frames[::step_cut])
        return Photos(tuple(_read(path) for path in paths[::step]), tuple(p for p in pieces if p.size))


def _read(path: Path) -> ByteArray:
    image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path} is not an image")
    scale = min(1.0, PHOTO_PIXELS / max(image.shape[:2]))
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[..., ::-1], np.uint8)


def _cut_out(path: Path) -> ByteArray:
    """Cut out the masked object of a frame, with the mask as alpha; empty if the mask is."""
    mask_path = path.parent.parent / "masks" / f"{path.stem}.png"
    mask = cv2.imdecode(np.frombuffer(mask_path.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise ValueError(f"{mask_path} is not an image")
    image = _read(path)
    alpha = cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_AREA)
    rows, columns = np.nonzero(alpha > 127)
    if not len(rows):
        return np.zeros((0, 0, 4), np.uint8)
    box = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
    return np.dstack([image[box], alpha[box]])


def paste_cutout(rng: Generator, image: Array, photos: Photos) -> None:
    """Paste a cut-out anywhere into the image, at any size, mirrored, rotated and recoloured."""
    size, piece = len(image), photos.cutouts[rng.integers(len(photos.cutouts))]
    height, width = piece.shape[:2]
    scale = size * rng.uniform(0.25, 1.3) / max(height, width)
    angle, flip = np.radians(rng.normal(0, 12)), rng.choice([-1, 1])
    linear = scale * np.array([[flip * np.cos(angle), -np.sin(angle)], [flip * np.sin(angle), np.cos(angle)]])
    shift = rng.uniform(0.15, 0.85, 2) * size - linear @ np.array([width / 2, height / 2])
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    moved = cv2.warpAffine(piece, np.column_stack([linear, shift]), (size, size), flags=flags).astype(np.float32) / 255
    gain = rng.uniform(0.6, 1.3) * (1 + rng.normal(0, 0.2, 3))
    image += moved[..., 3:] * (np.clip(moved[..., :3] * gain, 0, 1).astype(np.float32) - image)


def draw_background(rng: Generator, size: int, horizon: float, photos: Photos, animals: bool = True) -> Array:
    """Draw an (S, S, 3) background; `horizon` is the line between floor and background, as a share of the height from
    the top; without `animals`, no things resemble them."""
    kind = rng.random()
    if photos.images and kind < 0.5:
        image = _photo(rng, size, photos)
    elif kind < 0.8:
        image = _room(rng, size, horizon)
    elif kind < 0.9:
        image = _outdoors(rng, size, horizon)
    else:
        image = np.tile(any_colour(rng), (size, size, 1)) * ramp(rng, size, 0.25)
    for _ in range(int(rng.poisson(2.2)) if rng.random() < 0.6 else 0):
        add_thing(rng, image, horizon, animals=animals)
    if photos.cutouts and rng.random() < 0.2:
        paste_cutout(rng, image, photos)
    if rng.random() < 0.25:  # out of focus
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 3)), np.float32)
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


def _wall(rng: Generator, size: int) -> Array:
    y, x = np.mgrid[:size, :size].astype(np.float32)
    first = (
        any_colour(rng) if rng.random() < 0.5 else np.float32(rng.uniform(0.45, 0.95)) * (1 + rng.normal(0, 0.05, 3))
    )
    second = np.clip(first + rng.normal(0, 0.13, 3), 0, 1)
    period = rng.uniform(6, 60)
    kind = rng.integers(6)
    if kind == 0:  # curtains, boards
        mix = 0.5 + 0.5 * np.sin(2 * np.pi * x / period + 1.5 * np.sin(2 * np.pi * x / (period * 2.7)))
    elif kind == 1:  # bricks, tiles
        row = np.floor(y / period)
        mix = (((y % period) < 0.1 * period) | (((x + (row % 2) * period) % (2 * period)) < 0.1 * period)).astype(
            np.float32
        )
    elif kind == 2:  # wallpaper
        mix = (np.sin(2 * np.pi * x / period) * np.sin(2 * np.pi * y / period) > rng.uniform(0, 0.8)).astype(np.float32)
    elif kind == 3:  # slats
        mix = ((y % (period / 2)) < 0.2 * period).astype(np.float32)
    else:
        mix = np.zeros_like(x)
    return np.asarray(first + (second - first) * mix[..., None], np.float32) * ramp(rng, size, 0.35)


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
    """Draw planks, tiles or carpet that converge towards the horizon."""
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
        image[inner] = np.clip(
            bright * (1 + 0.4 * rng.standard_normal((1, 1, 3)) * 0.3) + 0.2 * noise(rng, size, 9)[inner], 0, 1
        )
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
