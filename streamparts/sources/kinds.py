"""The table of source kinds: pattern, matching words, and opener."""

from __future__ import annotations

import glob
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from streamparts.errors import VideoError
from streamparts.sources.base import MAX_PIXELS, OpenedSource
from streamparts.sources.devices import CAMERA, DEVICE, SCREEN, open_device
from streamparts.sources.files import FileSource
from streamparts.sources.folders import IMAGE_SUFFIXES, RAW_SUFFIXES
from streamparts.sources.generated import open_pattern
from streamparts.sources.gpu_files import GpuFileSource
from streamparts.sources.network import ADDRESS, open_address
from streamparts.sources.pictures import NUMBERED, open_numbered, open_picture_list, open_pictures
from streamparts.sources.pipe import PipeSource
from streamparts.sources.words import is_sequence, matching

ON_GPU = "gpu"
"""The decoder that leaves frames in an NVIDIA GPU's memory."""
Kind = Literal["pipe", "pattern", "device", "address", "folder", "picture", "file", "numbered", "glob"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options for opening sources; each kind uses those that apply. See open_source."""

    rate: Fraction | None = None
    idle_seconds: float | None = None
    max_retries: int | None = None
    hwaccel: str = "none"
    insecure: bool = False
    max_pixels: int = MAX_PIXELS


@dataclass(frozen=True, slots=True)
class SourceKind:
    """A row of SOURCE_KINDS."""

    name: Kind
    written: str
    """Pattern for error messages."""
    fits: Callable[[str], bool]
    """True if a word is of this kind, given that no earlier row matches."""
    open: Callable[[str, Options], OpenedSource]
    live: bool = False
    """True if it may be lost and come back."""
    timed: bool = False
    """True if it has timestamps, except raw video."""


def _open_pipe(word: str, options: Options) -> OpenedSource:
    return PipeSource(rate=options.rate, max_pixels=options.max_pixels)


def _is_device(word: str) -> bool:
    """/dev/video0 is a device even if it does not exist, but not if it is a file."""
    if CAMERA.fullmatch(word) or SCREEN.fullmatch(word):
        return True
    return DEVICE.fullmatch(word) is not None and (not Path(word).exists() or Path(word).is_char_device())


def _open_device(word: str, options: Options) -> OpenedSource:
    return open_device(word, idle_seconds=options.idle_seconds, max_retries=options.max_retries)


def _open_address(word: str, options: Options) -> OpenedSource:
    return open_address(
        word,
        idle_seconds=options.idle_seconds,
        max_retries=options.max_retries,
        frame_rate=options.rate,
        insecure=options.insecure,
        max_pixels=options.max_pixels,
    )


def _open_folder(word: str, options: Options) -> OpenedSource:
    if not is_sequence(Path(word)):
        raise VideoError(f"{word}: is a folder with more than images; name a video in it")
    return open_pictures(Path(word), options.rate, options.max_pixels)


def _is_picture_name(word: str) -> bool:
    return Path(word).suffix.lower() in IMAGE_SUFFIXES


def _is_there(word: str) -> bool:
    return Path(word).exists() and not Path(word).is_char_device()


def _open_picture(word: str, options: Options) -> OpenedSource:
    return open_picture_list([Path(word)], Path(word).name, options.rate, options.max_pixels)


def _open_file(word: str, options: Options) -> OpenedSource:
    if options.hwaccel == ON_GPU:
        return GpuFileSource(word, options.rate, options.max_pixels)
    return FileSource(word, options.hwaccel, options.rate, options.max_pixels)


def _open_numbered(word: str, options: Options) -> OpenedSource:
    return open_numbered(word, options.rate, options.max_pixels)


def _open_glob(word: str, options: Options) -> OpenedSource:
    """Images together are one source; a glob may match a single video."""
    paths = matching(word)
    if not paths:
        raise VideoError(f"{word}: no file has such a name")
    if all(path.suffix.lower() in IMAGE_SUFFIXES for path in paths):
        return open_picture_list(paths, Path(word).name, options.rate, options.max_pixels)
    if len(paths) == 1:
        return open_path(paths[0], options)
    raise VideoError(f"{word}: matches {len(paths)} files, which are not one source; open them one by one")


SOURCE_KINDS = (
    SourceKind("pipe", "- for a stream on standard input", lambda word: word == "-", _open_pipe),
    SourceKind(
        "pattern",
        "test://",
        lambda word: word.lower().startswith("test://"),
        lambda word, options: open_pattern(word),
        timed=True,
    ),
    SourceKind("device", "webcam, webcam:1, /dev/video0, screen", _is_device, _open_device, live=True, timed=True),
    SourceKind(
        "address",
        "an address (rtsp://, rtmp://, http://, udp://, tcp://)",
        lambda word: ADDRESS.match(word) is not None,
        _open_address,
        live=True,
    ),
    SourceKind("folder", "a folder of images", lambda word: Path(word).is_dir(), _open_folder),
    SourceKind("picture", "an image", lambda word: _is_there(word) and _is_picture_name(word), _open_picture),
    SourceKind("file", "a video file", _is_there, _open_file, timed=True),
    SourceKind(
        "numbered",
        "frame_%04d.png",
        lambda word: NUMBERED.search(Path(word).name) is not None and _is_picture_name(word),
        _open_numbered,
    ),
    SourceKind("glob", "a glob of images", glob.has_magic, _open_glob),
)
"""The first row that matches a word is used."""
_BY_NAME = {kind.name: kind for kind in SOURCE_KINDS}


def kind_of(word: str) -> SourceKind:
    """Return the kind of `word`. Raises VideoError if it cannot be opened."""
    for kind in SOURCE_KINDS:
        if kind.fits(word):
            return kind
    path = Path(word)
    *most, last = (kind.written for kind in reversed(SOURCE_KINDS))
    hint = "" if path.suffix or path.parent != Path() else f"; a source is {', '.join(most)}, or {last}"
    raise VideoError(f"{word}: no such file{hint}")


def open_path(path: Path, options: Options) -> OpenedSource:
    """Open a file or a folder, even if its name is a word with another meaning."""
    name: Kind = "folder" if path.is_dir() else "picture" if _is_picture_name(str(path)) else "file"
    return _BY_NAME[name].open(str(path), options)


def may_be_live(word: str) -> bool:
    """True if it may be lost and come back."""
    return kind_of(word).live


def may_lack_times(word: str | Path) -> bool:
    """True if a frame rate may apply: images, raw video, and sources without a telling name."""
    if isinstance(word, Path):
        return word.is_dir() or word.suffix.lower() in RAW_SUFFIXES | IMAGE_SUFFIXES
    return not kind_of(word).timed or Path(word).suffix.lower() in RAW_SUFFIXES
