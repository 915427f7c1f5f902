"""Synthetic frames to test a model if there are no real ones."""

from __future__ import annotations

import cv2
import numpy as np

from streamparts.arrays import ByteArray

PATTERN_SIZES = (2, 4, 8, 16, 32)
"""Side of the noise that patterns are made from, in pixels."""


def pattern_frames(input_hw: tuple[int, int], num_frames: int, seed: int = 0) -> ByteArray:
    """(F, H, W, 3) smooth coloured noise of several scales: no image of anything, but no two pixels are alike."""
    rng = np.random.default_rng(seed)
    return np.stack([_pattern(rng, input_hw) for _ in range(num_frames)])


def plain_frames(input_hw: tuple[int, int]) -> ByteArray:
    """(2, H, W, 3) an all-black and an all-white frame."""
    return np.stack([np.full((*input_hw, 3), value, np.uint8) for value in (0, 255)])


def _pattern(rng: np.random.Generator, input_hw: tuple[int, int]) -> ByteArray:
    height, width = input_hw
    total = np.zeros((height, width, 3))
    for size in PATTERN_SIZES:
        total += cv2.resize(rng.uniform(-1, 1, (size, size, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
    return (255 / (1 + np.exp(-total))).astype(np.uint8)
