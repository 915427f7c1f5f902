"""Appearance of puppets: textured patches, backgrounds, and the canvas that composites them exactly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import cv2
import numpy as np
from numpy.random import Generator

from streamparts.arrays import ByteArray, FloatArray
from streamparts.geometry import CANONICAL_SIGMAS, mask_moments

from .puppet_figures import Bone
from .puppet_motion import Array, Size, similarity, wave


@dataclass(frozen=True, slots=True)
class Patch:
    """One part painted in its bone's frame."""

    rgba: ByteArray
    """(h, w, 4); the colour extends to where alpha is 0, so that interpolation mixes in no other colour."""
    to_units: Array
    """(3, 3) patch pixel indices -> bone frame in units."""
    ellipse: Array
    """(3, 3) canonical -> bone frame in units; no rotation, because every shape is symmetric about its bone."""
    area: float
    """Square units."""


def _distance(bone: Bone, x: Array, y: Array) -> Array:
    """Distance in units to the outline at points of the bone's frame, negative inside."""
    start, end, y = bone.width / 2, bone.tip_width / 2, np.abs(y)
    if bone.corner is not None:
        half = start + (end - start) * np.clip(x / bone.length, 0, 1)
        over_x = np.abs(x - bone.length / 2) - bone.length / 2 + bone.corner
        over_y = y - half + bone.corner
        outside = np.hypot(np.maximum(over_x, 0), np.maximum(over_y, 0))
        return np.asarray(outside + np.minimum(np.maximum(over_x, over_y), 0) - bone.corner)
    sin = (start - end) / bone.length
    cos = np.sqrt(1 - sin**2)
    along = cos * x - sin * y
    caps = np.where(along < 0, np.hypot(x, y) - start, np.hypot(x - bone.length, y) - end)
    return np.where((along >= 0) & (along <= cos * bone.length), cos * y + sin * x - start, caps)


def paint(bone: Bone, colour: Array, resolution: float, rng: Generator) -> Patch:
    """Draw a part at `resolution` pixels per unit, with two pixels of empty margin."""
    reach = max(bone.width, bone.tip_width) / 2 + 2 / resolution
    shape = (round(2 * reach * resolution), round((bone.length + 2 * reach) * resolution))
    x = (np.arange(shape[1]) + 0.5) / resolution - reach
    y = (np.arange(shape[0]) + 0.5 - shape[0] / 2) / resolution
    grid_x, grid_y = np.meshgrid(x, y)
    distance = _distance(bone, grid_x, grid_y)
    alpha = np.clip(0.5 - distance * resolution, 0, 1)
    rim = np.clip(1 + distance / (0.22 * bone.width), 0, 1)[..., None]
    rgb = _texture(colour, grid_x, grid_y, rng) * bone.shade * (1.04 - 0.3 * rim**2)
    rgba = np.dstack([np.clip(rgb, 0, 1), alpha]) * 255 + 0.5
    to_units = np.array([[1 / resolution, 0, x[0]], [0, 1 / resolution, y[0]], [0, 0, 1]])
    mean, covariance, mass = mask_moments(alpha)
    half = np.array([shape[1], shape[0]]) / (2 * resolution)
    radii = CANONICAL_SIGMAS * np.sqrt(np.diag(covariance)) * half
    ellipse = np.array([[radii[0], 0, (mean[0] + 1) * half[0] - reach], [0, radii[1], 0], [0, 0, 1]])
    return Patch(rgba.astype(np.uint8), to_units, ellipse, mass / resolution**2)


def _texture(colour: Array, x: Array, y: Array, rng: Generator) -> Array:
    """(h, w, 3): the base colour, slow variation and one of four patterns; x, y in units."""
    turn, period = rng.uniform(0, np.pi), rng.uniform(2.6, 4.5)
    u = np.sin(2 * np.pi * (x * np.cos(turn) + y * np.sin(turn)) / period)
    v = np.sin(2 * np.pi * (y * np.cos(turn) - x * np.sin(turn)) / period)
    kind = rng.choice(["stripes", "dots", "checks", "plain"])
    wave = {"stripes": 2 * u, "dots": 3 * (u + v) - 2.5, "checks": 4 * u * v, "plain": 0 * u - 1}[kind]
    pattern = (0.5 + 0.5 * np.clip(wave, -1, 1))[..., None]
    contrast = rng.choice([-1, 1]) * rng.uniform(0.16, 0.3) + rng.uniform(-0.1, 0.1, 3)
    accent = np.clip(colour + contrast, 0, 1)
    return np.asarray(colour + pattern * (accent - colour) + 0.12 * _noise(rng, x.shape, 3))


def _noise(rng: Generator, shape: tuple[int, ...], cells: int) -> Array:
    """(h, w, 3) smooth noise in about [-1, 1], more light than hue, `cells` cells on the shorter side."""
    coarse = [max(2, round(cells * side / min(shape))) for side in shape]
    values = 0.7 * rng.uniform(-1, 1, (*coarse, 1)) + 0.4 * rng.uniform(-1, 1, (*coarse, 3))
    return np.asarray(cv2.resize(values, shape[::-1], interpolation=cv2.INTER_CUBIC), np.float64)


