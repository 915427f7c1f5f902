"""Where frames come from: one word, or path, opens any source."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from streamparts.errors import VideoError
from streamparts.sources.base import MAX_PIXELS, OpenedSource, Source
from streamparts.sources.devices import open_device
from streamparts.sources.files import FileSource, find_videos
from streamparts.sources.folders import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from streamparts.sources.generated import open_pattern
from streamparts.sources.login import read_login, with_login
from streamparts.sources.network import open_address
from streamparts.sources.pictures import open_numbered, open_picture_list, open_pictures
from streamparts.sources.pipe import PipeSource
from streamparts.sources.redact import redact
from streamparts.sources.trim import parse_seconds, trimmed, without_damaged
from streamparts.sources.words import expand_sources, is_sequence, kind_of, matching, output_stem, output_stems

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "FileSource",
    "OpenedSource",
    "Source",
    "expand_sources",
    "find_videos",
    "open_source",
    "output_stem",
    "output_stems",
    "parse_seconds",
    "read_login",
    "redact",
    "trimmed",
    "with_login",
    "without_damaged",
]


def open_source(
    word: str | Path,
    *,
    fps: Fraction | float | None = None,
    idle_seconds: float | None = None,
    max_retries: int | None = None,
    hwaccel: str = "none",
    insecure: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> OpenedSource:
    """Open whatever `word` stands for; close it, or use it in a `with` block. A Path is always a file or a folder.

    webcam, webcam:1, /dev/video2, screen; a video file, a picture; a folder, a glob or a numbered pattern
    (frame_%04d.png) of pictures; rtsp, rtmp, http, hls, udp, tcp and other addresses; - for standard input; test://
    with its options. docs/sources.md says more. `fps` is how many pictures of a sequence make a second (25), and how
    many frames of what states no times, such as raw H.264; a live source counts as lost after `idle_seconds` without a
    frame (5; HLS 30) and is opened again until `max_retries` attempts in a row have failed (None: without end).
    `hwaccel` is what decodes a file, one of hwdecode.CHOICES: where it cannot, software does, and the source's
    description says why. `insecure` reads encrypted addresses without asking whose certificate it is, for cameras with
    one of their own. Pictures of more than `max_pixels` are not decoded: it takes a few bytes to claim any size.

    Raises VideoError, at once or within 10 s for what must be connected to, when not one frame can be had, and for an
    `fps` where the video states its times.
    """
    if (fps is not None and not fps > 0) or (idle_seconds is not None and not idle_seconds > 0):
        raise ValueError(f"fps and idle_seconds must be positive, got {fps} and {idle_seconds}")
    rate = None if fps is None else Fraction(fps).limit_denominator(1001)
    if isinstance(word, Path):
        kind = "folder" if word.is_dir() else "picture" if word.suffix.lower() in IMAGE_SUFFIXES else "file"
    else:
        kind = kind_of(word)
    match kind:
        case "pipe":
            return PipeSource(rate=rate, max_pixels=max_pixels)
        case "pattern":
            return open_pattern(str(word))
        case "device":
            return open_device(str(word), idle_seconds=idle_seconds, max_retries=max_retries)
        case "address":
            return open_address(
                str(word),
                idle_seconds=idle_seconds,
                max_retries=max_retries,
                frame_rate=rate,
                insecure=insecure,
                max_pixels=max_pixels,
            )
        case "numbered":
            return open_numbered(str(word), rate, max_pixels)
        case "picture":
            return open_picture_list([Path(word)], Path(word).name, rate, max_pixels)
        case "folder" | "glob":
            return _open_several(str(word), rate, hwaccel, max_pixels)
        case _:
            return FileSource(word, hwaccel, rate, max_pixels)


def _open_several(word: str, rate: Fraction | None, hwaccel: str, max_pixels: int) -> OpenedSource:
    """Pictures together are one source; of videos there may be one."""
    if Path(word).is_dir():
        if is_sequence(Path(word)):
            return open_pictures(Path(word), rate, max_pixels)
        raise VideoError(f"{word}: is a folder, and not one of pictures alone; name a video in it")
    paths = matching(word)
    if not paths:
        raise VideoError(f"{word}: no file has a name like that")
    if all(path.suffix.lower() in IMAGE_SUFFIXES for path in paths):
        return open_picture_list(paths, Path(word).name, rate, max_pixels)
    if len(paths) == 1:
        return open_source(paths[0], fps=rate, hwaccel=hwaccel, max_pixels=max_pixels)
    raise VideoError(f"{word}: matches {len(paths)} files, which are not one source; open them one by one")
