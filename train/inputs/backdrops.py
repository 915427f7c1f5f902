"""Hard backgrounds for rendered bodies: cluttered ones, and ones of the body's own colours."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from streamparts.arrays import ByteArray, FloatArray

from .negatives import Negatives

CLUTTERED, ALIKE = 0.5, 0.35
"""Shares of the images whose background is replaced, and has the colour of a part of the body."""
MOST_LEAVES = 150
"""Maximum number of things in a cluttered background."""


def hard_background(rng: Generator, image: ByteArray, labels: ByteArray, negatives: Negatives) -> ByteArray:
    """Return an image (S, S, 3) whose bodies, `labels` (S, S) > 0, are as before, in some cases before a background of
    `negatives`, or one that resembles a part: bodies that stand out say little about what a body looks like."""
    cluttered, alike = rng.random(2) < (CLUTTERED, ALIKE)
    if not labels.any() or not (alike or (cluttered and negatives)):
        return image
    # (S, S, 1) share of the body in each pixel; a soft edge, so that no seam tells the body from what is behind
    body = cv2.GaussianBlur((labels > 0).astype(np.float32), (0, 0), 0.6)[..., None]
    behind = np.asarray(clutter(rng, len(image), negatives) if cluttered and negatives else image, np.float32)
    if alike:
        behind = recoloured_like(rng, behind, image, labels)
    return np.asarray(np.clip(image * body + behind * (1 - body), 0, 255) + 0.5, np.uint8)


def clutter(rng: Generator, size: int, negatives: Negatives) -> ByteArray:
    """(size, size, 3) an image without a body, behind things of all sizes and of its own colours or with pieces of
    another image on them: leaves that fall over each other, whose edges are as sharp as those of real rooms (the dead
    leaves model of natural images)."""
    out = negatives.draw(rng, size).copy()
    other = negatives.draw(rng, size)
    palette = np.concatenate([out.reshape(-1, 3), other.reshape(-1, 3)])
    # few large ones up to many small ones
    count = int(np.exp(rng.uniform(0, np.log(MOST_LEAVES))))
    for _ in range(count):
        corners = leaf(rng, size)
        if rng.random() < 0.6:
            colour = palette[int(rng.integers(len(palette)))] * rng.uniform(0.6, 1.4)
            cv2.fillConvexPoly(out, corners, np.clip(colour, 0, 255).tolist(), cv2.LINE_AA)
        else:
            left, top, wide, high = cv2.boundingRect(corners)
            left, top, right, bottom = max(0, left), max(0, top), min(size, left + wide), min(size, top + high)
            mask = np.zeros((size, size), np.uint8)
            cv2.fillConvexPoly(mask, corners, 1)
            inside = mask[top:bottom, left:right] > 0
            x, y = (int(rng.integers(size - side + 1)) for side in (right - left, bottom - top))
            piece = other[y : y + bottom - top, x : x + right - left]
            out[top:bottom, left:right][inside] = piece[inside]
    return out


def leaf(rng: Generator, size: int) -> NDArray[np.int32]:
    """(N, 2) corners of a box, bar or disc anywhere; sizes are even in their logarithm, most boxes are upright."""
    long, wide = size * np.exp(rng.uniform(np.log(0.02), np.log(0.4), 2))
    angle = rng.normal(0, 8) if rng.random() < 0.7 else rng.uniform(0, 180)
    centre = rng.uniform(0, size, 2)
    if rng.random() < 0.25:
        axes = (int(long / 2) + 1, int(wide / 2) + 1)
        return np.asarray(cv2.ellipse2Poly(tuple(centre.astype(int)), axes, int(angle), 0, 360, 20), np.int32)
    return np.asarray(cv2.boxPoints((tuple(centre), (long, wide), angle)), np.int32)


def recoloured_like(rng: Generator, behind: FloatArray, image: ByteArray, labels: ByteArray) -> FloatArray:
    """Shift the mean colour of what is `behind` (S, S, 3) towards that of a random part of the body."""
    parts = np.unique(labels[labels > 0])
    part = labels == parts[int(rng.integers(len(parts)))]
    wanted, mean = image[part].mean(0), behind[labels == 0].mean(0) if (labels == 0).any() else image.mean((0, 1))
    contrast = rng.uniform(0.4, 1.2)
    return np.asarray((behind - mean) * contrast + mean + rng.uniform(0.3, 1) * (wanted - mean), np.float32)
