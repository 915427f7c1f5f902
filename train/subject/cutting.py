"""Cuts square pieces out of images, at any position, scale and rotation, and pastes them back."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_SHRINKING = 1.5
"""Maximum reduction by bilinear sampling alone; stronger reductions average first."""


def cut(
    image: NDArray[np.uint8], region: Sequence[float], side: int, degrees: float = 0.0, outside: int = 0
) -> NDArray[np.uint8]:
    """Return (side, side, ...) of an (H, W) or (H, W, 3) image: the square region (left, top, width, height), rotated
    about its centre. Pixels outside the image are `outside`."""
    left, top, width, _ = region
    shrinking, factor = width / side, 1.0
    if shrinking > MAX_SHRINKING:
        size = (max(1, round(image.shape[1] / shrinking)), max(1, round(image.shape[0] / shrinking)))
        factor = size[0] / image.shape[1]
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    to_picture = turned_square(left * factor, top * factor, width * factor, side, degrees)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    border = (outside,) * 3
    piece = cv2.warpAffine(image, to_picture, (side, side), flags=flags, borderValue=border)
    return np.asarray(piece, np.uint8)


def turned_square(left: float, top: float, width: float, side: int, degrees: float) -> NDArray[np.float64]:
    """Return the (2, 3) matrix from pixel indices of the piece to those of the image."""
    step, angle = width / side, np.radians(degrees)
    linear = step * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([left + width / 2, top + width / 2])
    shift = centre - linear @ np.array([side / 2, side / 2])
    return np.column_stack([linear, shift + linear @ np.array([0.5, 0.5]) - 0.5])


def paste(piece: NDArray[np.float32], region: Sequence[float], hw: tuple[int, int]) -> NDArray[np.float32]:
    """Paste a (side, side) piece into an image of size `hw`, 0 around it: the inverse of `cut`."""
    to_picture = turned_square(region[0], region[1], region[2], len(piece), 0.0)
    return np.asarray(cv2.warpAffine(piece, to_picture, (hw[1], hw[0]), flags=cv2.INTER_LINEAR), np.float32)
