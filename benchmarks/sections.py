"""The sections of the report: python -m benchmarks.sections NAME --out NAME.json [--quick]

`benchmarks.report` runs each in a separate process. With --quick, everything runs once and short, as a rehearsal
without meaningful figures.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.place import ROOT

Figures = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """Options of all sections."""

    quick: bool = False
    memory_frames: int = 100_000
    """Number of frames of the memory section."""
    people: Path = ROOT.parent / "shared" / "data" / "human" / "dance.mp4"
    """A video of a person for the neighbours section, skipped if missing."""


def runtime(options: Options) -> Figures:
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
        int8 = inputs.in_int8(None, scratch, 1 if options.quick else 8)
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


def engines(options: Options) -> Figures:
    from benchmarks.engines import measure

    return measure((1, 4, 16), 0.02 if options.quick else 1.5)


def scaling(options: Options) -> Figures:
    from benchmarks.scaling import FRAMES, PARTS, SIZES, SOURCES, measure

    if options.quick:
        return measure(10, (10, 20), ((180, 320), (720, 1280)), (2, 5), (1, 2), 1, 0.02)
    return measure(120, FRAMES, SIZES, PARTS, SOURCES, 3, 1.0)


def accuracy(options: Options) -> Figures:
    from benchmarks.accuracy import measure

    clips, frames = (2, 8) if options.quick else (20, 48)
    return {"clips": clips, **measure(None, "human", clips, frames, 256)}


def real(options: Options) -> Figures:
    """A single line if the real clips are missing."""
    from benchmarks.real.measuring import shipped
    from train.evaluate import rounded

    figures: Figures = shipped(10 if options.quick else 300, options.quick)
    return {**figures, "rows": [rounded(row) for row in figures["rows"]]}


def memory(options: Options) -> Figures:
    from benchmarks.memory import measure

    return measure(500 if options.quick else options.memory_frames)


def startup(options: Options) -> Figures:
    from benchmarks.startup import demo, measure

    return measure(None, 1) if options.quick else demo(7)


def neighbours(options: Options) -> Figures:
    from benchmarks.neighbours import measure

    people = {"a person dancing, 406x720": options.people} if options.people.is_file() and not options.quick else {}
    frames, repeats = (12, 1) if options.quick else (240, 3)
    return measure(people, frames, repeats)


def smoothing(options: Options) -> Figures:
    from benchmarks.smoothing import cost_us, table

    seeds = (0,) if options.quick else (0, 1, 2, 3)
    rates = (30.0,) if options.quick else (60.0, 30.0)
    tables = {f"{rate:g} frames/s": table(rate, seeds) for rate in rates}
    return {"seeds": len(seeds), "tables": tables, "us a part and frame": cost_us()}


def skeleton(options: Options) -> Figures:
    from benchmarks.skeleton import measure

    clips, frames = (1, 60) if options.quick else (20, 250)
    return {"clips": clips, "frames": frames, **measure(None, "human", clips, frames, 256)}


def messages(options: Options) -> Figures:
    from benchmarks.messages import measure

    return measure(str(ROOT / "examples" / "puppet.mp4"), 20 if options.quick else 500)


def live(options: Options) -> Figures:
    import streamparts
    from benchmarks.live import RATE, run_live

    first, second = (2, 2) if options.quick else (30, 60)
    bundle = streamparts.load_model("puppet-human")
    return {
        "network of 20 ms": run_live(bundle, first, 0.02),
        "network twice too slow": run_live(bundle, second, 2 / RATE),
    }


def counter(options: Options) -> Figures:
    from benchmarks.counter import check

    with tempfile.TemporaryDirectory() as folder:
        return check(50 if options.quick else 10_000, None, Path(folder))


def corpus(options: Options) -> Figures:
    """Without Ray, whose processes would count as other programs."""
    from benchmarks.corpus import measure

    videos, turns = (4, 2) if options.quick else (240, 6)
    return measure(videos, 10, turns, overlay=False, ray=False)


SECTIONS: dict[str, Callable[[Options], Figures]] = {
    function.__name__: function
    for function in (
        runtime, engines, scaling, accuracy, real, memory, startup, neighbours, live, counter, corpus, messages,
        smoothing, skeleton,
    )
}  # fmt: skip
"""Available measurements, in the report's order."""


def add_options(parser: argparse.ArgumentParser) -> None:
    default = Options()
    parser.add_argument("--quick", action="store_true", help="test run of a few minutes; its figures are meaningless")
    frames, people = default.memory_frames, default.people
    parser.add_argument(
        "--memory-frames", type=int, default=frames, help="frames of section memory (default: %(default)s)"
    )
    parser.add_argument("--people", type=Path, default=people, help="video of a person for section neighbours")


def options_of(args: argparse.Namespace) -> Options:
    return Options(args.quick, args.memory_frames, args.people)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=SECTIONS)
    parser.add_argument("--out", type=Path, help="JSON file for the figures, instead of printing them")
    add_options(parser)
    args = parser.parse_args(argv)
    text = json.dumps(SECTIONS[args.name](options_of(args)), indent=2)
    if args.out:
        args.out.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
