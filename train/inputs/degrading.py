"""Degrades rendered images to the quality of real video."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from streamparts.arrays import ByteArray

from ..bodies.builds import Array

CELLS = 4
"""Side of a cell of canonical coordinates, in pixels of the network's input."""


def degraded(
    rng: Generator, image: ByteArray, labels: ByteArray, canonical: Array
) -> tuple[ByteArray, ByteArray, Array]:
    """Return an image with colour casts, wrong exposure, blur, low resolution, noise, compression and holes, and its
    truth."""
    if rng.random() < 0.2:
        image, labels, canonical = _cut_out(rng, image, labels, canonical)
    if rng.random() < 0.3:
        image = _blurred(rng, image)
    if rng.random() < 0.25:
        image = _made_small(rng, image)
    image = _recoloured(rng, image)
    if rng.random() < 0.2:
        image = _sharpened(image, rng.uniform(0.3, 1.5))
    if rng.random() < 0.4:
        image = _compressed(image, int(rng.uniform(15, 80)))
    return image, labels, canonical


def _sharpened(image: ByteArray, strength: float) -> ByteArray:
    """Exaggerate edges, as cameras do."""
    soft = cv2.GaussianBlur(image, (0, 0), 1.0)
    # x + a (x - blurred x)
    return np.asarray(cv2.addWeighted(image, 1 + strength, soft, -strength, 0), np.uint8)


def _made_small(rng: Generator, image: ByteArray) -> ByteArray:
    """Downscale and upscale again."""
    size = len(image)
    small = int(size * rng.uniform(0.3, 0.9))
    less = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
    how = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
    return np.asarray(cv2.resize(less, (size, size), interpolation=how), np.uint8)


def _compressed(image: ByteArray, quality: int) -> ByteArray:
    packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)


def _cut_out(
    rng: Generator, image: ByteArray, labels: ByteArray, canonical: Array
) -> tuple[ByteArray, ByteArray, Array]:
    """Paste a piece from elsewhere in the image, or of one colour, over it."""
    size = len(image)
    high, wide = (int(size * share) for share in rng.uniform(0.06, 0.35, 2))
    (top, left), (from_top, from_left) = rng.integers(0, (size - high, size - wide), (2, 2))
    image, labels, canonical = image.copy(), labels.copy(), canonical.copy()
    if rng.random() < 0.5:
        image[top : top + high, left : left + wide] = rng.integers(0, 256, 3)
        labels[top : top + high, left : left + wide] = 0
        canonical[top // CELLS : (top + high) // CELLS, left // CELLS : (left + wide) // CELLS] = 0
    elif not labels[from_top : from_top + high, from_left : from_left + wide].any():
        image[top : top + high, left : left + wide] = image[
            from_top : from_top + high, from_left : from_left + wide
        ].copy()
        labels[top : top + high, left : left + wide] = 0
        canonical[top // CELLS : (top + high) // CELLS, left // CELLS : (left + wide) // CELLS] = 0
    return image, labels, canonical


def _blurred(rng: Generator, image: ByteArray) -> ByteArray:
    if rng.random() < 0.5:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.6)), np.uint8)
    length = int(rng.integers(3, 9))
    kernel = np.zeros((length, length), np.float32)
    angle, half = rng.uniform(0, np.pi), (length - 1) / 2
    ends = [(round(half + s * half * np.cos(angle)), round(half + s * half * np.sin(angle))) for s in (-1, 1)]
    # motion blur: a mean along a line
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)


def _recoloured(rng: Generator, image: ByteArray) -> ByteArray:
    """Saturation, gains, contrast, gamma and noise in one pass over floats."""
    x = image.astype(np.float32) / 255
    grey = x.mean(2, keepdims=True)
    saturation = 0.0 if rng.random() < 0.06 else rng.uniform(0.5, 1.4)
    # distance from grey
    x = grey + saturation * (x - grey)
    gain = rng.uniform(0.7, 1.25) * (1 + rng.normal(0, 0.07, 3).astype(np.float32))
    middle = np.float32(rng.uniform(0.3, 0.6))
    x = (x * gain - middle) * rng.uniform(0.65, 1.35) + middle + rng.normal(0, 0.05)
    x = np.clip(x, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.2)))
    if rng.random() < 0.4:
        x = x + rng.standard_normal(x.shape, np.float32) * np.float32(rng.uniform(0, 0.06))
    return np.asarray(np.clip(x, 0, 1) * 255 + 0.5, np.uint8)
