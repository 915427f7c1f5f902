"""A video that another program writes into our standard input."""

from __future__ import annotations

import os
import select
import sys

import av
from av.container import InputContainer

from streamparts.errors import VideoError
from streamparts.sources.base import BROKEN, reason_of
from streamparts.sources.files import FileSource

POLL_SECONDS = 0.25


class PipeSource(FileSource):
    """Standard input: any container that FFmpeg can read without seeking. It waits for the writer as long as the
    writer takes; closing it, from any thread, ends the waiting."""

    def __init__(self, descriptor: int | None = None) -> None:
        """Raises VideoError. `descriptor` None is standard input."""
        if descriptor is None:
            if sys.stdin is None or sys.stdin.isatty():
                raise VideoError("-: standard input is a terminal; pipe a video into it, or name a file")
            descriptor = sys.stdin.fileno()
        self._pipe = _Pipe(descriptor)
        super().__init__("stdin")

    def close(self) -> None:
        """The container goes with the last reference to it: the thread that reads may still be in it."""
        self._pipe.closed = True

    def _open(self) -> InputContainer:
        try:
            return av.open(self._pipe, mode="r")
        except BROKEN as error:
            reason = reason_of(error)
            raise VideoError(f"stdin: what comes is not a video that can be read as it comes ({reason})") from error

    def _count_before(self, target: int) -> tuple[int, int | None]:
        return 0, None


class _Pipe:
    """As much of a file object as PyAV asks for; gives what is there instead of waiting for a full buffer."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.closed = False

    def read(self, size: int) -> bytes:
        while not self.closed:
            if self._ready():
                return os.read(self._descriptor, size)
        return b""

    def _ready(self) -> bool:
        if sys.platform == "win32":
            return True  # select knows only sockets there
        return bool(select.select([self._descriptor], [], [], POLL_SECONDS)[0])
