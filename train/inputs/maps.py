"""Saliency maps of images: computed once and cached, or read from the folder of another tool."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from streamparts.arrays import ByteArray, FloatArray
from streamparts.sources.folders import IMAGE_SUFFIXES, files_below

from ..frames.camera import Box
from ..frames.clips import write_whole
from ..frames.pictures import PictureError, read_grey, read_rgb
from ..frames.readers import kept_open
from .boxes import with_surroundings
from .saliency import saliency_map

KEPT_SIDE = 256
"""Longest side of a stored map in pixels, as fine as its superpixels."""


@dataclass(frozen=True, slots=True)
class PictureFile:
    """An image file, or one frame of a video."""

    name: str
    """Its path within the folder; a frame adds "#" and its number."""
    file: Path
    frame: int | None = None

    def read(self) -> ByteArray:
        """(H, W, 3) as displayed. Raises PictureError, or one of READING_ERRORS for a video."""
        return read_rgb(self.file) if self.frame is None else kept_open(self.file)[self.frame]

    @property
    def map_name(self) -> str:
        """Name of the map without suffix: the same path; clip/12 for frame 12 of clip.mp4."""
        path = Path(self.name.rpartition("#")[0] or self.name) if self.frame is not None else Path(self.name)
        stem = path.with_suffix("")
        return (stem if self.frame is None else stem / str(self.frame)).as_posix()


class ComputedMaps:
    """Maps that are computed once and stored as grey PNG files: by robust background detection, or by another function
    from an image (H, W, 3) to (H, W) in [0, 1]. `name` distinguishes the maps of different functions."""

    def __init__(self, folder: Path, map_of: Callable[[ByteArray], FloatArray] | None = None, name: str = "") -> None:
        self.folder, self.map_of, self.name = folder, map_of, name

    def __call__(self, picture: PictureFile, image: ByteArray, box: Box) -> ByteArray:
        """Compute the map (h, w) of the box, 255 is most salient. The surroundings of the box are included, because a
        subject that fills its box touches the box's borders and would be taken for background."""
        around = with_surroundings(box, image.shape[:2])
        seen = around.crop(image)
        file = self.folder / f"{self._key(picture, around)}.png"
        kept = read_grey(file) if file.exists() else self._computed(seen, file)
        whole = np.asarray(cv2.resize(kept, seen.shape[1::-1]), np.uint8)
        top, left = box.top - around.top, box.left - around.left
        return whole[top : top + box.bottom - box.top, left : left + box.right - box.left]

    def _key(self, picture: PictureFile, around: Box) -> str:
        stat = picture.file.stat()
        about = f"{picture.name}|{stat.st_size}|{stat.st_mtime_ns}|{tuple(around)}|1{self.name}"
        return hashlib.sha256(about.encode()).hexdigest()[:20]

    def _computed(self, image: ByteArray, file: Path) -> ByteArray:
        saliency = np.asarray(np.round(255 * (self.map_of or saliency_map)(image)), np.uint8)
        scale = min(1.0, KEPT_SIDE / max(saliency.shape))
        size = (max(1, round(saliency.shape[1] * scale)), max(1, round(saliency.shape[0] * scale)))
        kept = np.asarray(cv2.resize(saliency, size, interpolation=cv2.INTER_AREA), np.uint8)
        encoded = cv2.imencode(".png", kept)[1].tobytes()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(file, lambda out: out.write(encoded))
        return kept


class MapsOfAnotherTool:
    """Grey images of whole images, found by the same path or, if only one has it, by the same name."""

    def __init__(self, folder: Path) -> None:
        """Raises PictureError if the folder contains no image."""
        self.folder = folder
        self.files = sorted(p for p in files_below(folder) if p.suffix.lower() in IMAGE_SUFFIXES)
        if not self.files:
            raise PictureError(f"{folder}: no such folder of saliency maps, or no image in it")
        self._by_path, self._by_stem = defaultdict[str, list[Path]](list), defaultdict[str, list[Path]](list)
        for file in self.files:
            self._by_path[file.relative_to(folder).with_suffix("").as_posix()].append(file)
            self._by_stem[file.stem].append(file)

    def __call__(self, picture: PictureFile, image: ByteArray, box: Box) -> ByteArray:
        """(h, w) of the box, 255 is most salient. Raises PictureError unless there is exactly one map."""
        file = self._file(picture)
        try:
            stored = read_grey(file)
        except PictureError as error:
            raise PictureError(f"its saliency map {file.name}: {error}") from error
        return box.crop(np.asarray(cv2.resize(stored, image.shape[1::-1]), np.uint8))

    def _file(self, picture: PictureFile) -> Path:
        name = picture.map_name
        found = self._by_path.get(name) or (self._by_stem.get(Path(name).name, []) if picture.frame is None else [])
        if len(found) != 1:
            some = ", ".join(str(file.relative_to(self.folder)) for file in found[:3])
            raise PictureError(
                f"several saliency maps fit: {some}" if found else f"no saliency map {name}.* in {self.folder}"
            )
        return found[0]
