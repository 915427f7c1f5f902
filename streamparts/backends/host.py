"""What the machine at hand has, asked without loading anything heavy: cores, packages, an NVIDIA GPU."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from functools import cache

from streamparts.machine import usable_cores


def num_threads(threads: int | None) -> int:
    """Threads of one backend: `threads`, or half of the cores, because decoding and encoding need some.

    Raises ValueError below 1.
    """
    if threads is None:
        return max(1, usable_cores() // 2)
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    return threads


def missing_package(package: str, extra: str) -> str | None:
    """None where `package` is installed, else a line with the pip command of the extra that brings it."""
    if importlib.util.find_spec(package) is not None:
        return None
    return f"{package} is not installed; pip install 'streamparts[{extra}]'"


@cache
def missing_gpu() -> str | None:
    """None where the driver finds an NVIDIA GPU, else why there is none."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return "no NVIDIA driver here"
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return "no NVIDIA GPU here"
    return None
