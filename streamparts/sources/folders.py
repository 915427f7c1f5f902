"""Selects the files of a folder: one rule for runs, corpora, training and maps.

Excluded are hidden files and folders (macOS's ._x.png, .ipynb_checkpoints), system files beside images (Thumbs.db), and
streamparts' own overlays. Links to folders are followed, each folder once.
"""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from streamparts.errors import VideoError

VIDEO_SUFFIXES = {
    *(".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".gif", ".mts", ".m2ts", ".wmv", ".asf"),
    *(".flv", ".3gp", ".3g2", ".mxf", ".vob", ".dv", ".ogv", ".m2v", ".m1v"),
    *(".y4m", ".f4v", ".qt", ".divx", ".ivf", ".nut", ".mj2", ".m2p"),
    *(".h264", ".264", ".h265", ".265", ".hevc", ".mjpeg", ".mjpg"),
}
"""Extensions of videos in folders."""
RAW_SUFFIXES = {".h264", ".264", ".h265", ".265", ".hevc", ".mjpeg", ".mjpg", ".m2v", ".m1v"}
"""Extensions of video without a container, and so without timestamps."""
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".jp2"}
OTHER_MEDIA = {
    *(".exr", ".dpx", ".hdr", ".heic", ".heif", ".avif", ".jxl", ".apng", ".tga", ".pbm", ".pnm", ".jpe", ".jfif"),
    *(".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".psd", ".svg"),
    *(".braw", ".r3d", ".cine", ".seq", ".rm", ".rmvb", ".swf", ".insv", ".mod", ".tod", ".amv", ".mpv", ".wtv"),
    *(".m4s", ".h266", ".266", ".vvc", ".av1", ".obu", ".part", ".crdownload"),
}
"""Extensions of images and videos that are not read from folders; users may expect them, so they are reported, as are
all others that the system's MIME types list as images or videos."""

OWN_MARK = "streamparts overlay"
"""Marker in the comment of every overlay."""

_SYSTEMS = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "system volume information"}
_OVERLAY = re.compile(r"(?P<stem>.*)\.overlay(?:\.\d{3,})?\.mp4", re.IGNORECASE | re.DOTALL)


def is_hidden(name: str) -> bool:
    """True for a hidden name."""
    return name.startswith(".") or name.lower() in _SYSTEMS


def files_in(folder: Path) -> list[Path]:
    """Files directly in a folder, sorted; empty if there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not is_hidden(path.name) and path.is_file())


def folders_below(folder: Path) -> Iterator[Path]:
    """The folder itself and those below it, sorted, including linked ones."""
    seen = set[str]()
    for place, names, _ in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            names.clear()
            continue
        seen.add(real)
        names[:] = sorted(name for name in names if not is_hidden(name))
        yield Path(place)


def files_below(folder: Path) -> Iterator[Path]:
    """All files in a folder and below it."""
    return (path for place in folders_below(folder) for path in files_in(place))


@dataclass(frozen=True, slots=True)
class Content:
    """The media in and below a folder."""

    videos: tuple[Path, ...]
    pictures: tuple[Path, ...]
    own: tuple[Path, ...]
    """Our own overlays, which are not tracked."""
    others: tuple[Path, ...]
    """Media of unsupported kinds."""

    def left_out(self, sequence: Path | None = None) -> list[str]:
        """One line for each skipped kind. Images directly in the folder `sequence` are taken."""
        pictures = tuple(path for path in self.pictures if path.parent != sequence)
        kinds = (
            (self.own, "overlays written by streamparts"),
            (pictures, "images in folders below" if sequence else "images beside videos"),
            (self.others, "files of kinds that are not read from folders"),
        )
        return [f"skipped {what}: {_some(files)}" for files, what in kinds if files]


def content_of(folder: Path) -> Content:
    """Media in and below a folder. Raises VideoError if it is no folder."""
    if not folder.is_dir():
        raise VideoError(f"{folder} is not a folder of video clips")
    videos, pictures, own, others = list[Path](), list[Path](), list[Path](), list[Path]()
    for path in files_below(folder):
        suffix = path.suffix.lower()
        if suffix in VIDEO_SUFFIXES:
            (own if is_own(path) else videos).append(path)
        elif suffix in IMAGE_SUFFIXES:
            pictures.append(path)
        elif suffix in OTHER_MEDIA or _is_medium(suffix):
            others.append(path)
    return Content(tuple(sorted(videos)), tuple(sorted(pictures)), tuple(own), tuple(others))


def _is_medium(suffix: str) -> bool:
    """True for an extension that the system's MIME types list as one of images or videos."""
    return (mimetypes.guess_type(f"x{suffix}")[0] or "").startswith(("image/", "video/"))


def is_own(path: Path) -> bool:
    """True for an overlay written by streamparts: marked in its comment, or with its tracks beside it."""
    if path.suffix.lower() != ".mp4":
        return False
    beside = tracks_beside(str(path))
    if beside is not None and Path(beside).exists():
        return True
    try:
        return OWN_MARK.encode() in _index(path)
    except OSError:
        return False


def tracks_beside(path: str) -> str | None:
    """The tracks that a run writes beside an overlay of this name; None if no overlay has such a name."""
    named = _OVERLAY.fullmatch(path)
    return f"{named['stem']}.tracks.jsonl" if named else None


def _index(path: Path) -> bytes:
    """The mp4 box that contains the comment; empty without one. Raises OSError."""
    with path.open("rb") as file:
        while len(head := file.read(8)) == 8:
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            skipped = 8
            if length == 1:
                length, skipped = int.from_bytes(file.read(8), "big"), 16
            if length < skipped:
                break
            if kind == b"moov":
                return file.read(min(length, 1 << 24))
            file.seek(length - skipped, os.SEEK_CUR)
    return b""


def _some(files: tuple[Path, ...]) -> str:
    names = ", ".join(path.name for path in files[:3])
    return f"{len(files)} ({names}{', ...' if len(files) > 3 else ''})"


def find_videos(folder: Path) -> list[Path]:
    """Return all videos in and below `folder`, sorted, except our own overlays, see folders.py. Raises VideoError
    without any."""
    content = content_of(folder)
    if not content.videos:
        own = f", except {len(content.own)} written by streamparts" if content.own else ""
        others = f"; not read: {_some(content.others)}" if content.others else ""
        raise VideoError(f"no video in {folder}{own} (looked for {', '.join(sorted(VIDEO_SUFFIXES))}){others}")
    return list(content.videos)
