"""One run at a time in one folder of outputs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from streamparts.errors import VideoError


@contextmanager
def locked(path: Path, who: str) -> Iterator[None]:
    """While the block runs, no other process of any machine that locks files gets in; the system frees the lock
    however this one ends. `who` is told to those who are refused with VideoError. The file goes with the block."""
    file = _open(path)
    try:
        file.seek(0)
        file.truncate()
        file.write(who)
        file.flush()
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()


def _open(path: Path) -> IO[str]:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)  # the run before this one may just have removed it
        file = path.open("a+", encoding="utf-8")
        if not _lock(file):
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise VideoError(f"{path.parent.parent}: another run writes there ({holder}); wait for its end, or stop it")
        if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            return file
        file.close()  # who had it has removed it meanwhile


def _lock(file: IO[str]) -> bool:
    """False where another process has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        raise VideoError(
            f"{file.name}: this disk locks no files ({error.strerror}); give an --out-dir elsewhere"
        ) from error
    return True
