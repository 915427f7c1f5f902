"""Reads clips, videos or folders of images, by frame number and letterboxed to the network's size."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import av  # noqa: F401  (before decord: whoever comes first binds the FFmpeg symbols of both)
import cv2
import decord
import numpy as np

from streamparts.arrays import ByteArray, FloatArray
from streamparts.errors import VideoError
from streamparts.geometry import Letterbox
from streamparts.sources.folders import IMAGE_SUFFIXES, VIDEO_SUFFIXES, content_of, files_in, folders_below, is_own

from .own_reader import OwnReader, agrees
from .pictures import PictureError, read_rgb


class ClipReader(Protocol):
    """Random access to the frames of a clip, in display order and as displayed: rotation applied."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> ByteArray:
        """(H, W, 3) RGB."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on the clip, a few words each."""


class VideoReader:
    """A video file through decord, which seeks to the frame, applies rotation and returns no timestamps."""

    def __init__(self, path: Path) -> None:
        self._reader = _opened(path)

    def __len__(self) -> int:
        return len(self._reader)

    def __getitem__(self, index: int) -> ByteArray:
        return without_row_padding(self._reader[index].asnumpy())

    @property
    def seconds(self) -> FloatArray:
        """(F,) times of the frames."""
        times: FloatArray = self._reader.get_frame_timestamp(range(len(self)))[:, 0]
        return times

    @property
    def notes(self) -> tuple[str, ...]:
        steps = np.diff(self.seconds)
        varies = len(steps) > 1 and steps.max() > 1.5 * max(float(np.median(steps)), 1e-6)
        return ("variable frame rate",) if varies else ()


class PictureReader:
    """A folder of images of one size; EXIF orientation is applied."""

    notes: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        self._paths = pictures_in(folder)
        self._shape: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> ByteArray:
        try:
            image = read_rgb(self._paths[index])
        except PictureError as error:
            raise VideoError(f"{self._paths[index].name}: {error}") from error
        self._shape = self._shape or image.shape
        if image.shape != self._shape:
            was, now = (f"{width}x{height}" for height, width, _ in (self._shape, image.shape))
            raise VideoError(f"the size changes from {was} to {now} at {self._paths[index].name}")
        return image


def _opened(path: Path) -> decord.VideoReader:
    """Decord accepts only UTF-8 names: a file with another name is opened through a link."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with TemporaryDirectory(prefix="streamparts-") as folder:
            link = Path(folder) / f"clip{path.suffix}"
            link.symlink_to(path.resolve())
            return decord.VideoReader(str(link), num_threads=2)
    return decord.VideoReader(str(path), num_threads=2)


def without_row_padding(image: ByteArray) -> ByteArray:
    """decord2 3.4 returns some narrow images (96 wide, for example) with their row padding as a fourth channel, and its
    get_batch refuses them."""
    height, width, _ = image.shape
    return image.reshape(height, -1)[:, : 3 * width].reshape(height, width, 3)


def open_reader(clip: Path) -> ClipReader:
    """Open a reader: decord's where its frames are those of the runtime, else the runtime's, with a note. Raises
    VideoError, or decord's own errors (see `reason_of`)."""
    if clip.is_dir():
        return PictureReader(clip)
    reader = VideoReader(clip)
    stat = clip.stat()
    key = (clip, stat.st_size, stat.st_mtime_ns)
    if key not in _DECORD_IS_RIGHT:
        _DECORD_IS_RIGHT[key] = is_right(clip, reader)
    return reader if _DECORD_IS_RIGHT[key] else OwnReader(clip)


_DECORD_IS_RIGHT: dict[tuple[Path, int, int], bool] = {}
"""By path, size and time. A forked worker inherits what its parent found: the comparison there crashes in FFmpeg, whose
threads do not survive a fork."""


def is_right(clip: Path, reader: VideoReader) -> bool:
    """True if decord's frames are those of the runtime, or if the runtime cannot read the clip."""
    try:
        return len(reader) < 2 or agrees(clip, reader.seconds, reader.__getitem__)
    except VideoError:
        return True


READING_ERRORS = (RuntimeError, decord.DECORDError, VideoError)
"""Exceptions that opening or reading a clip may raise."""


def reason_of(error: BaseException) -> str:
    """The first line of a reader's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120]


def natural_key(path: Path) -> list[tuple[int, str]]:
    """Sorts frame_2 before frame_10."""
    return [(int(word), "") if word.isdigit() else (-1, word.lower()) for word in re.split(r"(\d+)", path.name)]


def pictures_in(folder: Path) -> list[Path]:
    """Return the images directly in a folder, in natural order."""
    return sorted((p for p in files_in(folder) if p.suffix.lower() in IMAGE_SUFFIXES), key=natural_key)


def find_clips(folder: Path) -> list[Path]:
    """Find all clips in and below `folder`, sorted: videos, and folders whose files are images.
    streamparts.sources.folders decides which files count; images beside a video, and overlays written by streamparts,
    are skipped. Raises VideoError if there is none."""
    if not folder.is_dir():
        raise VideoError(f"{folder} is not a folder of video clips")
    clips: list[Path] = []
    for place in folders_below(folder):
        videos = [p for p in files_in(place) if p.suffix.lower() in VIDEO_SUFFIXES and not is_own(p)]
        clips += videos or ([place] if pictures_in(place) else [])
    if not clips:
        looked = ", ".join(sorted(VIDEO_SUFFIXES))
        raise VideoError(f"no video in {folder} (looked for {looked}, and for folders of images)")
    return sorted(clips)


def left_out(folder: Path) -> list[str]:
    """One line for each kind of media in and below `folder` that `find_clips` leaves out."""
    content = content_of(folder)
    places = {video.parent for video in content.videos}
    beside = tuple(picture for picture in content.pictures if picture.parent in places)
    return [line.removeprefix("skipped ") for line in replace(content, pictures=beside).left_out()]


def letterboxed(image: ByteArray, size: int) -> ByteArray:
    """(H, W, 3) -> (size, size, 3), as the runtime prepares its frames."""
    box = Letterbox.fit(image.shape[:2], (size, size))
    inner = cv2.resize(image, box.inner_hw[::-1], interpolation=cv2.INTER_AREA)
    return box.pad(np.asarray(inner, np.uint8))


@lru_cache(maxsize=16)
def kept_open(clip: Path) -> ClipReader:
    """Return the reader of a clip, which stays open for the next frame."""
    return open_reader(clip)


# Decord's threads do not survive a fork, and a child that uses its parent's reader hangs: release the readers first.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=kept_open.cache_clear)


@dataclass(frozen=True)
class SeekingFrames:
    """Frames of a clip decoded on demand, with the interface of an (F, S, S, 3) array."""

    clip: Path
    image_size: int
    wanted: Sequence[int]
    """(F,) frame numbers in the file."""

    def __len__(self) -> int:
        return len(self.wanted)

    def __getitem__(self, index: int) -> ByteArray:
        return letterboxed(kept_open(self.clip)[self.wanted[index]], self.image_size)


class Frames(Protocol):
    """(F, S, S, 3) RGB frames, letterboxed to the network's size: a memory-mapped array, or SeekingFrames."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> ByteArray: ...
