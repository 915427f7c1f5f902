"""How many workers a machine has room for, and what each gets of it."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from streamparts.machine import memory_limit, missing_gpu, usable_cores

WORKER_BYTES = 500_000_000
"""Memory of a worker: libraries, a model of usual size, the pictures of one video."""
WORKERS_PER_GPU = 2
"""One prepares and writes while the other's network runs."""
_ON_GPU = ("auto", "tensorrt", "torch-cuda", "onnxruntime-cuda", "onnxruntime-tensorrt")


@dataclass(frozen=True, slots=True)
class Shares:
    """What the workers of this machine get."""

    num_workers: int
    threads: int
    """Of each."""
    devices: tuple[str, ...] = ()
    """GPUs that they take turns with, as CUDA_VISIBLE_DEVICES names them; none where there is one or none."""


def shares(num_videos: int, backend: str, workers: int | None = None, threads: int | None = None) -> Shares:
    """On a CPU one thread each and a worker for every core does most, for videos do not wait for each other; less where
    there are fewer videos, or little memory. What is given stays as it is."""
    cores = usable_cores()
    gpus = visible_gpus() if backend in _ON_GPU else ()
    if workers is None:
        most = len(gpus) * WORKERS_PER_GPU if gpus else cores // (threads or 1)
        workers = max(1, min(most, num_videos, free_bytes() // WORKER_BYTES))
    return Shares(workers, threads or max(1, cores // workers), gpus if len(gpus) > 1 else ())


def free_bytes() -> int:
    """Memory that is there for the taking; a great deal where the system does not tell."""
    lines = _text("/proc/meminfo").splitlines()
    free = [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")] or [sys.maxsize]
    limit, used = memory_limit(), _text("/sys/fs/cgroup/memory.current").strip()
    if limit is not None and used:
        free.append(limit - int(used))
    return max(0, min(free))


def visible_gpus() -> tuple[str, ...]:
    """NVIDIA GPUs, as CUDA_VISIBLE_DEVICES names them."""
    if missing_gpu():
        return ()
    driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    count = ctypes.c_int(0)
    driver.cuDeviceGetCount(ctypes.byref(count))
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return tuple(named[: count.value] or map(str, range(count.value)))


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
