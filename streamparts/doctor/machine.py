"""The machine: system, processor and what it computes quickly, cores and memory that this process may use."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from streamparts.doctor.finding import Finding

INT8 = ("avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")
"""What makes int8 models quicker, as Linux calls it."""
BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
"""What training wants on a CPU."""
VECTORS = ("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "asimd", "sve")
_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")


def machine() -> Iterator[Finding]:
    """A Probe."""
    yield Finding("system", system_name())
    yield Finding("processor", processor_name())
    flags = processor_flags()
    if flags:
        yield Finding("vectors", ", ".join(name for name in VECTORS if name in flags) or "none of those that matter")
        yield _speeds("int8", INT8, flags, "models in int8 gain little")
        yield _speeds("bfloat16", BFLOAT16, flags, "training on the CPU takes longer")
    yield from _cores()
    yield from _memory()


def _speeds(name: str, wanted: tuple[str, ...], flags: set[str], without: str) -> Finding:
    here = [flag for flag in wanted if flag in flags]
    return Finding(name, f"quick, by {', '.join(here)}") if here else Finding(name, without, "absent")


def system_name() -> str:
    """With the distribution's own name where there is one."""
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
    """Names as in Linux' /proc/cpuinfo; empty where they are not known."""
    for line in _cpuinfo(proc):
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return set(value.split())
    return set()


def core_limit(cgroup: Path = _CGROUP) -> float | None:
    """Cores' worth of time that a container may take; None without a limit."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def memory_limit(cgroup: Path = _CGROUP) -> int | None:
    """Bytes that a container may take; None without a limit."""
    try:
        return int((cgroup / "memory.max").read_text())
    except (OSError, ValueError):  # "max" where there is none
        return None


def _cores() -> Iterator[Finding]:
    there = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there
    limit = core_limit()
    text = f"{usable} of {there} usable" + (f", for {limit:.3g} cores' worth of time" if limit else "")
    yield Finding("cores", text, data={"usable": usable, "limit": limit or usable})


def _memory() -> Iterator[Finding]:
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return
    limit = memory_limit()
    text = f"{total / 1e9:.1f} GB" + (f", of which this container may use {limit / 1e9:.1f} GB" if limit else "")
    yield Finding("memory", text, data={"bytes": min(total, limit or total)})


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
