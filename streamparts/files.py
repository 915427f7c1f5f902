"""Files of a run: written atomically, by one run at a time, and never over an input."""

from __future__ import annotations

import glob
import hashlib
import os
import platform
import secrets
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol, runtime_checkable

from streamparts.errors import VideoError

LOCK = ".lock"
"""Name of the lock in a folder of unfinished files."""


def write_whole(path: Path, data: bytes, mode: int | None = None) -> None:
    """Write beside `path` first, then rename. `mode` None is the default of new files. Raises OSError."""
    partial = path.parent / f".{path.name[:32]}.{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(partial, flags, 0o666 if mode is None else mode), "wb") as file:
            file.write(data)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def user_cache(name: str) -> Path:
    """XDG_CACHE_HOME/streamparts/NAME, or in ~/.cache if the variable is not set; it may not exist. Raises OSError for
    a user without a home folder, as in containers that run as a number."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "streamparts" / name
    except RuntimeError as error:
        raise FileNotFoundError("this user has no home folder; set XDG_CACHE_HOME") from error


def short_name(name: str, most_bytes: int) -> str:
    """Return `name`, or the beginning of a longer one with a hash of the whole, so that different names stay
    different."""
    data = os.fsencode(name)
    if len(data) <= most_bytes:
        return name
    return data[: most_bytes - 13].decode("utf-8", "ignore") + "-" + hashlib.sha256(data).hexdigest()[:12]


def make_new(path: Path) -> None:
    """Create an empty file that no other process has open: an existing file is unlinked, not truncated, and a link is
    replaced, not followed. Devices and pipes stay as they are. Raises OSError."""
    if path.exists() and not path.is_file():
        return
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))


def check_outputs(outputs: Sequence[Path], inputs: Sequence[Path], force: bool) -> None:
    """Raise VideoError unless every output can be written without destroying an input or, without `force`, any file."""
    outputs = [output for output in outputs if str(output) != "-"]  # standard output
    for number, output in enumerate(outputs):
        if any(_is_same_file(output, other) for other in (*inputs, *outputs[:number])):
            raise VideoError(f"{output}: is also an input or another output; use a different name for each file")
        if not output.parent.is_dir():
            raise VideoError(f"{output}: the folder {output.parent} does not exist; create it first")
        if output.is_dir():
            raise VideoError(f"{output}: is a folder; give the name of a file in it")
        if (output.is_file() or (output.is_symlink() and not output.exists())) and not force:
            raise VideoError(f"{output}: exists already; use --force (in Python: force=True) to replace it")
        if not os.access(output if output.exists() else output.parent, os.W_OK):
            raise VideoError(f"{output}: no permission to write there; choose another folder")


@runtime_checkable
class ReadFrom(Protocol):
    """An open source or model with a known file."""

    @property
    def path(self) -> str | Path | None: ...


def input_paths(*inputs: object) -> list[Path]:
    """Files among some sources and models, as far as known."""
    candidates = [item.path if isinstance(item, ReadFrom) else item for item in inputs]
    return [Path(item) for item in candidates if isinstance(item, str | Path)]


def _is_same_file(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))


@contextmanager
def locked(path: Path, who: str, what: Path | None = None) -> Iterator[None]:
    """Lock against other processes, of any machine that supports file locking, during the block; the system releases
    the lock however this process ends. While another process holds it, VideoError is raised, with the `who` of that
    process and `what` it uses (by default the folder around that of the lock). The lock file is removed with the
    block."""
    file = _open_lock(path, what or path.parent.parent)
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
    """Prevent other runs from writing these files ("-" is standard output) during the block. Disks without file locking
    are ignored. Raises VideoError naming the run that writes there."""
    who = f"process {os.getpid()} on {platform.node()}"
    with ExitStack() as stack:
        for file in sorted({path.parent.resolve() / path.name for path in files if str(path) != "-"}):
            if file.exists() and not file.is_file():  # a device or a pipe
                continue
            lock = file.with_name(f".{short_name(file.name, 200)}.lock")
            try:
                stack.enter_context(locked(lock, who, file))
            except NoLocks:
                lock.unlink(missing_ok=True)
        yield


@contextmanager
def whole(output: Path) -> Iterator[Path]:
    """Provide a path of the same name in a new folder beside `output`. What is created there replaces `output` when the
    block ends, and is deleted if the block raises."""
    sweep(output.parent, output.name)
    workshop = output.parent / f".{short_name(output.name, 100)}.{secrets.token_hex(8)}.tmp"
    in_use = ExitStack()
    try:
        try:
            workshop.mkdir()
            with suppress(NoLocks):
                in_use.enter_context(locked(workshop / LOCK, f"process {os.getpid()}", output))
        except OSError as error:
            raise VideoError(f"{output}: cannot be written ({error.strerror or error})") from error
        made = workshop / output.name
        yield made
        old = workshop / "old"
        if output.is_dir():
            output.replace(old)
        try:
            made.replace(output)
        except OSError:
            if old.exists():
                old.replace(output)
            raise
    finally:
        in_use.close()
        shutil.rmtree(workshop, ignore_errors=True)


def sweep(folder: Path, name: str = "") -> None:
    """Remove what killed processes left unfinished in a folder, and no live process holds; with `name`, of that output
    only."""
    for left in folder.glob(f".{glob.escape(short_name(name, 100))}.*.tmp" if name else ".*.tmp"):
        with suppress(OSError), locked(left / LOCK, f"process {os.getpid()}", folder / name):
            shutil.rmtree(left, ignore_errors=True)


class NoLocks(VideoError):
    """Raised if the file system does not support locks."""


def _open_lock(path: Path, what: Path) -> IO[str]:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)  # the previous run may just have removed it
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
        file.close()  # its owner has removed it meanwhile


def _lock(file: IO[str]) -> bool:
    """Return False if another process holds the lock."""
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
            f"{file.name}: this disk does not support file locking ({error.strerror}); give another --out-dir"
        ) from error
    return True
