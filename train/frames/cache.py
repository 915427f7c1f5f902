"""Cache of decoded frames and maps, and disk space reserved before they are mapped into memory."""

from __future__ import annotations

import errno
import math
import os
import re
from contextlib import suppress
from pathlib import Path

import numpy as np

from streamparts.arrays import ByteArray
from streamparts.errors import VideoError

FOLDER = ".streamparts-cache"
_PARTIAL = re.compile(r".*\.(\d+)\.tmp")


def cache_place(inputs: Path, wanted: Path | None, run: Path) -> Path:
    """Return the cache folder, created if missing: `wanted`, else beside the inputs, else, if these are not writable,
    in the run folder. Removes leftovers of dead processes. Raises VideoError."""
    for place in [wanted] if wanted else [inputs / FOLDER, run / FOLDER]:
        if _can_be_written(place):
            sweep(place)
            return place
    raise VideoError(f"{wanted or inputs / FOLDER}: is not writable; give another folder with --cache DIR")


def sweep(cache: Path) -> None:
    """Remove unfinished files of processes that no longer exist."""
    for path in cache.iterdir():
        match = _PARTIAL.fullmatch(path.name)
        if match and not _is_alive(int(match[1])):
            with suppress(OSError):
                path.unlink()


def new_array(path: Path, shape: tuple[int, ...], what: str) -> ByteArray:
    """Create a .npy file of uint8 zeros, mapped for writing. Raises VideoError if the disk is full."""
    try:
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            num_bytes = file.tell() + math.prod(shape)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise VideoError(f"{path}: cannot be written ({error.strerror})") from error
    reserve(path, num_bytes, what)
    mapped: ByteArray = np.load(path, mmap_mode="r+")
    return mapped


def reserve(path: Path, num_bytes: int, what: str) -> None:
    """Reserve space for a file to be mapped: on a full disk, a write into an unallocated mapped page would kill the
    process. Raises VideoError with the megabytes needed, and removes the file."""
    try:
        with path.open("r+b") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, num_bytes)
            else:
                _fill(file.fileno(), num_bytes)
    except OSError as error:
        path.unlink(missing_ok=True)
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise VideoError(f"{path}: cannot be written ({error.strerror})") from error
        raise VideoError(
            f"{what}: its frames need {num_bytes / 1000000.0:.0f} MB in {path.parent}, but the disk is full; free "
            "some space, or give another folder with --cache DIR"
        ) from error


def _fill(descriptor: int, num_bytes: int) -> None:
    """Write zeros, for systems that cannot reserve space."""
    block = bytes(1 << 20)
    for start in range(0, num_bytes, len(block)):
        os.write(descriptor, block[: num_bytes - start])


def _can_be_written(place: Path) -> bool:
    probe = place / f"probe.{os.getpid()}.tmp"
    try:
        place.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError:
        return False
    return True


def _is_alive(process: int) -> bool:
    """True if such a process runs on this machine. On shared disks, a live process with that number protects another
    machine's files."""
    if os.name == "nt" or process == os.getpid():
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
