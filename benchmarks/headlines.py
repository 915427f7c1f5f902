"""Builds the README's table of measurements from the figures of the sections."""

from __future__ import annotations

import re
from typing import Any

from benchmarks.markdown import percent, table
from benchmarks.place import BUSY_CORES

BEGIN, END = "<!-- measured: written by python -m benchmarks.report -->", "<!-- measured: end -->"
QUOTED = ("runtime", "engines", "accuracy", "startup")
"""Sections that the table quotes."""
Sections = dict[str, dict[str, Any]]
"""Figures by section."""
HD = "1280x720, puppet-human"


class MissingFigureError(Exception):
    """Raised when a section that the README quotes has no figures."""


def readme_block(records: dict[str, dict[str, Any]]) -> str:
    """Return the README's measurements as Markdown. `records` maps each section to its record. Raises
    MissingFigureError."""
    sections = {name: record["figures"] for name, record in records.items() if "figures" in record}
    whole = _section(sections, "runtime")["rows"][HD]
    drawn, plain = whole["with overlay"], whole["tracks only"]
    accuracy, startup = _section(sections, "accuracy"), _section(sections, "startup")
    learned = _section(sections, "learning")["headlines"]["minutes to learn ten parts"]
    rows = [
        ["1280x720 H.264, overlay and tracks", _speed(drawn), "`python -m benchmarks.runtime`"],
        ["1280x720 H.264, tracks only", _speed(plain), "the same"],
        [
            "a frame, from scaling to tracks, one thread",
            f"{_frame_ms(sections, 'shipped, fp32')} ms in fp32; {_frame_ms(sections, 'shipped, int8')} ms in int8",
            "`python -m benchmarks.engines`",
        ],
        [
            "unseen puppets: foreground IoU, part IoU",
            f"{accuracy['foreground_iou']:.2f}, {accuracy['part_iou']:.2f}",
            "`python -m benchmarks.accuracy`",
        ],
        ["unseen puppets: mean centre error", f"{100 * accuracy['center_error']:.1f} % of the image side", "the same"],
        ["learning those parts from 96 raw clips", f"{learned} minutes", "`train/LOG.md`"],
        [
            "`import streamparts`; environment of `make demo`",
            f"{startup['import seconds']:.2f} s; {startup['environment MB']:.0f} MB"
            if "environment MB" in startup
            else f"{startup['import seconds']:.2f} s",
            "`python -m benchmarks.startup --demo`",
        ],
    ]
    machine = records["runtime"]["machine"]
    busy = any((records[name].get("other programs, cores") or 0) > BUSY_CORES for name in QUOTED)
    shares = [percent(mode["share of the slowest stage in the run"]) for mode in (drawn, plain)]
    alone = percent(plain["share of the slowest stage alone"])
    drawn_alone = percent(drawn["share of the slowest stage alone"])
    return "\n\n".join([
        f"On {machine['cores']} CPU cores ({machine['processor']}), no GPU, model `puppet-human`"
        + (" while other programs kept the machine busy; all times are too long:" if busy else ":"),
        table(["what", "figure", "command"], rows),
        "Latency: from the decoder's output of a frame until the last sink has written its result. In these runs the "
        f"slowest stage is\nat work {shares[0]} of the time with overlay, {shares[1]} without. Tracking without "
        f"overlay runs at {alone} of the speed its slowest stage\nreaches alone on an idle core; with overlay at "
        f"{drawn_alone}, because the stages share {machine['cores']} cores.",
    ])  # fmt: skip


def _section(sections: Sections, name: str) -> dict[str, Any]:
    if name not in sections:
        raise MissingFigureError(f"section {name} has no figures")
    return sections[name]


def _speed(mode: dict[str, Any]) -> str:
    return f"{mode['fps']:.0f} fps, latency p50 {mode['age p50 ms']:.0f} ms, p95 {mode['age p95 ms']:.0f} ms"


def _frame_ms(sections: Sections, model: str) -> str:
    """Median of the fastest engine at batch size 1."""
    rows = [row for row in _section(sections, "engines")["rows"] if row["model"] == model and row["batch"] == 1]
    if not rows:
        raise MissingFigureError(f"section engines has no figures of {model}")
    return f"{min(row['frame_ms']['p50'] for row in rows):.1f}"


def replaced(readme: str, block: str) -> str:
    """Replace the block between the README's markers. Raises ValueError if a marker is missing."""
    pattern = re.compile(f"{re.escape(BEGIN)}\n.*?\n{re.escape(END)}", re.DOTALL)
    if len(pattern.findall(readme)) != 1:
        raise ValueError(f"README.md has no place for the figures: once {BEGIN} and, below it, {END}")
    return pattern.sub(lambda _: f"{BEGIN}\n{block}\n{END}", readme)
