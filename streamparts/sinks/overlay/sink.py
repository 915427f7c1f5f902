"""Writes the overlay video: the source's frames, times and audio, with the parts drawn in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from av import VideoFrame

from streamparts.data import Tracks
from streamparts.errors import VideoError
from streamparts.meter import StageClock, picture_bytes
from streamparts.sinks.background import BackgroundSink
from streamparts.sinks.overlay.audio import AudioReader, open_audio
from streamparts.sinks.overlay.canvas import doubled, yuv_canvas
from streamparts.sinks.overlay.drawing import Painter
from streamparts.sinks.overlay.encoders import AUTO, Encoder, choose_encoder
from streamparts.sinks.overlay.followers import following_names
from streamparts.sinks.overlay.mp4 import Mp4Writer, check_size
from streamparts.sinks.overlay.style import DEFAULT_STYLE, OverlayStyle
from streamparts.sources.rescale import Rescaler
from streamparts.sources.sameness import middle_row
from streamparts.tracksfile.timeline import OverlayTimes

FALLBACK_RATE = Fraction(30)
"""Nominal frame rate if the source's is unknown."""

LATEST_START_SECONDS = 10
"""If a source starts later (a recording of a stream that had run for hours), its overlay starts at 0, because players
would otherwise show nothing until then. All other overlays keep the source's timestamps."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A frame with its parts drawn in."""

    tracks: Tracks
    picture: VideoFrame
    """yuv420p, as displayed."""


