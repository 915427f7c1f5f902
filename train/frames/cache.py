"""Cache of decoded frames and maps, and disk space reserved before they are mapped into memory."""

from __future__ import annotations

import errno
import math
import os
import tempfile
from pathlib import Path

import numpy as np

from streamparts.arrays import ByteArray
from streamparts.errors import VideoError
from streamparts.files import sweep

FOLDER = ".streamparts-cache"


def cache_place(inputs: Path, wanted: Path | None, run: Path) -> Path:
    """Return the cache folder, created if missing: `wanted`, else beside the inputs, else, if these are not writable,
    in the run folder. Removes leftovers of dead processes. Raises VideoError."""
    for place in [wanted] if wanted else [inputs / FOLDER, run / FOLDER]:
        if _can_be_written(place):
            sweep(place)
            return place
    raise VideoError(f"{wanted or inputs / FOLDER}: is not writable; give another folder with --cache DIR")


def new_array(path: Path, shape: tuple[int, ...], what: str) -> ByteArray:
    """Create a .npy file of uint8 zeros, mapped for writing. Raises VideoError if the disk is full."""
    try:
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            num_bytes = file.tell() + math.prod(shape)
    except OSError as error:
        raise _refused(error, path, math.prod(shape), what) from error
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
        raise _refused(error, path, num_bytes, what) from error


def _refused(error: OSError, path: Path, num_bytes: int, what: str) -> VideoError:
    path.unlink(missing_ok=True)
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return VideoError(f"{path}: cannot be written ({error.strerror})")
    return VideoError(
        f"{what}: its frames need {num_bytes / 1000000.0:.1f} MB in the cache, but its disk is full; free some space, "
        "or give another folder with --cache DIR"
    )


def _fill(descriptor: int, num_bytes: int) -> None:
    """Write zeros, for systems that cannot reserve space."""
    block = bytes(1 << 20)
    for start in range(0, num_bytes, len(block)):
        os.write(descriptor, block[: num_bytes - start])


def _can_be_written(place: Path) -> bool:
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            return True
    except OSError:
        return False