def _hsv(hue: float, saturation: float, value: float) -> Array:
    """RGB in [0, 1]; hue in turns."""
    ramp = np.clip(np.abs((hue + np.array([0, 2, 1]) / 3) % 1 * 6 - 3) - 1, 0, 1)
    return np.asarray(value * (1 + saturation * (ramp - 1)))


def colours(bones: Sequence[Bone], rng: Generator) -> list[Array]:
    """A saturated colour per part: the one of a few random ones that differs most from the others, above all from its
    parent's."""
    chosen: list[Array] = []
    for bone in bones:
        trials = np.stack([_hsv(rng.random(), rng.uniform(0.6, 0.95), rng.uniform(0.55, 0.98)) for _ in range(16)])
        gaps = [
            np.abs(trials - colour).sum(1) * (0.5 if other.name == bone.parent else 1)
            for other, colour in zip(bones, chosen, strict=False)
        ]
        chosen.append(trials[np.argmax(np.min(gaps, 0)) if gaps else 0])
    return chosen


def _background(rng: Generator, size_hw: Size) -> ByteArray:
    """(H, W, 3) RGB: a gradient, a few soft shapes and blurred noise, less saturated than any figure."""
    hue, value, turn = rng.random(), rng.uniform(0.35, 0.75), rng.uniform(0, 2 * np.pi)
    first, second = (_hsv(hue + rng.uniform(-0.2, 0.2), rng.uniform(0.05, 0.3), value) for _ in range(2))
    x, y = np.meshgrid(np.linspace(-1, 1, size_hw[1]), np.linspace(-1, 1, size_hw[0]))
    mix = (0.5 + 0.35 * (x * np.cos(turn) + y * np.sin(turn)))[..., None]
    image = first + mix * (second * rng.uniform(0.6, 1.4) - first)
    for _ in range(rng.integers(3, 8)):
        (left, top), (width, height) = rng.uniform(-1, 1, 2), rng.uniform(0.15, 0.6, 2)
        radius = np.hypot((x - left) / width, (y - top) / height)
        cover = 0.7 / (1 + np.exp(np.clip(rng.uniform(4, 20) * (radius - 1), -30, 30)))
        shade = _hsv(rng.random(), rng.uniform(0, 0.3), value + rng.uniform(-0.25, 0.25))
        image += cover[..., None] * (shade - image)
    for cells, amount in ((4, 0.08), (12, 0.06), (40, 0.04)):
        image += amount * _noise(rng, size_hw, cells)
    return np.asarray(np.clip(image, 0, 1) * 255 + 0.5, np.uint8)


def backgrounds(rng: Generator, seconds: Array, size_hw: Size, moving: bool) -> Iterator[ByteArray]:
    """One (H, W, 3) image per frame; a moving camera pans, zooms and rotates over one 1.5 times as large."""
    if not moving:
        yield from repeat(_background(rng, size_hw), len(seconds))
        return
    picture = _background(rng, (size_hw[0] * 3 // 2, size_hw[1] * 3 // 2))
    turn, zoom, pan_x, pan_y = (wave(rng, seconds / 2) for _ in range(4))
    middle = np.array(size_hw[::-1]) / 2
    camera = similarity(0.08 * turn, 1 + 0.06 * zoom, middle * (1 + 0.25 * np.stack([pan_x, pan_y], -1)))
    camera[:, :2, 2] -= camera[:, :2, :2] @ (1.5 * middle)
    for matrix in camera[:, :2]:
        view = cv2.warpAffine(picture, matrix, size_hw[::-1], borderMode=cv2.BORDER_REFLECT)
        yield np.asarray(view, np.uint8)


class Canvas:
    """One frame being painted from back to front."""

    def __init__(self, background: ByteArray) -> None:
        self.rgb = background.astype(np.float32)
        self.labels = np.zeros(background.shape[:2], np.uint8)
        self.share = np.ones(background.shape[:2], np.float32)
        """Contribution of the label's owner to each pixel."""

    def add(self, patch: Patch, matrix: Array, label: int) -> None:
        """Composite a patch; `matrix` (3, 3) maps its bone's frame to continuous pixels."""
        affine = (matrix @ patch.to_units)[:2]
        affine[:, 2] -= 0.5  # cv2 puts pixel centres at whole numbers
        height, width = patch.rgba.shape[:2]
        corners = affine @ np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]])
        limit = np.array(self.labels.shape[::-1])
        left, top = np.clip(np.floor(corners.min(1)).astype(int), 0, limit)
        right, bottom = np.clip(np.ceil(corners.max(1)).astype(int) + 1, 0, limit)
        if right <= left or bottom <= top:
            return
        affine[:, 2] -= (left, top)
        window = (slice(top, bottom), slice(left, right))
        layer = cv2.warpAffine(patch.rgba, affine, (int(right - left), int(bottom - top))).astype(np.float32)
        self._blend(window, layer[..., :3], layer[..., 3] / np.float32(255), label)

    def _blend(self, window: tuple[slice, slice], rgb: FloatArray, alpha: FloatArray, label: int) -> None:
        self.rgb[window] += alpha[..., None] * (rgb - self.rgb[window])
        # Every earlier contribution shrinks by the same 1 - alpha, so the largest one stays the largest.
        self.share[window] *= 1 - alpha
        mine = alpha > self.share[window]
        self.labels[window][mine] = label
        self.share[window][mine] = alpha[mine]
