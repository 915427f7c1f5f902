"""Images as PNG, with two results for one frame side by side."""

from __future__ import annotations

import cv2
import numpy as np

from streamparts.arrays import ByteArray
from streamparts.bundle.colours import part_color

SCALE = 3
"""Image pixels per model pixel."""


def labels_png(image: ByteArray, reference: ByteArray, candidate: ByteArray) -> bytes:
    """A PNG with the (H, W, 3) RGB image, and both (H, W) labels in the parts' colours."""
    colours = np.array([(20, 20, 20), *map(part_color, range(255))], np.uint8)
    row = np.concatenate([image, colours[reference], colours[candidate]], axis=1)
    return png(row.repeat(SCALE, 0).repeat(SCALE, 1))


def png(image: ByteArray) -> bytes:
    """(H, W, 3) RGB."""
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()