class OverlaySink:
    """Draws each frame's tracks on the frame and writes an mp4 file, see Mp4Writer for its properties.

    After a change of frame size, it continues in another file: dance.mp4, dance.001.mp4, ... A separate thread encodes,
    in parallel with drawing: its errors are raised by a later `write`, or by `close`.
    """

    def __init__(
        self,
        path: str | Path,
        rate: Fraction | None = None,
        clock: StageClock | None = None,
        written: Callable[[Tracks], None] | None = None,
        *,
        style: OverlayStyle = DEFAULT_STYLE,
        encoder: str = AUTO,
        audio: str | Path | None = None,
        start_seconds: float | None = None,
        replace: bool = False,
        resume: bool = False,
        endless: bool = False,
        pixel_aspect: Fraction = Fraction(1),
    ) -> None:
        """Creates, or truncates, the file. `rate` is the source's nominal frame rate; `written` is called after each
        frame.

        `audio` is the file whose audio is copied, from `start_seconds`. `replace`: continuations may replace existing
        files. `resume`: if `path` exists, everything goes into continuations. `endless` and `pixel_aspect`: see
        Mp4Writer. Raises VideoError.
        """
        following = following_names(Path(path), replace and not resume)
        self.path = next(following) if resume and Path(path).exists() else Path(path)
        self._clock = clock or StageClock()
        self._rescaler = Rescaler()
        self._painter = Painter(style)
        self._last: Drawn | None = None
        """The last frame, kept if its middle row was that of the frame before: two images are large."""
        self._row: bytes | None = None
        """Middle row of the last frame."""
        chosen = choose_encoder(encoder)
        try:
            self.path.open("wb").close()
        except OSError as error:
            raise VideoError(f"{self.path}: cannot be written ({error.strerror})") from error
        sound, note = open_audio(audio, start_seconds) if audio is not None else (None, None)
        self._files = _Files(
            self.path, chosen, rate or FALLBACK_RATE, self._clock, sound, following, endless, pixel_aspect
        )
        if self.path != Path(path):
            self._files.notes.append(
                f"the overlay continues in {self.path}, because a finished video cannot be extended"
            )
        if note:
            self._files.notes.append(note)
        self._encoder = BackgroundSink(
            self._files,
            written=written and (lambda drawn: written(drawn.tracks)),
            weigh=lambda drawn: picture_bytes(drawn.tracks.frame),
        )

    @property
    def paths(self) -> tuple[Path, ...]:
        """Files written, in order."""
        return tuple(self._files.paths)

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks about the files, in sentences."""
        return tuple(self._files.notes)

    def write(self, tracks: Tracks) -> None:
        """Draw one frame and pass it to the encoder. Raises VideoError if writing has failed."""
        with self._clock.time("draw"):
            last, before, self._row = self._last, self._row, middle_row(tracks.frame)
            if last is not None and self._painter.would_repeat(last.tracks, tracks):
                drawn = Drawn(tracks, last.picture)
            else:
                drawn = Drawn(tracks, self._drawn(tracks))
            self._last = drawn if self._row is not None and self._row == before else None
        self._encoder.write(drawn)

    def _drawn(self, tracks: Tracks) -> VideoFrame:
        sides = 2 if self._painter.style.side_by_side else 1
        check_size(self._files.paths[-1], sides * tracks.frame.width, tracks.frame.height)
        picture = self._rescaler.yuv(tracks.frame)
        left = picture.width if self._painter.style.side_by_side else 0
        picture = doubled(picture) if left else picture
        self._painter.paint(yuv_canvas(picture, left), tracks)
        return picture

    def close(self) -> None:
        """Finish the file; if killed before, it is playable up to the last half second."""
        self._last = None  # a run of many files keeps the sinks of those that are done
        self._encoder.close()


class _Files:
    """The sink behind the queue: writes images to a file, opened for the first one, and to its continuations."""

    def __init__(
        self,
        path: Path,
        encoder: Encoder,
        rate: Fraction,
        clock: StageClock,
        sound: AudioReader | None,
        following: Iterator[Path],
        endless: bool,
        pixel_aspect: Fraction,
    ) -> None:
        self._pixel_aspect = pixel_aspect
        self.paths, self.notes = [path], list[str]()
        self._following = following
        self._encoder, self._rate, self._clock, self._endless = encoder, rate, clock, endless
        self._sound = sound
        self._timeline = OverlayTimes(rate)
        self._writer: Mp4Writer | None = None
        self._size_hw = (0, 0)
        self._time_base = Fraction(1, 1)
        self._start = Fraction(0)
        self._own_end = Fraction(0)

    def write(self, drawn: Drawn) -> None:
        with self._clock.time("encode"):
            frame, picture = drawn.tracks.frame, drawn.picture
            seconds = self._timeline.seconds(frame)
            size_hw = (picture.height, picture.width)
            if self._writer and size_hw != self._size_hw:
                self._close_writer()
                self.paths.append(next(self._following))
            writer = self._writer = self._writer or self._open(drawn, seconds)
            self._size_hw = size_hw
            own = frame.pts * frame.time_base
            self._copy_sound(writer, until=own)
            writer.write(picture, round((seconds - self._start) / self._time_base))
            self._own_end = own + 1 / self._rate

    def close(self) -> None:
        try:
            if self._writer:
                self._copy_sound(self._writer, until=self._own_end)
        finally:
            self._close_writer()
            if self._sound:
                self._sound.close()
                if self._sound.problem:
                    self.notes.append(f"the audio of {self.paths[-1]} ends early: {self._sound.problem}")

    def _close_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _open(self, drawn: Drawn, seconds: Fraction) -> Mp4Writer:
        self._start = seconds if seconds > LATEST_START_SECONDS else Fraction(0)
        self._time_base = drawn.tracks.frame.time_base
        return Mp4Writer(
            self.paths[-1],
            drawn.picture,
            self._time_base,
            self._rate,
            round((seconds - self._start) / self._time_base),
            self._encoder,
            self._sound.stream if self._sound else None,
            self._endless,
            self._pixel_aspect,
        )

    def _copy_sound(self, writer: Mp4Writer, until: Fraction) -> None:
        if self._sound is None:
            return
        shift = self._timeline.shift - self._start
        for packet in self._sound.until(until):
            # Audio outside the file's time range cannot be played with its frame.
            if shift == 0 or (packet.pts or 0) * packet.time_base + shift >= 0:
                writer.write_audio(packet, shift)
