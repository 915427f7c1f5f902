"""The machine: system, processor and its fast instructions, cores and memory available to this process."""

from __future__ import annotations

import os
from collections.abc import Iterator

from streamparts.doctor.finding import Finding
from streamparts.machine import core_limit, memory_limit, processor_flags, processor_name, system_name

INT8 = ("avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")
"""Processor flags, with Linux's names, that speed up int8 models."""
BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
"""Processor flags that training on a CPU needs."""
VECTORS = ("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "asimd", "sve")


def machine() -> Iterator[Finding]:
    """A Probe."""
    yield Finding("system", system_name())
    yield Finding("processor", processor_name())
    flags = processor_flags()
    if flags:
        yield Finding("vectors", ", ".join(name for name in VECTORS if name in flags) or "no relevant instructions")
        yield _speeds("int8", INT8, flags, "int8 models are hardly faster")
        yield _speeds("bfloat16", BFLOAT16, flags, "training on the CPU is slower")
    yield from _cores()
    yield from _memory()


def _speeds(name: str, wanted: tuple[str, ...], flags: set[str], without: str) -> Finding:
    here = [flag for flag in wanted if flag in flags]
    return Finding(name, f"fast, with {', '.join(here)}") if here else Finding(name, without, "absent")


def _cores() -> Iterator[Finding]:
    there = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there
    limit = core_limit()
    text = f"{usable} of {there} usable" + (f", limited to {limit:.3g} cores of CPU time" if limit else "")
    yield Finding("cores", text, data={"usable": usable, "limit": limit or usable})


def _memory() -> Iterator[Finding]:
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return
    limit = memory_limit()
    text = f"{total / 1e9:.1f} GB" + (
        f", of which this container may use {limit / 1000000000.0:.1f} GB" if limit else ""
    )
    yield Finding("memory", text, data={"bytes": min(total, limit or total)})
