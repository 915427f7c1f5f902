"""Image files as a video: a folder, a numbered pattern, a glob."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
from av import VideoFrame

from streamparts.data import Frame
from streamparts.errors import VideoError
from streamparts.sources.base import BROKEN, FALLBACK_RATE, MAX_PIXELS, Closing, FrameTimes, quarter_turns
from streamparts.sources.container import ticks_at
from streamparts.sources.ffmpeg_log import messages, size_refused
from streamparts.sources.folders import IMAGE_SUFFIXES, files_in
from streamparts.sources.levels import levels_note
from streamparts.sources.shares import Limit
from streamparts.texts import readable

NUMBERED = re.compile(r"%0?(\d*)d")


class PictureSource(Closing):
    """Images in order, `rate` per second: image n has exactly the time n / rate.

    An unreadable image is skipped and counted in `decode_errors`; its time passes. An image of another size starts a
    new segment. Transparency is ignored.
    """

    live = False

    def __init__(
        self,
        pictures: Iterable[tuple[int, Path]],
        name: str,
        rate: Fraction | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        """`pictures` are (position, file) with increasing positions. Raises VideoError unless one can be read."""
        self.name = readable(name)
        self.rate: Fraction | None = rate or FALLBACK_RATE
        self.time_base = 1 / (rate or FALLBACK_RATE)
        self.decode_errors = 0
        self._pictures, self._limit = list(pictures), Limit(max_pixels)
        self.num_frames = len(self._pictures)
        self._timeline = FrameTimes(self.time_base, self.rate)
        self._closed = False
        first = next((image for _, path in self._pictures if (image := _read(path, self._limit)) is not None), None)
        if first is None:
            raise VideoError(
                f"{name}: no image could be read; the files are empty, damaged or of another type, or have more than"
                f" {max_pixels} pixels (--max-pixels)"
            )
        self.notes: tuple[str, ...] = tuple(filter(None, [levels_note(first)]))
        width, height = first.width, first.height
        self.width, self.height = (width, height) if quarter_turns(first) % 180 == 0 else (height, width)
        rate_text = f"{float(rate or FALLBACK_RATE):.4g} fps"
        self.description = f"{self.width}x{self.height} images, {rate_text}, {self.num_frames} frames"
        self.description = ", ".join([self.description, *self.notes])

    @property
    def repaired_times(self) -> int:
        return self._timeline.repaired_times

    def start_at(self, seconds: float) -> None:
        """Begin with the first image at or after `seconds`. Raises VideoError without one."""
        first = ticks_at(seconds, self.time_base)
        left = [(position, path) for position, path in self._pictures if position >= first]
        if not left:
            raise VideoError(f"{self.name}: has no image at or after {seconds:g} s; start earlier")
        self._timeline.index = len(self._pictures) - len(left)
        self._pictures = left

    def close(self) -> None:
        self._closed = True

    def __iter__(self) -> Iterator[Frame]:
        pictures, self._pictures = self._pictures, []
        if not pictures:
            raise ValueError(f"{self.name} was already read; open it again to read it again")
        return self._frames(pictures)

    def _frames(self, pictures: list[tuple[int, Path]]) -> Iterator[Frame]:
        for position, path in pictures:
            if self._closed:
                return
            image = _read(path, self._limit)
            if image is None:
                self.decode_errors += 1
            else:
                yield self._timeline.frame(image, position, time.perf_counter(), ahead=())


def open_pictures(folder: Path, rate: Fraction | None = None, max_pixels: int = MAX_PIXELS) -> PictureSource:
    """All images directly in a folder; picture2 comes before picture10. Raises VideoError."""
    return PictureSource(enumerate(pictures_in(folder)), folder.name or str(folder), rate, max_pixels)


def open_picture_list(
    paths: Iterable[Path], name: str, rate: Fraction | None = None, max_pixels: int = MAX_PIXELS
) -> PictureSource:
    """These images, sorted with numbers in their names as numbers. Raises VideoError."""
    return PictureSource(enumerate(sorted(paths, key=natural_order)), name, rate, max_pixels)


def open_numbered(pattern: str, rate: Fraction | None = None, max_pixels: int = MAX_PIXELS) -> PictureSource:
    """`frame_%04d.png`: every matching file, in the order of the numbers; a missing number leaves its time empty.
    Raises VideoError."""
    folder, name = Path(pattern).parent, Path(pattern).name
    place = NUMBERED.search(name)
    if place is None or len(NUMBERED.findall(name)) != 1:
        raise VideoError(f"{pattern}: a numbered sequence has one number in the file name, as in frame_%04d.png")
    before, after = re.escape(name[: place.start()]), re.escape(name[place.end() :])
    fits = re.compile(f"{before}(\\d{{{place[1] or 1},}}){after}")
    found = sorted((int(m[1]), path) for path in files_in(folder) if (m := fits.fullmatch(path.name)))
    if not found:
        raise VideoError(f"{pattern}: no such images in {folder}")
    return PictureSource([(number - found[0][0], path) for number, path in found], name, rate, max_pixels)


def pictures_in(folder: Path) -> list[Path]:
    return sorted((path for path in files_in(folder) if path.suffix.lower() in IMAGE_SUFFIXES), key=natural_order)


def natural_order(path: Path) -> tuple[str, list[tuple[int, str]]]:
    """Sort key that treats numbers in file names as numbers."""
    pieces = re.split(r"(\d+)", path.name)
    return str(path.parent), [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in pieces]


def _read(path: Path, limit: Limit) -> VideoFrame | None:
    """None if it cannot be displayed. One that is larger than the source's share waits for a larger share."""
    with messages() as said:
        image = _decoded(path, limit.pixels)
    width, height = size_refused(said) or (0, 0)
    if image is None and limit.can_grow(width * height):
        limit.wait_for(width * height)
        return _decoded(path, limit.pixels)
    return image


def _decoded(path: Path, max_pixels: int) -> VideoFrame | None:
    """None if it cannot be displayed. Opening it as a byte stream means that a % in its name is no pattern, and that
    its content, not its suffix, determines the format."""
    try:
        options = {"max_pixels": str(max_pixels)}
        with path.open("rb") as file, av.open(file, mode="r", options=options) as container:
            codec = container.streams.video[0].codec_context
            if codec is None:  # without a decoder for it
                return None
            codec.options = options
            return next(container.decode(video=0), None)
    except (*BROKEN, IndexError):
        return None
