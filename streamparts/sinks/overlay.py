"""The overlay video: the source's pictures and timestamps, with the parts drawn in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from av import VideoFrame

from streamparts.data import Tracks
from streamparts.errors import VideoError
from streamparts.meter import StageClock
from streamparts.rescale import Rescaler
from streamparts.sinks.background import BackgroundSink
from streamparts.sinks.canvas import yuv_canvas
from streamparts.sinks.drawing import draw_tracks
from streamparts.sinks.mp4 import Mp4Writer

FALLBACK_RATE = Fraction(30)
"""Announced to players where the source's rate is unknown."""

LATEST_START_SECONDS = 10
"""A source that starts later (a recording of a stream that had run for hours) has its overlay start at 0, because
players would show nothing until then. All other overlays keep the source's timestamps."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A frame with its parts drawn in."""

    tracks: Tracks
    picture: VideoFrame
    """yuv420p, as displayed."""


class OverlaySink:
    """Draws each frame's tracks on the frame and writes an mp4 file. See Mp4Writer for its properties.

    Encoding has a thread of its own, so that it overlaps with drawing: its errors come with a later `write`, or with
    `close`.
    """

    def __init__(
        self,
        path: str | Path,
        rate: Fraction | None = None,
        clock: StageClock | None = None,
        written: Callable[[Tracks], None] | None = None,
    ) -> None:
        """Creates, or empties, the file. `rate` as announced by the source; `written` is called after each frame.

        Raises VideoError.
        """
        self.path = Path(path)
        self._clock = clock or StageClock()
        self._rescaler = Rescaler()
        try:
            self.path.open("wb").close()
        except OSError as error:
            raise VideoError(f"{self.path}: cannot be written ({error.strerror})") from error
        encoder = _Encoder(self.path, rate or FALLBACK_RATE, self._clock)
        self._encoder = BackgroundSink(encoder, written=written and (lambda drawn: written(drawn.tracks)))

    def write(self, tracks: Tracks) -> None:
        """Draw one frame and hand it to the encoder. Raises VideoError when writing has failed."""
        with self._clock.time("draw"):
            picture = self._rescaler.yuv(tracks.frame)
            draw_tracks(yuv_canvas(picture), tracks)
        self._encoder.write(Drawn(tracks, picture))

    def close(self) -> None:
        """Finish the file; killed before this, it is playable up to the last half second."""
        self._encoder.close()


class _Encoder:
    """The sink behind the sink: pictures to the file, which begins with the first of them."""

    def __init__(self, path: Path, rate: Fraction, clock: StageClock) -> None:
        self._path, self._rate, self._clock = path, rate, clock
        self._writer: Mp4Writer | None = None
        self._shift = 0

    def write(self, drawn: Drawn) -> None:
        with self._clock.time("encode"):
            writer = self._writer = self._writer or self._open(drawn)
            writer.write(drawn.picture, drawn.tracks.frame.pts - self._shift)

    def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _open(self, drawn: Drawn) -> Mp4Writer:
        first = drawn.tracks.frame
        self._shift = first.pts if first.pts_seconds > LATEST_START_SECONDS else 0
        return Mp4Writer(self._path, drawn.picture, first.time_base, self._rate, first.pts - self._shift)
