"""Draws the figures of a section as SVG: black on white, identical for equal figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Figures = dict[str, Any]
Draw = Callable[[Axes, Figures], None]
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: small, and a change of one figure changes one line
    "svg.hashsalt": "streamparts",
    "figure.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "font.size": 10,
    "font.family": "sans-serif",
    "axes.prop_cycle": cycler(color=["#0072b2", "#d55e00", "#009e73", "#cc79a7"]),
}
MODES = ("with overlay", "tracks only")


def runtime(axes: Axes, found: Figures) -> None:
    """Frame rate of each size and model."""
    rows = found["rows"]
    for offset, mode in zip((-0.2, 0.2), MODES, strict=True):
        rates = {y + offset: row[mode]["fps"] for y, row in enumerate(rows.values()) if mode in row}
        axes.barh(list(rates), list(rates.values()), 0.4, label=mode)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.set_xlabel("frames per second")


def frames(axes: Axes, found: Figures) -> None:
    rows = found["frames"]
    seconds = [row["frames"] / row["fps"] for row in rows]
    axes.plot([row["frames"] for row in rows], seconds, "o-", label="whole run, overlay and tracks")
    axes.set_xlabel("frames of the clip, 640x360")
    axes.set_ylabel("seconds")
    _from_zero(axes)
    axes.set_xlim(left=0)


def sizes(axes: Axes, found: Figures) -> None:
    rows = found["sizes"]
    for mode in MODES:
        axes.plot([row["megapixels"] for row in rows], [row[f"processor ms {mode}"] for row in rows], "o-", label=mode)
    for row in rows[1:]:
        place = (row["megapixels"], row[f"processor ms {MODES[0]}"])
        axes.annotate(row["size"], place, (-6, 6), textcoords="offset points", ha="right")
    axes.set_xlabel("megapixels of the video")
    axes.set_ylabel("processor ms a frame")
    _from_zero(axes)


def parts(axes: Axes, found: Figures) -> None:
    rows = found["parts"]
    for key in ("network ms", "scaling to tracks ms"):
        axes.plot([row["parts"] for row in rows], [row[key] for row in rows], "o-", label=key.removesuffix(" ms"))
    axes.set_xticks([row["parts"] for row in rows])
    axes.set_xlabel("parts of the model")
    axes.set_ylabel("ms a frame")
    _from_zero(axes)


def sources(axes: Axes, found: Figures) -> None:
    rows = found["sources"]
    for key in ("fps of all together", "fps of each"):
        axes.plot([row["sources"] for row in rows], [row[key] for row in rows], "o-", label=key.removeprefix("fps "))
    axes.set_xticks([row["sources"] for row in rows])
    axes.set_xlabel("videos of 1280x720 at once")
    axes.set_ylabel("frames per second")
    _from_zero(axes)


def memory(axes: Axes, found: Figures) -> None:
    values = {int(done): mb for done, mb in found["memory MB after frames"].items() if mb is not None}
    axes.plot(list(values), list(values.values()), "o-", label="resident memory")
    axes.set_xlabel("frames")
    axes.set_ylabel("MB")
    _from_zero(axes)


def _from_zero(axes: Axes) -> None:
    axes.set_ylim(0, 1.2 * axes.dataLim.ymax)


def neighbours(axes: Axes, found: Figures) -> None:
    """Frame rate of each program, by clip."""
    rows = found["rows"]
    labels = list(dict.fromkeys(f"{row['name']}\n{row['clip']}" for row in rows))
    for offset, mode in zip((-0.2, 0.2), dict.fromkeys(row["mode"] for row in rows), strict=False):
        rates = {f"{row['name']}\n{row['clip']}": row["fps"] for row in rows if row["mode"] == mode}
        axes.barh([labels.index(label) + offset for label in rates], list(rates.values()), 0.4, label=mode)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xlabel("frames per second")


CHARTS: dict[str, dict[str, Draw]] = {
    "runtime": {"runtime": runtime},
    "scaling": {"frames": frames, "sizes": sizes, "parts": parts, "sources": sources},
    "memory": {"memory": memory},
    "neighbours": {"neighbours": neighbours},
}
"""Charts of each section, by name."""


def draw(section: str, found: Figures, folder: Path) -> Iterator[Path]:
    """Write the charts of a section into `folder`."""
    for name, fill in CHARTS.get(section, {}).items():
        with matplotlib.rc_context(STYLE):
            bars = fill in (runtime, neighbours)
            figure = Figure(figsize=(7.5, 4.2) if bars else (5.4, 3.2), layout="constrained")
            axes = figure.add_subplot()
            fill(axes, found)
            axes.grid(visible=not bars, axis="y")
            axes.grid(visible=bars, axis="x")
            axes.legend(frameon=False)
            path = folder / f"{name}.svg"
            figure.savefig(path, metadata={"Date": None})
        yield path
