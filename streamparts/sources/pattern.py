"""The test pattern: a moving puppet, and a burnt-in number that can be read back.

The number is written as black and white blocks along the top, one per bit, lowest first; it survives scaling and strong
compression. Tests use it to count frames.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray

Point = NDArray[np.float64]

NUM_BITS = 16
"""Numbers are burnt in modulo 2 ** NUM_BITS."""
_BLACK, _WHITE = 20, 235
_HEIGHT = 8
"""The blocks take this share of the image's height."""


def burn_number(image: ByteArray, number: int) -> None:
    """Write `number` into an (H, W, 3) uint8 image, in place. It needs at least 4 pixels per bit to survive video
    compression."""
    height, width = image.shape[:2]
    edges = np.round(np.linspace(0, width, NUM_BITS + 1)).astype(int)
    bits = number >> np.arange(NUM_BITS) & 1
    row = np.repeat(np.where(bits, _WHITE, _BLACK).astype(np.uint8), np.diff(edges))
    image[: max(1, height // _HEIGHT)] = row[None, :, None]


def read_number(image: ByteArray) -> int:
    """Read the number from an (H, W, 3) uint8 image, at any size."""
    height, width = image.shape[:2]
    rows = image[height // (4 * _HEIGHT) : max(1, 3 * height // (4 * _HEIGHT))].mean(axis=(0, 2))
    centers = (np.arange(NUM_BITS) + 0.5) * width / NUM_BITS
    return int(((rows[centers.astype(int)] > 128) << np.arange(NUM_BITS)).sum())


class Puppet:
    """A jointed figure that walks in place, swings its arms and sways, in front of a textured wall."""

    def __init__(self, height: int, width: int, seed: int) -> None:
        """`seed` determines colours, proportions, rhythm and the wall."""
        rng = np.random.default_rng(seed)
        self._background = _wall(rng, height, width)
        self._unit = 0.8 * min(height, width)
        self._origin = np.array([0.5 * width, 0.52 * height])
        self._colors = rng.integers(40, 246, (10, 3)).tolist()
        self._lengths = rng.uniform(0.9, 1.1, 10)
        self._phases = rng.uniform(0, 2 * math.pi, 4)
        self._hertz = rng.uniform(0.4, 0.7)

    def draw(self, seconds: float) -> ByteArray:
        """(height, width, 3) RGB: the puppet at this time; the same time gives the same image."""
        image = self._background.copy()
        turn = 2 * math.pi * self._hertz * seconds
        sway = 0.08 * self._unit * math.sin(0.7 * turn + self._phases[0])
        hip = self._origin + np.array([sway, 0.12 * self._unit])
        lean = 0.2 * math.sin(turn + self._phases[1])
        neck = _step(hip, math.pi + lean, 0.3 * self._unit * self._lengths[0])
        for side, leg, arm in ((-1, 1, 5), (1, 2, 6)):
            swing = math.sin(turn + self._phases[2] + side * math.pi / 2)
            bend = 0.5 + 0.4 * math.sin(turn + self._phases[3] + side)
            aside = np.array([side * self._unit, 0])
            self._limb(image, hip + 0.05 * aside, 0.5 * swing, -bend, 0.2, 0.085, leg)
            self._limb(image, neck + 0.09 * aside, -0.9 * swing, bend, 0.15, 0.06, arm)
        self._bone(image, hip, neck, 0.16, 0)
        self._bone(image, neck, _step(neck, math.pi + 2 * lean, 0.13 * self._unit), 0.13, 9)
        return image

    def _limb(
        self, image: ByteArray, start: Point, angle: float, bend: float, length: float, thickness: float, color: int
    ) -> None:
        """Two bones with a joint in between; angles in radians from straight down."""
        joint = _step(start, angle, length * self._unit * self._lengths[color])
        end = _step(joint, angle + bend, length * self._unit * self._lengths[color + 2])
        self._bone(image, joint, end, 0.85 * thickness, color + 2)
        self._bone(image, start, joint, thickness, color)

    def _bone(self, image: ByteArray, start: Point, end: Point, thickness: float, color: int) -> None:
        """A bar with round ends, and rings that show its rotation."""
        import cv2

        width = max(1, round(thickness * self._unit))
        one, other = ((round(16 * x), round(16 * y)) for x, y in (start, end))
        cv2.line(image, one, other, self._colors[color], width, cv2.LINE_AA, 4)
        dark = [value // 2 for value in self._colors[color]]
        for share in (0.25, 0.75):
            center = (1 - share) * start + share * end
            x, y = np.round(16 * center).astype(int).tolist()
            cv2.circle(image, (x, y), round(4 * width), dark, -1, cv2.LINE_AA, 4)


def _step(start: Point, angle: float, length: float) -> Point:
    return start + length * np.array([math.sin(angle), math.cos(angle)])


def _wall(rng: np.random.Generator, height: int, width: int) -> ByteArray:
    """Smooth blotches of moderate contrast."""
    import cv2

    coarse = rng.integers(70, 171, (5, 8, 3), np.uint8)
    fine = rng.integers(0, 31, (36, 64, 3), np.uint8)
    blotches = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    grain = cv2.resize(fine, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.add(blotches, grain), np.uint8)
