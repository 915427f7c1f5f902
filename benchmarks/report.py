"""Prints the results as Markdown tables: python -m benchmarks.report > benchmarks/RESULTS.md

The figures are those in benchmarks/results, which `make bench` measures anew; nothing is measured or calculated here.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.markdown import table
from benchmarks.place import BUSY_CORES
from benchmarks.real.tables import tables as real_tables
from benchmarks.sections import SECTIONS

HERE = Path(__file__).parent
Figures = dict[str, Any]
HD = "1280x720, puppet-human"
"""The row of the section `runtime` that the README quotes."""
ABOUT = """\
`make bench` measures all of this anew, in about twenty minutes on two idle cores.
[docs/benchmarks.md](../docs/benchmarks.md) describes each section. The figures are in `benchmarks/results`."""
WIDEST = 14
"""Columns of a table; one with more stands on its side."""


def records(folder: Path) -> dict[str, Figures]:
    """Read the record of each section: its figures, with machine, commit and date."""
    paths = {name: folder / f"{name}.json" for name in (*SECTIONS, "gpu")}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.exists()}


def page(found: dict[str, Figures], learning: Figures) -> Iterator[str]:
    """Yield the paragraphs of the page."""
    yield "# Measured"
    yield ABOUT
    yield "## In short"
    yield table(["what", "figure", "command"], headlines(found, learning))
    for name, record in found.items():
        yield f"## {name}"
        context = {key: record.get(key) for key in ("machine", "commit", "at", "seconds", "other programs, cores")}
        yield table([*context], [[*context.values()]])
        if record.get("options", {}).get("quick"):
            yield "**A rehearsal (--quick), not a measurement: ignore these figures.**"
        if (record.get("other programs, cores") or 0) > BUSY_CORES:
            yield "**Other programs kept the machine busy**, so times are too long and vary from row to row."
        figures: Figures = record["figures"] if "figures" in record else record["parts"]
        yield from [real_tables(figures["rows"], figures["missing"])] if name == "real" else tables(figures)
    yield "## learning"
    yield learning["about"]
    for each in learning["tables"]:
        yield from (f"### {each['title']}", f"{each['said']} `{each['command']}`", table(each["columns"], each["rows"]))


def tables(figures: Figures) -> Iterator[str]:
    """Yield figures as tables: single ones in the first, then one for each list or group of rows."""
    groups: dict[str, Any] = {key: value for key, value in figures.items() if isinstance(value, dict | list) and value}
    if groups and len(groups) == len(figures) and all(map(_is_row, groups.values())):
        yield _rows([{"": key, **_flat(value)} for key, value in groups.items()])
        return
    single = {key: value for key, value in figures.items() if not isinstance(value, dict | list)}
    if single:
        yield table(["", "figure"], single.items())
    for key, value in groups.items():
        yield f"{key}:"
        if isinstance(value, dict):
            yield from tables(value) if _is_group(value) else [table(["", "figure"], value.items())]
        else:
            yield _rows([_flat(row) if isinstance(row, dict) else {"": row} for row in value])


def _is_row(value: Any) -> bool:
    """True for figures by name that are not all groups themselves."""
    return isinstance(value, dict) and not _is_group(value)


def _is_group(value: Figures) -> bool:
    return all(isinstance(each, dict) for each in value.values())


def _rows(rows: list[Figures]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if len(columns) > WIDEST:
        return table(
            ["", *(row[columns[0]] for row in rows)], [[x, *(row.get(x) for row in rows)] for x in columns[1:]]
        )
    return table(columns, [[row.get(column) for column in columns] for row in rows])


def _flat(row: Figures, before: str = "") -> Figures:
    """Nested figures as columns of their own."""
    flat: Figures = {}
    for key, value in row.items():
        flat |= _flat(value, f"{before}{key} ") if isinstance(value, dict) else {f"{before}{key}": value}
    return flat


def headlines(found: dict[str, Figures], learning: Figures) -> Iterator[list[str]]:
    """Yield the rows of the README's table. Raises KeyError if a section is missing."""
    runs, accuracy, startup = (found[name]["figures"] for name in ("runtime", "accuracy", "startup"))
    for what, mode in (("overlay and tracks", "with overlay"), ("tracks only", "tracks only")):
        run = runs["rows"][HD][mode]
        speed = f"{run['fps']:.0f} fps, latency p50 {run['age p50 ms']:.0f} ms, p95 {run['age p95 ms']:.0f} ms"
        yield [f"1280x720 H.264, {what}", speed, "`python -m benchmarks.runtime`"]
    one = [row for row in found["engines"]["figures"]["rows"] if row["batch"] == 1]
    fp32, int8 = (
        min(row["frame_ms"]["p50"] for row in one if row["model"] == f"shipped, {precision}")
        for precision in ("fp32", "int8")
    )
    frame = f"{fp32:.1f} ms in fp32; {int8:.1f} ms in int8"
    yield ["a frame, from scaling to tracks, one thread", frame, "`python -m benchmarks.engines`"]
    ious = f"{accuracy['foreground_iou']:.2f}, {accuracy['part_iou']:.2f}"
    yield ["unseen puppets: foreground IoU, part IoU", ious, "`python -m benchmarks.accuracy`"]
    yield ["unseen puppets: mean centre error", f"{100 * accuracy['center_error']:.1f} % of the image side", "the same"]
    minutes = learning["headlines"]["minutes to learn ten parts"]
    yield ["learning those parts from 96 raw clips", f"{minutes} minutes", "`train/LOG.md`"]
    begin = f"{startup['import seconds']:.2f} s; {startup['environment MB']:.0f} MB"
    yield ["`import streamparts`; environment of `make demo`", begin, "`python -m benchmarks.startup --demo`"]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder of the results")
    args = parser.parse_args(argv)
    learning = json.loads((HERE / "learning.json").read_text(encoding="utf-8"))
    print("\n\n".join(page(records(args.results), learning)))


if __name__ == "__main__":
    main()
