"""Where tracks go: an overlay video, a file of JSON lines."""

from __future__ import annotations

from typing import Protocol, TypeVar

Item = TypeVar("Item", contravariant=True)


class Sink(Protocol[Item]):
    """Takes something for every frame, its tracks most often, in order, from one thread, and is closed once."""

    def write(self, item: Item, /) -> None:
        """Write one frame. Raises VideoError when the output fails."""

    def close(self) -> None:
        """Finish the output. Safe to call again."""
