"""Things that are not people: furniture, poles, plants, simple animals, and rods that resemble limbs.

Images are (S, S, 3) float32 RGB in [0, 1].
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .builds import Array
from .colours import SKINS, any_colour


def noise(rng: Generator, size: int, cells: int) -> Array:
    """(S, S, 1) smooth noise, about in [-1, 1]."""
    coarse = rng.uniform(-1, 1, (max(2, cells), max(2, cells))).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)[..., None], np.float32)


def ramp(rng: Generator, size: int, strength: float) -> Array:
    y, x = np.mgrid[:size, :size].astype(np.float32) / size - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    return np.asarray(
        1 + strength * rng.uniform(-1, 1) * 2 * (x * np.cos(angle) + y * np.sin(angle))[..., None], np.float32
    )


def add_thing(
    rng: Generator, image: Array, horizon: float, near: bool = False, animals: bool = True
) -> NDArray[np.bool_]:
    """Paint one thing into the image; returns which pixels it covers (S, S). Near things extend beyond the image's
    border; without `animals`, boxes take their place."""
    size = len(image)
    mask = np.zeros((size, size), np.uint8)
    scale = size * (rng.uniform(0.15, 0.6) if not near else rng.uniform(0.2, 0.7))
    at = np.array([rng.uniform(0, size), size * np.clip(horizon + rng.uniform(-0.4, 0.5), 0, 1)])
    if near and rng.random() < 0.7:
        at = np.array([rng.choice([0.0, size]) + rng.normal(0, 0.12) * size, size * rng.uniform(0.3, 1.1)])
    colour = any_colour(rng) if rng.random() < 0.85 else np.array(SKINS[rng.integers(len(SKINS))], np.float32)
    kinds = (_box, _pole, _plant, _chair, _blob, _limbs, _animal if animals else _box, _blade)
    shade = kinds[rng.choice(len(kinds), p=(0.22, 0.14, 0.14, 0.12, 0.08, 0.10, 0.12, 0.08))](rng, mask, at, scale)
    pattern = 1 + rng.uniform(0, 0.35) * noise(rng, size, int(rng.integers(3, 40)))
    cover = mask > 127
    alpha = (mask.astype(np.float32) / 255)[..., None]
    image += alpha * (np.clip(colour * shade * pattern, 0, 1) - image)
    return np.asarray(cover)


def _shade(rng: Generator, mask: NDArray[np.uint8]) -> Array:
    """Shade a shape as if round: lighter inside, from one side."""
    soft = cv2.GaussianBlur(mask, (0, 0), max(1.0, len(mask) * rng.uniform(0.015, 0.05))).astype(np.float32) / 255
    gx, gy = cv2.Sobel(soft, cv2.CV_32F, 1, 0, ksize=3), cv2.Sobel(soft, cv2.CV_32F, 0, 1, ksize=3)
    angle = rng.uniform(0, 2 * np.pi)
    light = 0.55 + 0.5 * soft + 3.0 * (gx * np.cos(angle) + gy * np.sin(angle))
    return np.asarray(light[..., None], np.float32)


def _polygon(mask: NDArray[np.uint8], points: NDArray[np.floating]) -> None:
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)


def _capsule(
    mask: NDArray[np.uint8], start: NDArray[np.floating], end: NDArray[np.floating], wide: float, narrow: float
) -> None:
    along = end - start
    across = np.array([-along[1], along[0]]) / max(1e-6, float(np.hypot(*along)))
    _polygon(
        mask, np.stack([start + across * wide, end + across * narrow, end - across * narrow, start - across * wide])
    )
    for point, radius in ((start, wide), (end, narrow)):
        cv2.circle(
            mask, tuple(np.round(point * 16).astype(int).tolist()), max(1, round(radius * 16)), 255, -1, cv2.LINE_AA, 4
        )


def _box(rng: Generator, mask: NDArray[np.uint8], at: Array, scale: float) -> Array:
    wide, high = scale * rng.uniform(0.2, 1, 2)
    skew = rng.normal(0, 0.08, (4, 2)) * scale
    _polygon(mask, at + np.array([[-wide, -high], [wide, -high], [wide, high], [-wide, high]]) / 2 + skew)
    return ramp(rng, len(mask), 0.5)


def _pole(rng: Generator, mask: NDArray[np.uint8], at: Array, scale: float) -> Array:
    lean = rng.normal(0, 0.05)
    thick = max(1.0, scale * rng.uniform(0.01, 0.09))
    end = at - np.array([lean * scale, scale * rng.uniform(0.8, 3)])
    _capsule(mask, at, end, thick, thick)
    if rng.random() < 0.5:  # a lamp, a sign, a crown
        radii = scale * rng.uniform(0.08, 0.35, 2)
        cv2.ellipse(
            mask, end.astype(int).tolist(), np.maximum(1, radii).astype(int).tolist(), 0, 0, 360, 255, -1, cv2.LINE_AA
        )
    return _shade(rng, mask)


def _plant(rng: Generator, mask: NDArray[np.uint8], at: Array, scale: float) -> Array:
    for _ in range(rng.integers(6, 22)):
        angle, length = rng.normal(-np.pi / 2, 0.8), scale * rng.uniform(0.3, 0.8)
        middle = at + length * 0.6 * np.array([np.cos(angle), np.sin(angle)])
        axes = np.maximum(1, [length * 0.45, length * rng.uniform(0.03, 0.14)])
        cv2.ellipse(
            mask,
            middle.astype(int).tolist(),
            axes.astype(int).tolist(),
            np.degrees(angle),
            0,
            360,
            255,
            -1,
            cv2.LINE_AA,
        )
    shade = _shade(rng, mask)
    return np.asarray(
        shade * (0.8 + 0.4 * noise(rng, len(mask), 30)) * np.array([0.75, 1.25, 0.7], np.float32), np.float32
    )


def _chair(rng: Generator, mask: NDArray[np.uint8], at: Array, scale: float) -> Array:
    wide, thick = scale * rng.uniform(0.3, 0.7), max(1.0, scale * rng.uniform(0.02, 0.07))
    seat = at + np.array([[-wide / 2, 0], [wide / 2, rng.normal(0, 0.05) * scale]])
    _capsule(mask, seat[0], seat[1], thick * 1.5, thick * 1.5)
    for corner in (*seat, seat.mean(0) + np.array([wide * 0.2, -thick])):
        _capsule(mask, corner, corner + np.array([rng.normal(0, 0.05), rng.uniform(0.4, 0.7)]) * scale, thick, thick)
    if rng.random() < 0.7:
        back = seat[rng.integers(2)]
        top = back - np.array([0, scale * rng.uniform(0.3, 0.8)])
        _capsule(mask, back, top, thick * rng.uniform(1, 5), thick * rng.uniform(1, 4))
    return _shade(rng, mask)


def _blob(rng: Generator, mask: NDArray[np.uint8], at: Array, scale: float) -> Array:
    axes = np.maximum(1, scale * rng.uniform(0.08, 0.5, 2)).astype(int)
    cv2.ellipse(mask, at.astype(int).tolist(), axes.tolist(), rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
    return _shade(rng, mask)


def _limbs(rng: Generator, mask: NDArray[np.uint8], at: Array, scale: float) -> Array:
    """Draw a chain of tapered rods: pipes, branches, robot arms."""
    angle, point, wide = rng.uniform(0, 2 * np.pi), at, scale * rng.uniform(0.03, 0.12)
    for _ in range(rng.integers(2, 5)):
        angle += rng.normal(0, 0.8)
        end = point + scale * rng.uniform(0.2, 0.6) * np.array([np.cos(angle), np.sin(angle)])
        _capsule(mask, point, end, wide, wide * 0.85)
        point, wide = end, wide * 0.85
    return _shade(rng, mask)


def _animal(rng: Generator, mask: NDArray[np.uint8], at: Array, scale: float) -> Array:
    """Draw an animal: a trunk, four legs, a neck and a head; or a bird on two legs."""
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
    """Draw something long and thin: swords on walls, bars, ropes."""
    angle = rng.uniform(0, np.pi)
    end = at + 2 * scale * rng.uniform(0.4, 1) * np.array([np.cos(angle), np.sin(angle)])
    thick = max(0.6, scale * rng.uniform(0.008, 0.05))
    _capsule(mask, at, end, thick, thick * rng.uniform(0.4, 1))
    return ramp(rng, len(mask), 0.3)
