"""Properties of the machine as this process sees it: names, packages and GPU, and the cores and memory left by a
container."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")

_shared: int | None = None
"""Threads for decoding, drawing and encoding, if several processes share the machine."""


def system_name() -> str:
    """System name, with the distribution's own name if there is one."""
    try:
        release = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        release = ""
    kernel = f"{platform.system()} {platform.release()}, {platform.machine()}"
    return f"{release}, {kernel}" if release else kernel


def processor_name(proc: Path = _PROC) -> str:
    for line in _cpuinfo(proc):
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):
            return " ".join(value.split())
    if sys.platform == "darwin":
        return _sysctl("machdep.cpu.brand_string")
    return platform.processor() or platform.machine()


def processor_flags(proc: Path = _PROC) -> set[str]:
    """Flags named as in Linux' /proc/cpuinfo; empty if unknown."""
    for line in _cpuinfo(proc):
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return set(value.split())
    return set()


def usable_cores() -> int:
    """Cores available to this process under affinity and control group; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = core_limit()
    return cores if limit is None else min(cores, max(1, int(limit)))


def core_limit(cgroup: Path = _CGROUP) -> float | None:
    """CPU limit of the container, in cores; None without a limit."""
    try:
        quota, period = (cgroup / "cpu.max").read_text(encoding="utf-8").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def memory_limit(cgroup: Path = _CGROUP) -> int | None:
    """Memory limit of the container in bytes; None without a limit."""
    try:
        return int((cgroup / "memory.max").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # "max" without a limit
        return None


def share_machine(threads: int) -> None:
    """From now on, decoders, encoders and OpenCV in this process use `threads` threads each: by default they use as
    many as there are cores, and memory for each."""
    global _shared
    import cv2

    _shared = threads
    cv2.setNumThreads(threads)


def decoder_threads() -> int:
    """0: FFmpeg's choice."""
    return _shared or 0


def encoder_threads() -> int:
    """Half of the cores by default: the network takes the others."""
    return _shared or max(1, usable_cores() // 2)


@contextmanager
def ordinary_threads() -> Iterator[None]:
    """Give threads that libraries start in the block ordinary priority, and restore the calling thread's. As root,
    SVT-AV1 sets real-time priority for all of them, which would stop other programs."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    real = (os.SCHED_FIFO, os.SCHED_RR)
    before, own_is_real = _native_threads(), os.sched_getscheduler(0) in real
    try:
        yield
    finally:
        if not own_is_real:
            before.discard(threading.get_native_id())
        for thread in _native_threads() - before:
            with suppress(OSError):  # it has ended
                if os.sched_getscheduler(thread) in real:
                    os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def _native_threads() -> set[int]:
    with suppress(OSError):
        return {int(thread.name) for thread in (_PROC / "self" / "task").iterdir()}
    return set()


def _cpuinfo(proc: Path) -> list[str]:
    try:
        return (proc / "cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _sysctl(name: str) -> str:
    try:
        done = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return platform.machine()
    return done.stdout.strip() or platform.machine()


def num_threads(threads: int | None) -> int:
    """Threads of one backend: `threads`, or half of the cores, because decoding and encoding need the rest.

    Raises ValueError below 1.
    """
    if threads is None:
        return max(1, usable_cores() // 2)
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    return threads


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of the installed packages."""
    import importlib.metadata  # takes 10 ms, which no --help should

    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def missing_package(package: str, extra: str) -> str | None:
    """Return None if `package` is installed, else a line with the pip command of its extra."""
    if importlib.util.find_spec(package) is not None:
        return None
    return f"{package} is not installed; pip install 'streamparts[{extra}]'"


@cache
def missing_gpu() -> str | None:
    """Return None if the driver finds an NVIDIA GPU, else the reason."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return "no NVIDIA driver found"
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return "no NVIDIA GPU found"
    return None
