"""Rendered images on disk: folders of arrays, each complete or absent, memory-mapped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray
from streamparts.errors import StreampartsError
from streamparts.files import whole

from .builds import Array
from .mesh import PARTS

if TYPE_CHECKING:
    from .cast import Cast
    from .picture import BodyPicture
    from .scene import Photos

PER_SHARD = 250
PARTS_FILE = "parts.txt"
"""File with the names of a shard's parts, one a line; shards without it show people."""
STEPS_PER_HEIGHT = 200
"""Resolution of canonical coordinates, which are stored as integers."""


@dataclass(frozen=True)
class Shard:
    """N images of side S with their ground truth; see BodyPicture."""

    images: ByteArray
    """(N, S, S, 3) RGB."""
    labels: ByteArray
    """(N, S, S) labels."""
    canonical: NDArray[np.int8]
    """(N, S/2, S/2, 3) canonical coordinates in units of 1 / STEPS_PER_HEIGHT of the body height."""
    affines: Array
    """(N, K, 2, 3) poses."""
    seen: Array
    """(N, K) visible shares."""
    facing: Array
    """(N, 3) facing directions."""
    people: NDArray[np.uint8]
    """(N,) numbers of people, or of animals."""
    joints: Array | None = None
    """(N, J, 2) joints in pixels; None in folders of before."""
    depths: Array | None = None
    """(N, K) distances of the parts along the view; None in folders of before."""
    parts: tuple[str, ...] = PARTS
    """Names of the K parts."""

    def __len__(self) -> int:
        return len(self.images)


ADDED = ("joints", "depths")
"""Arrays that folders of before lack."""
ARRAYS = tuple(name for name in Shard.__dataclass_fields__ if name not in ("parts", *ADDED))


def pack(pictures: list[BodyPicture], parts: tuple[str, ...] = PARTS) -> Shard:
    """Stack images of bodies with these parts to one array of each kind."""
    canonical = np.stack([picture.canonical[::2, ::2] for picture in pictures])
    return Shard(
        images=np.stack([picture.image for picture in pictures]),
        labels=np.stack([picture.labels for picture in pictures]),
        canonical=np.clip(np.round(canonical * STEPS_PER_HEIGHT), -127, 127).astype(np.int8),
        affines=np.stack([picture.affines for picture in pictures]),
        seen=np.stack([picture.seen for picture in pictures]),
        facing=np.stack([picture.facing for picture in pictures]).astype(np.float32),
        people=np.array([picture.people for picture in pictures], np.uint8),
        joints=np.stack([picture.joints for picture in pictures]).astype(np.float32),
        depths=np.stack([picture.depths for picture in pictures]),
        parts=parts,
    )


def write_pictures(
    folder: Path,
    cast: Cast,
    photos: Photos,
    count: int,
    size: int,
    seed: int,
    empty: float,
    say: Callable[[int], None],
) -> None:
    """Write shards of PER_SHARD images until there are `count`; existing ones are kept. Image i depends only on `seed`
    and i; a share `empty` shows no body. `say` gets the number of finished images."""
    from .picture import draw_picture  # needs the extra `bodies`; reading shards does not

    for first in range(0, count, PER_SHARD):
        place = folder / f"pictures_{seed:04d}_{first // PER_SHARD:05d}"
        if not place.exists():
            numbers = range(first, min(first + PER_SHARD, count))
            pictures = [draw_picture(np.random.default_rng([seed, i]), cast, photos, size, empty) for i in numbers]
            write_shard(pack(pictures, cast.parts), place)
        say(min(first + PER_SHARD, count))


def write_shard(shard: Shard, place: Path) -> None:
    """Write a shard so that its folder appears only when it is complete."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with whole(place) as partial:
        partial.mkdir()
        for name in (*ARRAYS, *ADDED):
            if (array := getattr(shard, name)) is not None:
                np.save(partial / f"{name}.npy", array, allow_pickle=False)
        (partial / PARTS_FILE).write_text("\n".join(shard.parts) + "\n", encoding="utf-8")


def shard_folders(folder: Path) -> list[Path]:
    """The complete shards of a folder, in order."""
    return sorted(place for place in folder.glob("pictures_*") if place.is_dir())


def read_shards(folder: Path) -> list[Shard]:
    """Map all complete shards of a folder, in order. Raises StreampartsError if there is none, or if they show
    different parts."""
    places = shard_folders(folder)
    if not places:
        raise StreampartsError(f"{folder} contains no rendered images; make some with streamparts render-people")
    shards = [_read(place) for place in places]
    other = next((i for i, shard in enumerate(shards) if shard.parts != shards[0].parts), None)
    if other is not None:
        raise StreampartsError(
            f"{places[other]} and {places[0]} show bodies with different parts; use one folder for each"
        )
    return shards


def _read(place: Path) -> Shard:
    names = (*ARRAYS, *(name for name in ADDED if (place / f"{name}.npy").exists()))
    arrays = {name: np.load(place / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names}
    named = place / PARTS_FILE
    parts = tuple(named.read_text(encoding="utf-8").split()) if named.exists() else PARTS
    if arrays["affines"].shape[1] != len(parts):
        raise StreampartsError(f"{place} has {arrays['affines'].shape[1]} poses per image for {len(parts)} parts")
    return Shard(**arrays, parts=parts)


def sheet(images: Sequence[ByteArray], labels: Sequence[ByteArray], num_parts: int, columns: int = 8) -> ByteArray:
    """Draw images (S, S, 3) in rows, and below each the same image with coloured parts; labels are (S, S). Images that
    fill no row are left out."""
    from streamparts.bundle.colours import part_color

    colours = np.array([(0, 0, 0), *map(part_color, range(num_parts))], np.uint8)
    rows = []
    for first in range(0, len(images) - columns + 1, columns):
        image, found = (np.concatenate(each[first : first + columns], 1) for each in (images, labels))
        mixed = cv2.addWeighted(image, 0.4, colours[found], 0.6, 0)
        rows += [image, np.where(found[..., None] > 0, mixed, image // 2)]
    return np.concatenate(rows)
