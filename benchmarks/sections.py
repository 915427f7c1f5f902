"""Measures sections of the report: python -m benchmarks.sections all | SECTION ... [--quick --out FOLDER]

The figures of each, with machine, commit and the load from other programs, are written to
benchmarks/results/SECTION.json; `benchmarks.report` prints them. With --quick, everything runs once and short, as a
rehearsal without meaningful figures.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.place import ROOT, Others, commit, machine, versions

Figures = dict[str, Any]
RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True)
class SectionOptions:
    """SectionOptions of all sections."""

    quick: bool = False
    memory_frames: int = 100_000
    """Number of frames of the memory section."""
    people: Path = ROOT.parent / "shared" / "data" / "human" / "dance.mp4"
    """A video of a person for the neighbours section, skipped if missing."""


def runtime(options: SectionOptions) -> Figures:
    """The bundled model at three sizes, other models at 1280x720."""
    import streamparts
    from benchmarks import inputs
    from benchmarks.runtime import report

    frames, repeats, sample = (12, 1, 6) if options.quick else (240, 3, 60)
    sizes = ((360, 640), (720, 1280), (1080, 1920))
    rows: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        clip = inputs.puppet_clip(scratch / "clip.mp4", frames)
        shipped = streamparts.load_model("puppet-human")
        for height, width in sizes:
            size = f"{width}x{height}"
            scaled = (height, width) != (720, 1280)
            video = inputs.scaled_clip(clip, scratch / f"{size}.mp4", (height, width)) if scaled else clip
            rows[f"{size}, {shipped.spec.name}"] = report(str(video), shipped, repeats, sample, scratch)
        int8 = inputs.in_int8("puppet-human", scratch, 1 if options.quick else 8)
        rows[f"1280x720, {shipped.spec.name} in int8"] = report(str(clip), int8, repeats, sample, scratch)
        untrained = {
            "student nano": inputs.random_student("nano", 10, scratch),
            "student base": inputs.random_student("base", 10, scratch),
            "SCOPS fast": inputs.random_scops(8, scratch),
        }
        for name, bundle in untrained.items():
            found = report(str(clip), bundle, repeats, sample, scratch, ["tracks only"])
            rows[f"1280x720, {name}, untrained"] = found
    return {"frames": frames, "repeats": repeats, "rows": rows}


def engines(options: SectionOptions) -> Figures:
    from benchmarks.engines import measure

    return measure((1, 4, 16), 0.02 if options.quick else 1.5)


def scaling(options: SectionOptions) -> Figures:
    from benchmarks.scaling import FRAMES, PARTS, SIZES, SOURCES, measure

    if options.quick:
        return measure(10, (10, 20), ((180, 320), (720, 1280)), (2, 5), (1, 2), 1, 0.02)
    return measure(120, FRAMES, SIZES, PARTS, SOURCES, 3, 1.0)


def accuracy(options: SectionOptions) -> Figures:
    from benchmarks.accuracy import measure

    clips, frames = (2, 8) if options.quick else (20, 48)
    return {"clips": clips, **measure(None, "human", clips, frames, 256)}


def real(options: SectionOptions) -> Figures:
    """A single line if the real clips are missing."""
    from benchmarks.real.measuring import shipped
    from train.evaluate import rounded

    figures: Figures = shipped(10 if options.quick else 300, options.quick)
    return {**figures, "rows": [rounded(row) for row in figures["rows"]]}


def bodies(options: SectionOptions) -> Figures:
    """The bundled model on rendered people; needs the extra `bodies`."""
    from benchmarks.bodies.__main__ import BodiesOptions, measure
    from benchmarks.command_line import default_cache

    asked = BodiesOptions(default_cache("bodies"))
    return measure(replace(asked, num_clips=1, num_frames=4, size=96) if options.quick else asked)


def memory(options: SectionOptions) -> Figures:
    from benchmarks.memory import measure

    return measure(500 if options.quick else options.memory_frames)


def startup(options: SectionOptions) -> Figures:
    from benchmarks.startup import demo, measure

    return measure(None, 1) if options.quick else demo(7)


def neighbours(options: SectionOptions) -> Figures:
    from benchmarks.neighbours import measure

    people = {"a person dancing, 406x720": options.people} if options.people.is_file() and not options.quick else {}
    frames, repeats = (12, 1) if options.quick else (150, 3)
    return measure(people, frames, repeats)


def smoothing(options: SectionOptions) -> Figures:
    from benchmarks.smoothing import cost_us, table

    seeds = (0,) if options.quick else (0, 1, 2, 3)
    rates = (30.0,) if options.quick else (60.0, 30.0)
    tables = {f"{rate:g} frames/s": table(rate, seeds) for rate in rates}
    return {"seeds": len(seeds), "tables": tables, "us a part and frame": cost_us()}


def skeleton(options: SectionOptions) -> Figures:
    from benchmarks.skeleton import measure

    clips, frames = (1, 60) if options.quick else (20, 250)
    return {"clips": clips, "frames": frames, **measure(None, "human", clips, frames, 256)}


def messages(options: SectionOptions) -> Figures:
    from benchmarks.messages import measure

    return measure(str(ROOT / "examples" / "puppet.mp4"), 20 if options.quick else 500)


def live(options: SectionOptions) -> Figures:
    import streamparts
    from benchmarks.live import RATE, run_live

    first, second = (2, 2) if options.quick else (30, 60)
    bundle = streamparts.load_model("puppet-human")
    return {
        "network of 20 ms": run_live(bundle, first, 0.02),
        "network twice too slow": run_live(bundle, second, 2 / RATE),
    }


def counter(options: SectionOptions) -> Figures:
    from benchmarks.counter import check

    with tempfile.TemporaryDirectory() as folder:
        return check(50 if options.quick else 10_000, None, Path(folder))


def corpus(options: SectionOptions) -> Figures:
    """Without Ray, whose processes would count as other programs."""
    from benchmarks.corpus import measure

    videos, turns = (4, 2) if options.quick else (240, 6)
    return measure(videos, 10, turns, overlay=False, ray=False)


SECTIONS: dict[str, Callable[[SectionOptions], Figures]] = {
    function.__name__: function
    for function in (
        runtime, engines, scaling, accuracy, real, bodies, memory, startup, neighbours, live, counter, corpus, messages,
        smoothing, skeleton,
    )
}  # fmt: skip
"""Available measurements, in the report's order."""


