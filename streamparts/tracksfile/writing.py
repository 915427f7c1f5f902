"""Writes tracks as JSON lines: a header, then one line per frame. recording.py builds the lines."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from io import FileIO
from pathlib import Path

import msgspec

from streamparts.bundle.load import Bundle
from streamparts.data import Tracks
from streamparts.errors import VideoError
from streamparts.files import make_new
from streamparts.meter import StageClock
from streamparts.sources import Source
from streamparts.tracking.roi import WHOLE_PICTURE, Following
from streamparts.tracksfile.recording import Recording
from streamparts.tracksfile.resume import ResumePoint

STANDARD_OUTPUT = Path("-")
"""Name of standard output, from which a program can read the tracks live."""


class JsonlSink:
    """Appends one line per frame with a single unbuffered write: the file always consists of complete lines."""

    def __init__(
        self,
        path: str | Path,
        bundle: Bundle,
        source: Source,
        masks: bool = False,
        clock: StageClock | None = None,
        *,
        policy: str | None = None,
        following: Following = WHOLE_PICTURE,
        resume: ResumePoint | None = None,
    ) -> None:
        """Create, or truncate, the file and write the header; or continue after `resume`, a point of the same file. The
        path "-" is standard output.

        `policy` and `following` are stored for readers of the file. Raises VideoError.
        """
        self.path = Path(path)
        self._clock = clock or StageClock()
        self._encoder = msgspec.json.Encoder()
        segment = resume.segment if resume else 0
        self._recording = Recording(bundle, source, masks, policy=policy, following=following, segment=segment)
        self._size = resume.size_bytes if resume else 0
        try:
            self._file = _opened(self.path, resume is not None)
            if resume:
                self._file.truncate(self._size)
                self._file.seek(self._size)
        except OSError as error:
            raise VideoError(f"{self.path}: cannot be written ({error.strerror})") from error
        if not resume:
            self._write_lines(self._recording.header)

    def write(self, tracks: Tracks) -> None:
        """Write one frame. Raises VideoError if writing fails, for example on a full disk."""
        with self._clock.time("write"):
            self._write_lines(*self._recording.records(tracks))

    def close(self) -> None:
        self._file.close()

    def _write_lines(self, *records: object) -> None:
        """Write all lines or, if writing fails, none."""
        data = memoryview(b"".join(self._encoder.encode(record) + b"\n" for record in records))
        try:
            done = 0
            while done < len(data):
                done += self._file.write(data[done:]) or 0
        except OSError as error:
            with suppress(OSError):
                if self.path != STANDARD_OUTPUT:
                    self._file.truncate(self._size)
            self._file.close()
            if self.path == STANDARD_OUTPUT and isinstance(error, BrokenPipeError):
                raise  # the reader has left, which is no failure
            raise VideoError(f"{self.path}: writing failed ({error.strerror})") from error
        self._size += len(data)


def _opened(path: Path, resume: bool) -> FileIO:
    if path == STANDARD_OUTPUT:
        if sys.stdout is None:
            raise VideoError(f"{path}: standard output is closed")
        sys.stdout.flush()
        return FileIO(os.dup(sys.stdout.fileno()), "wb")
    if not resume:
        make_new(path)
    return path.open("r+b" if resume else "wb", buffering=0)
