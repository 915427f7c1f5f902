"""Sources of frames: one word, or a path, opens any of them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from streamparts.sources.base import MAX_PIXELS, OpenedSource, Source
from streamparts.sources.files import FileSource
from streamparts.sources.folders import IMAGE_SUFFIXES, VIDEO_SUFFIXES, find_videos
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
    """Open the source `word`; close it, or use it in a `with` block.

    A Path is always a file or a folder. A word is webcam, webcam:1, /dev/video2, screen; a video file, an image; a
    folder, a glob or a numbered pattern (frame_%04d.png) of images; an rtsp, rtmp, http, hls, udp, tcp or other
    address; - for standard input; or test:// with its options. See docs/sources.md.

    Args:
        word: the source.
        fps: frame rate of image sequences (25), and of video without timestamps, such as raw H.264.
        idle_seconds: a live source is lost after this many seconds without a frame (5; HLS 30), and is reopened.
        max_retries: reconnection attempts in a row; None is unlimited.
        hwaccel: hardware decoder, one of hwdecode.CHOICES, whose frames are copied to memory, or "gpu", whose frames
            stay in an NVIDIA GPU's; if it cannot decode the file, software does, and the source's description gives
            the reason.
        insecure: do not verify certificates of encrypted addresses, for self-signed cameras.
        max_pixels: larger images are not decoded, because a few bytes can declare any size.

    Raises VideoError if no frame can be read: at once, or within 10 s for connections. Also raises it for an `fps` if
    the video has timestamps.
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
