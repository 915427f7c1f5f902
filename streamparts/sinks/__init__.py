"""Sinks of tracks: an overlay video, a file of JSON lines, a preview, messages."""

from __future__ import annotations

from typing import Protocol, TypeVar

Item = TypeVar("Item", contravariant=True)


class Sink(Protocol[Item]):
    """Receives an item for every frame, usually its tracks, in order, from one thread, and is closed once."""

    def write(self, item: Item, /) -> None:
        """Write one frame. Raises VideoError if the output fails."""

    def close(self) -> None:
        """Finish the output. Safe to call again."""
