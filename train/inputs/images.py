"""Loads a collection of images with their saliency maps from a folder of images and videos, for SCOPS. Each image is
decoded once into a memory-mapped array, from which batches are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from streamparts.arrays import ByteArray, FloatArray
from streamparts.sources.folders import IMAGE_SUFFIXES, VIDEO_SUFFIXES, files_below, is_own

from ..frames.cache import cache_place
from ..frames.camera import Box
from ..frames.clips import write_whole
from ..frames.pictures import PictureError
from ..frames.readers import READING_ERRORS, letterboxed, open_reader, reason_of
from ..frames.spread import spread
from ..subject.networks import load_network, load_saliency, saliency_file
from .boxes import Rectangle, read_boxes
from .close_folder import close_pictures
from .maps import ComputedMaps, MapsOfAnotherTool, PictureFile

Fit = Literal["letterbox", "stretch"]
"""How an image becomes square: letterboxed, as the runtime prepares its frames, so that a rotated subject keeps its
shape; or stretched, as in SCOPS."""

Maps = Callable[[PictureFile, ByteArray, Box], ByteArray]
Row = tuple[str, ByteArray, ByteArray]
"""Name, (S, S, 3) image and (S, S) saliency."""


def fitted(image: ByteArray, size: int, fit: Fit) -> ByteArray:
    """(H, W, 3) -> (size, size, 3)"""
    if fit == "letterbox":
        return letterboxed(image, size)
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def find_files(folder: Path, apart: Path | None = None) -> list[Path]:
    """Find images and videos below `folder`, sorted, except hidden folders and those in `apart`. Raises
    PictureError."""
    wanted = IMAGE_SUFFIXES | VIDEO_SUFFIXES
    files = [
        path
        for path in sorted(files_below(folder))
        if path.suffix.lower() in wanted
        and not is_own(path)
        and not (apart and path.resolve().is_relative_to(apart.resolve()))
    ]
    if not files:
        raise PictureError(f"no image and no video in {folder} (looked for {', '.join(sorted(wanted))})")
    return files


def pictures_of(file: Path, name: str, frames_per_video: int) -> list[PictureFile]:
    """Yield the image of a file, or frames of a video, spread evenly. Raises one of READING_ERRORS."""
    if file.suffix.lower() in IMAGE_SUFFIXES:
        return [PictureFile(name, file)]
    return [PictureFile(f"{name}#{index}", file, index) for index in spread(len(open_reader(file)), frames_per_video)]


CONTRAST = "contrast"
"""Value of --subject: robust background detection in each image separately."""


def is_video(file: Path) -> bool:
    return file.suffix.lower() in VIDEO_SUFFIXES


def computed_maps(folder: Path, subject: str) -> ComputedMaps:
    """Return the saliency method: U2-Net-p if requested, or if installed and nothing else is requested; the user's own
    network; else robust background detection."""
    if subject in (CONTRAST, "motion") or (subject == "auto" and saliency_file() is None):
        return ComputedMaps(folder)
    network = load_saliency() if subject in ("auto", "saliency") else load_network(Path(subject))
    return ComputedMaps(folder, network, hashlib.sha256(network.path.read_bytes()).hexdigest()[:16])


def maps_key(maps: Maps, close: bool, subject: str) -> tuple[str, ...]:
    """Key that distinguishes prepared folders with different maps."""
    return (*([maps.name] if isinstance(maps, ComputedMaps) and maps.name else []), *([subject] if close else []))


@dataclass(frozen=True)
class Preparation:
    """Loads the images of a folder into the array."""

    folder: Path
    files: Sequence[Path]
    image_size: int
    fit: Fit
    frames_per_video: int
    boxes: dict[str, Rectangle]
    """Boxes by image name; all frames of a video share its name."""
    maps: Maps
    failures: list[str]
    """Skipped files with reasons, filled during loading."""
    notes: list[str]

    def rows(self) -> Iterator[Row]:
        """Load every usable image."""
        unused = set(self.boxes)
        for file in tqdm(self.files, "pictures", disable=None, leave=False):
            name = file.relative_to(self.folder).as_posix()
            unused -= {name}
            try:
                pictures = pictures_of(file, name, self.frames_per_video)
            except READING_ERRORS as error:
                self.failures.append(f"{name}: cannot be decoded ({reason_of(error)})")
                continue
            for picture in pictures:
                unused -= {picture.name}
                try:
                    yield (picture.name, *self._prepared(picture, self.boxes.get(picture.name, self.boxes.get(name))))
                except (PictureError, *READING_ERRORS) as error:
                    self.failures.append(f"{picture.name}: {reason_of(error)}")
        if unused:
            some = ", ".join(sorted(unused)[:3])
            self.failures.append(f"{len(unused)} box(es) belong to no image in use: {some}")

    def _prepared(self, picture: PictureFile, rectangle: Rectangle | None) -> tuple[ByteArray, ByteArray]:
        image = picture.read()
        hw = image.shape[:2]
        box = rectangle.within(hw) if rectangle else Box(0, hw[0], 0, hw[1])
        if rectangle and rectangle.sticks_out(hw):
            self.notes.append(f"{picture.name}: its box extends beyond the image and was cropped")
        saliency = np.repeat(self.maps(picture, image, box)[..., None], 3, axis=2)
        return fitted(box.crop(image), self.image_size, self.fit), fitted(saliency, self.image_size, self.fit)[..., 0]


def write_prepared(preparation: Preparation, rows: Iterable[Row], stored: Path) -> None:
    """Write the arrays, and last the JSON file `stored`, which marks them as complete."""
    names: list[str] = []

    def write(images: BinaryIO, saliency: BinaryIO) -> None:
        for name, image, weight in rows:
            images.write(image.tobytes())
            saliency.write(weight.tobytes())
            names.append(name)

    files = (stored.with_suffix(".images"), stored.with_suffix(".saliency"))
    write_whole(files[0], lambda images: write_whole(files[1], lambda saliency: write(images, saliency)))
    if not names:
        raise PictureError(f"no usable image in {preparation.folder}: {'; '.join(preparation.failures[:3])}")
    about = {"names": names, "size": preparation.image_size, "fit": preparation.fit}
    about |= {"failures": preparation.failures, "notes": preparation.notes}
    write_whole(stored, lambda file: file.write(json.dumps(about).encode()))


def read_prepared(stored: Path) -> ImageFolder:
    about = json.loads(stored.read_text(encoding="utf-8"))
    shape = (len(about["names"]), about["size"], about["size"])
    return ImageFolder(
        tuple(about["names"]),
        np.memmap(stored.with_suffix(".images"), np.uint8, "r", shape=(*shape, 3)),
        np.memmap(stored.with_suffix(".saliency"), np.uint8, "r", shape=shape),
        tuple(about["failures"]),
        tuple(about["notes"]),
        stored,
    )


@dataclass(frozen=True)
class ImageFolder:
    """N images. When pickled, it stores the names of its mapped files instead of the data."""

    names: tuple[str, ...]
    images: ByteArray
    """(N, S, S, 3) RGB"""
    saliency: ByteArray
    """(N, S, S) saliency, 255 is most salient; 0 in letterbox borders."""
    failures: tuple[str, ...]
    """Skipped files, one line each."""
    notes: tuple[str, ...]
    """Notes on the images in use, one line each."""
    stored: Path
    """JSON file that describes the mapped arrays beside it."""

    def __reduce__(self) -> tuple[Callable[[Path], ImageFolder], tuple[Path]]:
        return read_prepared, (self.stored,)

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def open(
        cls,
        folder: Path,
        image_size: int,
        cache: Path | None = None,
        *,
        fit: Fit = "letterbox",
        boxes: Path | None = None,
        saliency: Path | None = None,
        frames_per_video: int = 50,
        subject: str = CONTRAST,
    ) -> ImageFolder:
        """Open images and videos below `folder`, cropped to their boxes if `boxes` (CSV or JSON) lists them.

        Maps are computed by the method `subject`, see ScopsTrainingConfig, unless `saliency` is a folder of maps.
        Raises PictureError if there is no usable image, VideoError for videos without a subject.
        """
        if image_size < 1 or frames_per_video < 1:
            raise ValueError(f"image_size and frames_per_video must be above 0: {image_size}, {frames_per_video}")
        files = find_files(folder, saliency)
        place = cache_place(folder, cache, folder)
        maps = MapsOfAnotherTool(saliency) if saliency else computed_maps(place / "saliency", subject)
        close = not (saliency or boxes) and subject != CONTRAST and all(is_video(file) for file in files)
        rectangles = read_boxes(boxes) if boxes else {}
        looked_at = [*files, *(maps.files if isinstance(maps, MapsOfAnotherTool) else [])]
        stats = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in looked_at]
        key = repr(
            (
                stats,
                image_size,
                fit,
                frames_per_video,
                sorted(rectangles.items()),
                saliency,
                1,
                *maps_key(maps, close, subject),
            )
        )
        stored = place / f"{hashlib.sha256(key.encode()).hexdigest()[:20]}.json"
        if not stored.exists():
            place.mkdir(parents=True, exist_ok=True)
            preparation = Preparation(folder, files, image_size, fit, frames_per_video, rectangles, maps, [], [])
            rows = close_pictures(folder, subject, image_size, frames_per_video, place) if close else preparation.rows()
            write_prepared(preparation, rows, stored)
        return read_prepared(stored)


@dataclass(frozen=True)
class ImageBatch:
    """B images with their saliency."""

    images: ByteArray
    """(B, S, S, 3) RGB"""
    saliency: FloatArray
    """(B, S, S) in [0, 1]"""
    salient: NDArray[np.bool_]
    """(B, S, S) each map thresholded by Otsu's method."""
    numbers: tuple[int, ...]
    """(B,) indices of the images in the folder."""


