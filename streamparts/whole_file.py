"""Files that appear whole or not at all, and files that are nobody else's."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_whole(path: Path, data: bytes, mode: int | None = None) -> None:
    """Write beside `path` first, then rename. `mode` None is what other new files get. Raises OSError."""
    partial = path.parent / f".{path.name[:32]}.{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(partial, flags, 0o666 if mode is None else mode), "wb") as file:
            file.write(data)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def make_new(path: Path) -> None:
    """An empty file under that name that nobody else has open: what was there is let go, not emptied, and a link is
    replaced, not followed. Devices and pipes stay what they are. Raises OSError."""
    if path.exists() and not path.is_file():
        return
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