def measure(name: str, options: SectionOptions) -> Figures:
    """Measure a section; its figures and their context are a record of the report."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    began, others = time.monotonic(), Others()
    figures = SECTIONS[name](options)
    cores = others.cores()
    return {
        "section": name,
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "seconds": round(time.monotonic() - began, 1),
        "other programs, cores": None if cores is None else round(cores, 2),
        "load before": load and round(load, 2),
        "commit": commit(),
        "machine": machine(),
        "options": {"quick": options.quick},
        "versions": versions(),
        "figures": figures,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Return 1 if a section failed; the others are measured all the same."""
    default = SectionOptions()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sections",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"sections: {', '.join(SECTIONS)}",
    )
    parser.add_argument("names", nargs="+", choices=[*SECTIONS, "all"], metavar="SECTION")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="test run of a few minutes; its figures are meaningless")
    parser.add_argument(
        "--memory-frames", type=int, default=default.memory_frames, help="of section memory (default: %(default)s)"
    )
    parser.add_argument("--people", type=Path, default=default.people, help="video of a person for section neighbours")
    args = parser.parse_args(argv)
    if len(args.names) > 1 or "all" in args.names:
        return _one_by_one(SECTIONS if "all" in args.names else args.names, sys.argv[1:] if argv is None else argv)
    (name,) = args.names
    record = measure(name, SectionOptions(args.quick, args.memory_frames, args.people))
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"{name}: {record['seconds']} s, others used {record['other programs, cores']} cores", flush=True)
    return 0


def _one_by_one(names: Iterable[str], argv: Sequence[str]) -> int:
    """Each in a process of its own, so that none starts with the memory and the threads of another."""
    flags = [word for word in argv if word not in (*SECTIONS, "all")]
    codes = [subprocess.run([sys.executable, "-m", "benchmarks.sections", name, *flags]).returncode for name in names]
    return int(any(codes))


if __name__ == "__main__":
    raise SystemExit(main())
