"""Reads image files of any depth and kind as 8-bit images, as they are displayed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray
from streamparts.errors import StreampartsError

MAY_BE_TRANSPARENT = {".png", ".webp", ".tif", ".tiff", ".bmp"}


class PictureError(StreampartsError):
    """Raised if an image file, or a folder of them, cannot be used. For a single file, the message has the reason, not
    the name."""


def read_rgb(path: Path) -> ByteArray:
    """Read (H, W, 3), with EXIF orientation applied, 16 bits scaled to 8, transparency over white. Raises PictureError.

    The orientation of a transparent image is not applied: OpenCV returns either orientation or transparency.
    """
    data = _bytes_of(path)
    if path.suffix.lower() in MAY_BE_TRANSPARENT:
        image = _eight_bits(_decoded(data, cv2.IMREAD_UNCHANGED))
        if image.ndim == 3 and image.shape[2] == 4:
            return _on_white(image)
    return np.ascontiguousarray(_eight_bits(_decoded(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH))[..., ::-1])


def read_grey(path: Path) -> ByteArray:
    """Read (H, W), 16 bits scaled to 8. Raises PictureError."""
    return _eight_bits(_decoded(_bytes_of(path), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH))


def _bytes_of(path: Path) -> ByteArray:
    try:
        return np.fromfile(path, np.uint8)
    except OSError as error:
        raise PictureError(f"cannot be read ({error.strerror})") from error


def _decoded(data: ByteArray, mode: int) -> NDArray[np.generic]:
    try:
        image = cv2.imdecode(data, mode) if len(data) else None
    except cv2.error as error:
        raise PictureError(f"cannot be decoded ({error.err})") from error
    if image is None:
        raise PictureError("not a readable image")
    return np.asarray(image)


def _eight_bits(image: NDArray[np.generic]) -> ByteArray:
    if image.dtype == np.uint16:
        return np.asarray(np.round(np.asarray(image, np.float32) / 257), np.uint8)
    if image.dtype != np.uint8:
        raise PictureError(f"its pixels are {image.dtype}; only 8 and 16 bits are supported")
    return np.asarray(image, np.uint8)


def _on_white(image: ByteArray) -> ByteArray:
    """(H, W, 4) BGR and alpha -> (H, W, 3) RGB."""
    opacity = image[..., 3:].astype(np.float32) / 255
    return np.asarray(np.round(image[..., 2::-1] * opacity + 255 * (1 - opacity)), np.uint8)
