"""DeepLabCut's labelled stills: a folder of images with CollectedData_*.csv.

Three header rows (scorer, bodyparts, coords), then one row per image: its path in one cell or in three, and x, y for
each body part, empty if unlabelled. Pixel centres are whole numbers in these files.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from streamparts.arrays import FloatArray
from streamparts.sources.folders import files_in
from streamparts.texts import encoding_of

from ..frames.spread import spread
from .pictures import read_rgb
from .values import TRUE, EvaluationSet, LabelledFrame, LabelsError, set_name

HEADER = ("scorer", "bodyparts", "coords")
PIXEL_CENTER = 0.5
"""Offset from whole numbers at pixel centres to continuous pixels."""


@dataclass(frozen=True)
class DlcTable:
    """The rows of one CSV."""

    names: tuple[str, ...]
    """(L,) body parts."""
    images: tuple[str, ...]
    """(F,) file names without folders."""
    points: FloatArray
    """(F, L, 2) continuous pixels, nan where missing."""


def open_dlc(folder: Path, max_frames: int) -> EvaluationSet:
    """Open the stills of a folder, or the CSV file itself."""
    path = folder if folder.suffix == ".csv" else _find_csv(folder)
    table = read_dlc_csv(path)
    chosen = spread(len(table.images), max_frames)

    def read() -> Iterator[LabelledFrame]:
        for row in chosen:
            yield LabelledFrame(read_rgb(path.parent / table.images[row]), row, landmarks=table.points[row])

    sources = tuple(path.parent / image for image in table.images)
    name = set_name("dlc", path.parent)
    return EvaluationSet(name, TRUE, len(chosen), read, landmark_names=table.names, sources=sources)


def _find_csv(folder: Path) -> Path:
    files = [path for path in files_in(folder) if fnmatch(path.name, "CollectedData*.csv")]
    if len(files) != 1:
        raise LabelsError(f"{folder}: expected one CollectedData*.csv there, found {len(files)}")
    return files[0]


def read_dlc_csv(path: Path) -> DlcTable:
    """Read the table of a single-animal project. Raises LabelsError for anything else."""
    try:
        with path.open(encoding=encoding_of(path), newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, ValueError) as error:
        raise LabelsError(f"{path}: cannot be read ({error})") from error
    found = tuple(row[0] for row in rows[:3])
    if found != HEADER:
        raise LabelsError(f"{path}: header rows are {', '.join(found)}; expected {', '.join(HEADER)} of one animal")
    if len(rows) == 3:
        raise LabelsError(f"{path}: no row of labels below the header")
    first = rows[2].index("x") if "x" in rows[2] else len(rows[2])
    names = tuple(rows[1][first::2])
    if rows[2][first:] != ["x", "y"] * len(names) or not names:
        raise LabelsError(f"{path}: columns are {', '.join(rows[2][first:][:6])}...; expected x, y for each body part")
    points = np.array([_numbers(path, row, first, 2 * len(names)) for row in rows[3:]], np.float32)
    images = tuple(Path(row[first - 1].replace("\\", "/")).name for row in rows[3:])
    return DlcTable(names, images, points.reshape(len(images), -1, 2) + np.float32(PIXEL_CENTER))


def _numbers(path: Path, row: list[str], first: int, count: int) -> list[float]:
    cells = row[first:]
    if len(cells) != count:
        raise LabelsError(f"{path}: {row[0]} has {len(cells)} coordinates, expected {count}")
    try:
        return [float(cell) if cell else math.nan for cell in cells]
    except ValueError as error:
        raise LabelsError(f"{path}: {row[0]}: {error}") from error
