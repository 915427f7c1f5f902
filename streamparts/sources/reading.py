"""A source as a run reads it: opened, trimmed and, on request, without damaged frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from streamparts.sources import open_source
from streamparts.sources.base import MAX_PIXELS, OpenedSource, details
from streamparts.sources.kinds import may_lack_times
from streamparts.sources.login import read_login, with_login
from streamparts.sources.trim import trimmed, without_damaged


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Options for reading each source. Fields without a description are those of open_source."""

    start: float | None = None
    """Start time in the video, in seconds."""
    end: float | None = None
    """End time in the video, in seconds."""
    every: int = 1
    """Use every N-th frame."""
    damaged: str = "keep"
    """Damaged frames: "keep" or "drop"."""
    fps: Fraction | None = None
    fps_for_all: bool = False
    """Apply `fps` also to sources with timestamps, which then refuse it."""
    idle_seconds: float | None = None
    max_retries: int | None = None
    hwaccel: str = "none"
    insecure: bool = False
    max_pixels: int = MAX_PIXELS
    login: str | None = None
    """Location of user and password for addresses without them, see read_login."""


READING = Reading()
"""Default: all frames, decoded in software."""


def open_reading(word: str | Path, reading: Reading, say: Callable[[str], object] | None = None) -> OpenedSource:
    """Open `word`. `say` receives lines about estimated times or the decoder. Raises VideoError."""
    wants_fps = reading.fps is not None and (reading.fps_for_all or may_lack_times(word))
    if reading.login is not None and isinstance(word, str):
        word = with_login(word, read_login(reading.login))
    source = open_source(
        word,
        fps=reading.fps if wants_fps else None,
        idle_seconds=reading.idle_seconds,
        max_retries=reading.max_retries,
        hwaccel=reading.hwaccel,
        insecure=reading.insecure,
        max_pixels=reading.max_pixels,
    )
    try:
        if say:
            for line in (source.description,) if reading.hwaccel != "none" else details(source).notes:
                say(f"{source.name}: {line}")
        if reading.start is not None or reading.end is not None or reading.every > 1:
            source = trimmed(source, reading.start, reading.end, reading.every)
        return without_damaged(source) if reading.damaged == "drop" else source
    except BaseException:
        source.close()
        raise
