"""One run at a time in one folder of outputs, or in one file."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from streamparts.errors import VideoError


@contextmanager
def locked(path: Path, who: str, what: Path | None = None) -> Iterator[None]:
    """While the block runs, no other process of any machine that locks files gets in; the system frees the lock
    however this one ends. `who` is told to those who are refused `what` (the folder around that of the lock) with
    VideoError. The file goes with the block."""
    file = _open(path, what or path.parent.parent)
    try:
        file.seek(0)
        file.truncate()
        file.write(who)
        file.flush()
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()


@contextmanager
def claimed(files: Iterable[Path]) -> Iterator[None]:
    """While the block runs, no other run writes these files ("-" is standard output). Disks that lock no files leave it
    at that. Raises VideoError, which names the run that writes there."""
    who = f"process {os.getpid()} on {platform.node()}"
    with ExitStack() as stack:
        for file in sorted({path.parent.resolve() / path.name for path in files if str(path) != "-"}):
            if file.exists() and not file.is_file():  # a device or a pipe
                continue
            lock = file.with_name(f".{file.name[:200]}.lock")
            try:
                stack.enter_context(locked(lock, who, file))
            except NoLocks:
                lock.unlink(missing_ok=True)
        yield


class NoLocks(VideoError):
    """The disk cannot do it."""


def _open(path: Path, what: Path) -> IO[str]:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)  # the run before this one may just have removed it
        try:
            file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise VideoError(f"{what}: cannot be written ({error.strerror})") from error
        if not _lock(file):
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise VideoError(f"{what}: another run writes there ({holder}); wait for its end, or stop it")
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
        raise NoLocks(
            f"{file.name}: this disk locks no files ({error.strerror}); give an --out-dir elsewhere"
        ) from error
    return True
