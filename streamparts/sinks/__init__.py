"""Where tracks go: an overlay video, a file of JSON lines."""

from __future__ import annotations

from typing import Protocol

from streamparts.data import Tracks


class Sink(Protocol):
    """Takes the tracks of every frame, in order, from one thread, and is closed once."""

    def write(self, tracks: Tracks) -> None:
        """Write one frame. Raises VideoError when the output fails."""

    def close(self) -> None:
        """Finish the output. Safe to call again."""
