"""Writes images to PNG files."""

from __future__ import annotations

from pathlib import Path

import cv2

from streamparts.arrays import ByteArray


def write_png(path: Path, image: ByteArray) -> None:
    """(H, W, 3) RGB"""
    path.write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())
