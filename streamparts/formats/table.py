"""Table of the formats: module, what each keeps and loses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from streamparts.errors import TracksError

if TYPE_CHECKING:
    from streamparts.formats.hints import Hints
    from streamparts.formats.shots import Survey
    from streamparts.tracksfile.reading import TracksFile
    from streamparts.tracksfile.records import HeaderRecord, Record


class FormatModule(Protocol):
    """Interface of a format's module; `read` exists only if `Format.is_read`."""

    def write(self, tracks: TracksFile, survey: Survey, path: Path) -> list[str]:
        """Write all of `tracks` to `path`, which does not exist yet. Returns warnings, one line each."""

    def read(self, path: Path, hints: Hints) -> Iterator[HeaderRecord | Record]:
        """Yield the records of a tracks file, header first. Raises TracksError."""


@dataclass(frozen=True, slots=True)
class Format:
    """A row of the table."""

    name: str
    """Name for --format."""
    suffixes: tuple[str, ...]
    """Suffix of its files; empty for a folder."""
    keeps: str
    loses: str
    module: str
    """Module in this package."""
    extra: str | None = None
    """The pip extra that its module needs."""
    is_read: bool = False
    """True if it can be converted back to tracks."""

    @property
    def implementation(self) -> FormatModule:
        return cast(FormatModule, import_module(f"streamparts.formats.{self.module}"))


FORMATS = (
    Format(
        "csv",
        (".csv",),
        keeps="a row per frame and part: pts and time base, centre, axes, area, score, visible",
        loses="masks, gaps, model and source; the estimated poses of hidden parts",
        module="csv_file",
        is_read=True,
    ),
    Format(
        "parquet",
        (".parquet",),
        keeps="the same table, and masks, gaps, model and source",
        loses="the estimated poses of hidden parts",
        module="parquet_file",
        extra="formats",
        is_read=True,
    ),
    Format(
        "mcap",
        (".mcap",),
        keeps="everything, as JSON, and Foxglove image annotations: centre, outline and name of each part; with "
        "--video the images",
        loses="nothing",
        module="mcap_file",
        extra="formats",
        is_read=True,
    ),
    Format(
        "dlc",
        (".csv", ".h5"),
        keeps="DeepLabCut's table: x, y, likelihood by frame number; in .h5 also the times, for reading",
        loses="axes, areas, masks; in .csv times and frame size",
        module="dlc",
        extra="formats",
        is_read=True,
    ),
    Format(
        "sleap-analysis",
        (".h5", ".analysis.h5"),
        keeps="SLEAP's analysis arrays: x, y and score by frame number, and the times, for reading",
        loses="axes, areas, masks",
        module="sleap_analysis",
        extra="formats",
        is_read=True,
    ),
    Format(
        "slp",
        (".slp",),
        keeps="SLEAP's project file: x, y and score by frame number, the skeleton's edges, masks with their scale",
        loses="times, axes, areas",
        module="sleap_slp",
        extra="formats",
    ),
    Format(
        "coco",
        (".json",),
        keeps="COCO results: keypoints, boxes, scores, masks as RLE in displayed pixels; pts beside each result",
        loses="axes, areas, frames without visible parts",
        module="coco",
    ),
    Format(
        "coco-dataset",
        (".dataset.json",),
        keeps="a complete COCO data set: images, categories with keypoints and skeleton, and annotations",
        loses="axes, areas, times",
        module="coco_dataset",
    ),
    Format(
        "openpose",
        (),
        keeps="a JSON file per frame number: x, y and score of each part or joint instead of body joints; their names "
        "and tree for Pose2Sim",
        loses="times, axes, areas, masks",
        module="openpose",
    ),
    Format(
        "trc",
        (".trc",),
        keeps="motion capture's marker text: frame number, time, parts or joints in metres, y up, z = 0",
        loses="scores, axes, areas, masks",
        module="trc",
    ),
    Format(
        "rerun",
        (".rrd",),
        keeps="Rerun's recording: centre, outline, name and score of each visible part, by frame and time; with "
        "--video the images",
        loses="areas, masks",
        module="rerun_file",
        extra="rerun",
    ),
)

REFUSED = {
    "bvh": "BVH holds the rotations of a three-dimensional skeleton's joints, which two-dimensional parts do not have; "
    "write --format trc or openpose and lift it to 3-D with a tool that does (Pose2Sim, OpenSim, Blender)",
}
"""Formats that users ask for, with the reason why they are not written."""


def format_of(path: Path, name: str | None) -> Format:
    """Return the format called `name`, or the only one with `path`'s suffix. Raises TracksError naming the choices."""
    wanted = (name or path.suffix.lstrip(".")).lower()
    if wanted in REFUSED:
        raise TracksError(f"{path}: not written: {REFUSED[wanted]}")
    file_name = path.name.lower()
    if name is not None:
        found = [one for one in FORMATS if one.name == wanted]
        if not found:
            raise TracksError(f"there is no format {name!r}; there are {', '.join(one.name for one in FORMATS)}")
        if found[0].suffixes and not file_name.endswith(found[0].suffixes):
            raise TracksError(f"{path}: {wanted} files end in {' or '.join(found[0].suffixes)}")
        return found[0]
    fitting = [(suffix, one) for one in FORMATS for suffix in one.suffixes if file_name.endswith(suffix)]
    longest = max((len(suffix) for suffix, _ in fitting), default=0)
    fitting = [(suffix, one) for suffix, one in fitting if len(suffix) == longest]
    named = [one for suffix, one in fitting if f".{one.name}" == suffix] or [one for _, one in fitting]
    if len(named) == 1:
        return named[0]
    choices = ", ".join(one.name for one in named or FORMATS)
    raise TracksError(
        f"{path}: {'several formats have this suffix' if named else 'no format has this suffix'}; choose one with "
        f"--format (in Python: format=): {choices}"
    )


def listing() -> str:
    """The table as text."""
    lines = list[str]()
    for one in FORMATS:
        where = " or ".join(one.suffixes) or "a folder"
        extra = f", pip install 'streamparts[{one.extra}]'" if one.extra else ""
        lines += [
            f"{one.name}  ({where}; {'written and read' if one.is_read else 'written'}{extra})",
            f"    keeps: {one.keeps}",
            f"    loses: {one.loses}",
        ]
    lines += [f"not {name}: {why}" for name, why in REFUSED.items()]
    return "\n".join(lines)
