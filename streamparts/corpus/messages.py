"""Messages between the driver and its worker processes.

They are pickled, as in Python's own pools, and therefore travel only over pipes to processes that the driver started
itself from its own package: none is ever read from a file, an address or another user.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import IO, Any

from streamparts.errors import StreampartsError


@dataclass(frozen=True, slots=True)
class Stop:
    """To a worker: stop the current video after its frame."""


@dataclass(frozen=True, slots=True)
class Ready:
    """From a worker: it has loaded everything."""

    backend: str
    """The backend that it chose."""


@dataclass(frozen=True, slots=True)
class Unable:
    """From a worker: neither it nor any other worker can work."""

    error: StreampartsError


@dataclass(frozen=True, slots=True)
class Counted:
    """From a worker: number of frames of the current video that are done."""

    frames: int


def send(stream: IO[bytes], message: object) -> None:
    """Raises OSError if the reader is gone."""
    stream.write(pickle.dumps(message))
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Raises EOFError at the end."""
    return pickle.load(stream)
