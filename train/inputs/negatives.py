"""Images without the subject, rendered ones of other kinds and photos: a model must find no part in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

from streamparts.arrays import ByteArray
from streamparts.errors import StreampartsError

from ..bodies.scene import Photos
from ..bodies.shards import Shard, read_shards, shard_folders

SMALLEST_CROP = 0.25
"""Smallest side of a crop of a photo, relative to its shorter side: a tracker sees only a small crop around the thing
that it follows."""


@dataclass(frozen=True)
class Negatives:
    """Images of other things, each of which is drawn equally often within its folder, and each folder equally often."""

    rendered: tuple[tuple[Shard, ...], ...] = ()
    """One entry per folder."""
    photos: tuple[tuple[ByteArray, ...], ...] = ()

    @staticmethod
    def load(folders: Sequence[Path]) -> Negatives:
        """Read folders of `streamparts render-people`, and of images, including those in subfolders. Raises
        StreampartsError for a folder with neither."""
        rendered, photos = [], []
        for folder in folders:
            if shard_folders(folder):
                rendered.append(tuple(read_shards(folder)))
            else:
                photos.append(Photos.load((folder,)).images)
                if not photos[-1]:
                    raise StreampartsError(f"{folder} contains no images")
        return Negatives(tuple(rendered), tuple(photos))

    def __bool__(self) -> bool:
        return bool(self.rendered or self.photos)

    def draw(self, rng: Generator, size: int) -> ByteArray:
        """(size, size, 3) RGB, a rendered image as it is, or a square piece of a photo."""
        kind = int(rng.integers(len(self.rendered) + len(self.photos)))
        if kind < len(self.rendered):
            shards = self.rendered[kind]
            shard = shards[int(rng.integers(len(shards)))]
            return _scaled(np.array(shard.images[int(rng.integers(len(shard)))]), size)
        photos = self.photos[kind - len(self.rendered)]
        image = photos[int(rng.integers(len(photos)))]
        height, width = image.shape[:2]
        side = max(2, int(min(height, width) * rng.uniform(SMALLEST_CROP, 1)))
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        return _scaled(image[top : top + side, left : left + side], size)


def _scaled(image: ByteArray, size: int) -> ByteArray:
    if image.shape[:2] == (size, size):
        return image
    how = cv2.INTER_AREA if len(image) > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=how), np.uint8)
