"""What a driver and its worker processes say to each other.

Pickled, as Python's own pools do it, and so only over pipes between a process and those that it has started itself from
its own package: nothing here is ever read from a file, an address or another user.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import IO, Any

from streamparts.errors import StreampartsError


@dataclass(frozen=True, slots=True)
class Stop:
    """To a worker: end the video at hand after its frame."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Of a worker: it has loaded everything."""

    backend: str
    """The one that it chose."""


@dataclass(frozen=True, slots=True)
class Unable:
    """Of a worker: it cannot do anything, and no other one could."""

    error: StreampartsError


@dataclass(frozen=True, slots=True)
class Counted:
    """Of a worker: so many frames of the video at hand are done."""

    frames: int


def send(stream: IO[bytes], message: object) -> None:
    """Raises OSError where nobody reads any more."""
    stream.write(pickle.dumps(message))
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Raises EOFError at the end."""
    return pickle.load(stream)
