"""The overlay video: the source's pictures and timestamps, with the parts drawn in."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from streamparts.data import Frame, Tracks
from streamparts.errors import VideoError
from streamparts.meter import StageClock
from streamparts.rescale import Rescaler
from streamparts.sinks.drawing import draw_tracks
from streamparts.sinks.mp4 import Mp4Writer

FALLBACK_RATE = Fraction(30)
"""Announced to players where the source's rate is unknown."""

LATEST_START_SECONDS = 10
"""A source that starts later (a recording of a stream that had run for hours) has its overlay start at 0, because
players would show nothing until then. All other overlays keep the source's timestamps."""


class OverlaySink:
    """Draws each frame's tracks on the frame and writes an mp4 file. See Mp4Writer for its properties."""

    def __init__(self, path: str | Path, rate: Fraction | None = None, clock: StageClock | None = None) -> None:
        """Creates, or empties, the file. `rate` as announced by the source. Raises VideoError."""
        self.path = Path(path)
        self._rate = rate or FALLBACK_RATE
        self._clock = clock or StageClock()
        self._rescaler = Rescaler()
        self._writer: Mp4Writer | None = None
        self._shift = 0
        try:
            self.path.open("wb").close()
        except OSError as error:
            raise VideoError(f"{self.path}: cannot be written ({error.strerror})") from error

    def write(self, tracks: Tracks) -> None:
        """Draw and encode one frame. Raises VideoError when writing fails."""
        with self._clock.time("draw"):
            canvas = self._rescaler.rgb(tracks.frame).copy()
            draw_tracks(canvas, tracks)
        with self._clock.time("encode"):
            writer = self._writer = self._writer or self._open(tracks.frame)
            writer.write(canvas, tracks.frame.pts - self._shift)

    def close(self) -> None:
        """Finish the file; killed before this, it is playable up to the last half second."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _open(self, first: Frame) -> Mp4Writer:
        self._shift = first.pts if first.pts_seconds > LATEST_START_SECONDS else 0
        size_hw = (first.height, first.width)
        return Mp4Writer(self.path, size_hw, first.time_base, self._rate, first.pts - self._shift)
