"""Measure everything and write benchmarks/RESULTS.md: python -m benchmarks.report [--only SECTION ...] [--quick]

Each section runs in a separate process and writes its figures, with machine, commit and command, as JSON to
benchmarks/results. RESULTS.md, benchmarks/pictures and the README's table are generated from these files; --render-only
does only that. A section whose figures exist for this commit, machine and options is skipped, so the same command
continues after an interruption; --again measures it. A failed section is reported in its place and does not stop the
others. On a machine with a GPU, first run

    python -m benchmarks.gpu --frames CLIPS --batches 8 64 256 1024 --out benchmarks/results/gpu.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.headlines import QUOTED, MissingFigureError, readme_block, replaced
from benchmarks.pages import results_page
from benchmarks.place import ROOT, Others, changes_digest, commit, machine, versions
from benchmarks.sections import SECTIONS, Options, add_options, options_of

HERE = Path(__file__).parent
Record = dict[str, Any]
"""Record of a section: its figures, or why it failed, with their context."""


def identity(name: str, options: Options) -> Record:
    """Properties that the figures of one run share."""
    relevant: Record = {"quick": options.quick}
    if name == "memory" and not options.quick:
        relevant["memory_frames"] = options.memory_frames
    return {"commit": commit(), "changes": changes_digest(), "machine": machine(), "options": relevant}


def measure(name: str, options: Options, limit_seconds: float) -> Record:
    """Run a section in a separate process."""
    flags = ["--memory-frames", str(options.memory_frames), "--people", str(options.people)]
    flags += ["--quick"] if options.quick else []
    before, load = identity(name, options), os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    began, others = time.monotonic(), Others()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        words = [sys.executable, "-m", "benchmarks.sections", name, "--out", str(out), *flags]
        result = _finished(words, limit_seconds)
        outcome = {"failed": result} if result else {"figures": json.loads(out.read_text(encoding="utf-8"))}
    return {
        "section": name,
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "seconds": round(time.monotonic() - began, 1),
        "other programs, cores": None if (cores := others.cores()) is None else round(cores, 2),
        "load before": load and round(load, 2),
        **before,
        "versions": versions(),
        **outcome,
    }


def _finished(words: Sequence[str], limit_seconds: float) -> str:
    """Return why the command failed, in one line; "" if it did not."""
    try:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=limit_seconds, check=False)
    except subprocess.TimeoutExpired:
        return f"not done within {limit_seconds / 60:.0f} minutes"
    if done.returncode == 0:
        return ""
    if done.returncode < 0:
        return f"ended by signal {-done.returncode}"
    lines = done.stderr.strip().splitlines()
    return lines[-1][:300] if lines else f"ended with code {done.returncode}"


def kept(path: Path) -> Record | None:
    """Read an existing record, if it is readable."""
    try:
        record: Record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record


def measure_all(names: Sequence[str], options: Options, folder: Path, again: bool, limit_seconds: float) -> None:
    results = folder / "results"
    results.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names, start=1):
        path, said = results / f"{name}.json", f"[{number}/{len(names)}] {name}"
        now, old = identity(name, options), kept(path)
        if not again and old is not None and "figures" in old and all(old.get(key) == now[key] for key in now):
            print(f"{said}: measured already", flush=True)
            continue
        print(f"{said} ...", flush=True)
        record = measure(name, options, limit_seconds)
        _write(path, json.dumps(record, indent=1) + "\n")
        busy = record["other programs, cores"]
        print(f"{said}: {record.get('failed', 'done')}, {record['seconds']} s, others used {busy} cores", flush=True)


def records(folder: Path) -> dict[str, Record]:
    """Records by section, in the report's order, followed by training results and GPU."""
    found = {name: kept(folder / "results" / f"{name}.json") for name in (*SECTIONS, "gpu")}
    learned = {"figures": json.loads((HERE / "learning.json").read_text(encoding="utf-8"))}
    return {name: record for name, record in {**found, "learning": learned}.items() if record is not None}


def render(folder: Path, readme: Path | None) -> list[str]:
    """Write the page, its charts, and the README's table if a README is given; return lines about what could not be
    written."""
    from benchmarks.charts import draw

    found, notes = records(folder), []
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    for name, record in found.items():
        if "figures" in record:
            list(draw(name, record["figures"], pictures))
    try:
        block = readme_block(found)
        if any(found[name]["options"]["quick"] for name in QUOTED if name in found):
            raise MissingFigureError("figures of a rehearsal are not for it")
    except MissingFigureError as error:
        block = None
        notes.append(f"the README's table stays as it is: {error}")
    _write(folder / "RESULTS.md", results_page(found, block))
    if block is not None and readme is not None:
        _write(readme, replaced(readme.read_text(encoding="utf-8"), block))
    return notes


def _write(path: Path, text: str) -> None:
    """Write atomically."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Return 1 if a section failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"sections: {', '.join(SECTIONS)}",
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="SECTION")
    parser.add_argument("--again", action="store_true", help="repeat existing measurements")
    parser.add_argument("--render-only", action="store_true", help="only render existing results")
    parser.add_argument(
        "--limit-minutes", type=float, default=60, help="time limit of each section (default: %(default)g)"
    )
    parser.add_argument("--out", type=Path, default=HERE, help="another folder for results, pictures and RESULTS.md")
    add_options(parser)
    args = parser.parse_args(argv)
    try:
        if not args.render_only:
            measure_all(args.only, options_of(args), args.out, args.again, 60 * args.limit_minutes)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    for note in render(args.out, ROOT / "README.md" if args.out == HERE else None):
        print(note)
    print(f"wrote {args.out / 'RESULTS.md'}")
    failed = [name for name in args.only if "failed" in records(args.out).get(name, {})]
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
