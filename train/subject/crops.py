"""Crops of a clip's frames at given regions, decoded once and memory-mapped from the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from streamparts.arrays import ByteArray, FloatArray, require_shape
from streamparts.errors import VideoError
from streamparts.files import whole
from streamparts.texts import readable

from ..frames.cache import new_array
from ..frames.clips import cache_key, open_clip
from ..frames.readers import READING_ERRORS, reason_of
from .cutting import cut
from .values import IntArray


def crop_frames(clip: Path, rows: IntArray, regions: FloatArray, pixels: int, cache: Path) -> ByteArray:
    """Return (F, pixels, pixels, 3) RGB, memory-mapped: frame `rows[i]` of the file in the square `regions[i]` (left,
    top, width, height in pixels of the displayed frame); black outside. Raises VideoError with the reader's reason."""
    require_shape("regions", regions, (len(rows), 4))
    wanted = np.asarray(regions, np.float32)
    about = hashlib.sha256(np.asarray(rows, np.int64).tobytes() + wanted.tobytes()).hexdigest()[:12]
    stored = cache / f"{cache_key(clip, pixels)}.{about}.crops.npy"
    if not stored.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with whole(stored) as partial:
            shape = (len(rows), pixels, pixels, 3)
            crops = new_array(partial, shape, readable(clip.name))
            for i, piece in enumerate(each_crop(clip, rows, wanted, pixels)):
                crops[i] = piece
            assert isinstance(crops, np.memmap)
            crops.flush()
    mapped: ByteArray = np.load(stored, mmap_mode="r")
    return mapped


def each_crop(clip: Path, rows: IntArray, regions: FloatArray, pixels: int) -> Iterator[ByteArray]:
    """Yield the (pixels, pixels, 3) crops one by one."""
    reader = open_clip(clip)
    for row, region in zip(rows.tolist(), regions.tolist(), strict=True):
        try:
            image = reader[row]
        except READING_ERRORS as error:
            raise VideoError(f"{readable(clip.name)}: cannot be decoded ({reason_of(error)})") from error
        yield cut(image, region, pixels)