class ImageSampler:
    """Draws batches; every image is used once before any is repeated. Batch `step` depends only on (seed, step)."""

    def __init__(self, folder: ImageFolder, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        """Of the images that `world_size` processes draw together, this process gets batch number `rank`, of
        `batch_size` images."""
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.folder, self.batch_size, self.seed = folder, batch_size, seed
        self.rank, self.world_size = rank, world_size

    def __getitem__(self, step: int) -> ImageBatch:
        return self.batch(step)

    def batch(self, step: int) -> ImageBatch:
        chosen = self.drawn(step)
        maps = self.folder.saliency[chosen]
        salient = np.stack([cv2.threshold(found, 0, 1, cv2.THRESH_OTSU)[1] > 0 for found in maps])
        return ImageBatch(self.folder.images[chosen], np.asarray(maps / 255, np.float32), salient, tuple(chosen))

    def drawn(self, step: int) -> list[int]:
        """Return the indices of the images."""
        total = len(self.folder)
        first = (step * self.world_size + self.rank) * self.batch_size
        rounds = range(first // total, (first + self.batch_size - 1) // total + 1)
        order = np.concatenate([np.random.default_rng((self.seed, number)).permutation(total) for number in rounds])
        start = first - rounds[0] * total
        return [int(index) for index in order[start : start + self.batch_size]]
