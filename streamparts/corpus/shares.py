"""Number of workers that a machine has room for, and the resources of each."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from streamparts.machine import memory_limit, missing_gpu, usable_cores

WORKER_BYTES = 500_000_000
"""Memory of a worker: libraries, a model of usual size, the frames of one video."""
WORKERS_PER_GPU = 2
"""Workers per GPU: one prepares and writes while the other's network runs."""
_ON_GPU = ("auto", "tensorrt", "torch-cuda", "onnxruntime-cuda")
"""How the names of the backends begin that use a GPU."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Resources of the workers on this machine."""

    num_workers: int
    threads: int
    """Threads of each worker."""
    devices: tuple[str, ...] = ()
    """GPUs assigned to the workers in turn, as in CUDA_VISIBLE_DEVICES; empty for one GPU or none."""


def shares(num_videos: int, backend: str, workers: int | None = None, threads: int | None = None) -> Shares:
    """Choose the number of workers. On a CPU, one thread each and one worker per core is most efficient, because videos
    do not wait for each other; fewer with few videos or little memory. Given values are kept."""
    cores = usable_cores()
    gpus = visible_gpus() if backend.startswith(_ON_GPU) else ()
    if workers is None:
        most = len(gpus) * WORKERS_PER_GPU if gpus else cores // (threads or 1)
        workers = max(1, min(most, num_videos, free_bytes() // WORKER_BYTES))
    return Shares(workers, threads or max(1, cores // workers), gpus if len(gpus) > 1 else ())


def free_bytes() -> int:
    """Available memory; a large number if the system does not report it."""
    lines = _text("/proc/meminfo").splitlines()
    free = [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")] or [sys.maxsize]
    limit, used = memory_limit(), _text("/sys/fs/cgroup/memory.current").strip()
    if limit is not None and used:
        free.append(limit - int(used))
    return max(0, min(free))


def visible_gpus() -> tuple[str, ...]:
    """NVIDIA GPUs, as in CUDA_VISIBLE_DEVICES."""
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
