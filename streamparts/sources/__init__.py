"""Where frames come from: one word, or path, opens any source."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from streamparts.sources.base import MAX_PIXELS, OpenedSource, Source
from streamparts.sources.files import FileSource, find_videos
from streamparts.sources.folders import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from streamparts.sources.kinds import Options, kind_of, open_path
from streamparts.sources.login import read_login, with_login
from streamparts.sources.redact import redact
from streamparts.sources.trim import parse_seconds, trimmed, without_damaged
from streamparts.sources.words import expand_sources, output_stem, output_stems

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
    options = Options(
        rate=rate,
        idle_seconds=idle_seconds,
        max_retries=max_retries,
        hwaccel=hwaccel,
        insecure=insecure,
        max_pixels=max_pixels,
    )
    return open_path(word, options) if isinstance(word, Path) else kind_of(word).open(word, options)
