"""The CPU backend that a measurement preferred, remembered for later processes: measuring loads every backend, which is
a third of the work of a run of one second."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from streamparts.files import user_cache, write_whole
from streamparts.machine import installed_versions, num_threads, processor_name, usable_cores

MOST_DAYS = 7
"""Age from which a measurement is repeated: it may have been made beside another program."""


class Remembered(msgspec.Struct, frozen=True):
    """A measurement's result."""

    name: str
    why: str


def recall(sha256: str, threads: int | None, names: Sequence[str]) -> Remembered | None:
    """Return the remembered choice among backends `names` for a model, given its hash; None if there is none, or the
    machine or the packages have changed."""
    try:
        path = _path(sha256, threads, names)
        if time.time() - path.stat().st_mtime > MOST_DAYS * 86400:
            return None
        found = msgspec.json.decode(path.read_bytes(), type=Remembered)
    except (OSError, msgspec.DecodeError):
        return None
    return found if found.name in names and found.why.isprintable() else None


def remember(sha256: str, threads: int | None, names: Sequence[str], chosen: Remembered) -> None:
    """Store a choice for `recall`; without a folder to write to, nothing happens."""
    with suppress(OSError):
        path = _path(sha256, threads, names)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, msgspec.json.encode(chosen))


def _path(sha256: str, threads: int | None, names: Sequence[str]) -> Path:
    context = (sha256, num_threads(threads), *names, processor_name(), usable_cores(), installed_versions(_PACKAGES))
    return folder() / f"{hashlib.sha256(repr(context).encode()).hexdigest()}.json"


_PACKAGES = ("onnxruntime", "openvino")


def folder() -> Path:
    """The folder of choices, see user_cache. Raises OSError."""
    return user_cache("choices")
