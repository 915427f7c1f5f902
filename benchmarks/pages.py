"""Builds RESULTS.md from the record of each section."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.markdown import table
from benchmarks.place import BUSY_CORES
from benchmarks.tables import TABLES

Record = dict[str, Any]
GPU_COMMAND = "python -m benchmarks.gpu --frames clips/human --batches 8 64 256 1024 --out benchmarks/results/gpu.json"
HOW = """\
`make bench` writes this page, its pictures and the table in the README from measurements on your machine. It takes
about twenty minutes on two idle cores. [docs/benchmarks.md](../docs/benchmarks.md) describes each section and how to
run it alone. The figures are in `benchmarks/results`."""


def results_page(records: dict[str, Record], readme_block: str | None) -> str:
    """Return the page as Markdown. `records` maps each section to its record; learning and gpu have figures only, the
    others also machine and date."""
    measured = {name: record for name, record in records.items() if "machine" in record and "section" in record}
    pieces = ["# Measured", HOW, *_where(measured), *_warnings(measured)]
    if readme_block:
        pieces += ["## In short", readme_block]
    for name, (title, _) in TABLES.items():
        pieces += [f"## {title}", *_section(name, records.get(name))]
    return "\n\n".join(pieces) + "\n"


def _where(measured: dict[str, Record]) -> Iterator[str]:
    """Machines and library versions, usually one each."""
    for key in ("machine", "versions"):
        kinds: dict[str, list[str]] = {}
        for name, record in measured.items():
            kinds.setdefault(_words(record[key]), []).append(name)
        for words, names in kinds.items():
            whose = "" if len(kinds) == 1 else f" ({', '.join(names)})"
            yield f"{key.capitalize()}{whose}: {words}."


def _words(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _warnings(measured: dict[str, Record]) -> Iterator[str]:
    quick = [name for name, record in measured.items() if record["options"]["quick"]]
    if quick:
        yield f"**A rehearsal (--quick), not a measurement: ignore these figures**: {', '.join(quick)}."
    busy = [name for name, record in measured.items() if (record["other programs, cores"] or 0) > BUSY_CORES]
    if busy:
        yield (
            "**Other programs kept the machine busy**, so times are too long and vary from row to row, "
            f"in: {', '.join(busy)}."
        )
    changed = [name for name, record in measured.items() if record["commit"].endswith("+")]
    if changed:
        yield f"**The checkout had uncommitted changes** (+) in: {', '.join(changed)}."


def _section(name: str, record: Record | None) -> Iterator[str]:
    if name == "gpu":
        yield from _gpu(record)
    elif record is None:
        yield f"Not measured yet: `python -m benchmarks.report --only {name}`"
    elif "failed" in record:
        yield f"Failed: {record['failed']}"
        yield _when(name, record)
    else:
        yield TABLES[name][1](record.get("figures", record))
        if "at" in record:
            yield _when(name, record)


def _gpu(record: Record | None) -> Iterator[str]:
    """Figures of a GPU run, or the command for one."""
    if record is None:
        yield f"No run on a GPU yet. The command: `{GPU_COMMAND} && python -m benchmarks.report --render-only`"
    else:
        yield TABLES["gpu"][1](record)


def _when(name: str, record: Record) -> str:
    options = record["options"]
    flags = ["--quick"] if options["quick"] else []
    flags += ["--memory-frames", str(options["memory_frames"])] if "memory_frames" in options else []
    command = " ".join(["python -m benchmarks.report --only", name, *flags])
    columns = ["command", "when", "commit", "took", "cores used by others"]
    used = record["other programs, cores"]
    return table(columns, [[f"`{command}`", record["at"], record["commit"], f"{record['seconds']} s", used]])
