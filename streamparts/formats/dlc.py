"""DeepLabCut's predictions, .csv and .h5: columns by scorer, body part and x, y, likelihood; one row per frame number.

Pixel centres are whole numbers. A hidden part has likelihood 0 and no position; a frame that was not tracked is NaN
throughout. Several subjects are individuals, with an additional column level, as in DeepLabCut's multi-animal projects.
CSV spells out NaN, because pandas takes an empty first row for the name of the index.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from pathlib import Path
from tempfile import gettempdir
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from streamparts.errors import TracksError, need
from streamparts.formats.csv_text import cell, text_of
from streamparts.formats.dense import PIXEL_CENTER, Points, blocks, keep_times, records, subject_names, unique_names
from streamparts.formats.hints import Hints
from streamparts.formats.literals import literal
from streamparts.formats.shots import Survey
from streamparts.texts import encoding_of
from streamparts.tracksfile.reading import TracksFile
from streamparts.tracksfile.records import HeaderRecord, Record

LEVELS = ("scorer", "bodyparts", "coords")
LEVELS_OF_SEVERAL = ("scorer", "individuals", "bodyparts", "coords")
COORDS = ("x", "y", "likelihood")
KEY = "df_with_missing"
SHIFT = np.array([PIXEL_CENTER, PIXEL_CENTER, 0.0])


def write(tracks: TracksFile, survey: Survey, path: Path) -> list[str]:
    """Write .csv or .h5, by suffix."""
    survey.check_rows(tracks)
    names, notes = unique_names(tracks)
    scorer = tracks.header.model.name or "streamparts"
    columns: list[tuple[str, ...]] = [(scorer, name, coord) for name in names for coord in COORDS]
    if survey.num_subjects > 1:
        columns = [(scorer, one, *rest) for one in subject_names(survey.num_subjects) for _, *rest in columns]
    if path.suffix.lower() == ".csv":
        _write_csv(tracks, columns, path, survey.num_subjects)
    else:
        _write_h5(tracks, columns, path, survey.num_subjects)
    return notes + survey.time_notes() + survey.size_notes()


def _write_csv(tracks: TracksFile, columns: list[tuple[str, ...]], path: Path, num_subjects: int) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        for level, labels in zip(_levels(num_subjects), zip(*columns, strict=True), strict=True):
            table.writerow((level, *map(cell, labels)))
        for first, points, _ in blocks(tracks, num_subjects=num_subjects):
            for row, values in enumerate(np.round(_flat(points), 4).tolist(), first):
                table.writerow((row, *("NaN" if value != value else value for value in values)))


def _write_h5(tracks: TracksFile, columns: list[tuple[str, ...]], path: Path, num_subjects: int) -> None:
    need("tables", "DeepLabCut's .h5")
    pandas, h5py = need("pandas", "DeepLabCut's .h5"), need("h5py", "DeepLabCut's .h5")
    header = pandas.MultiIndex.from_tuples(columns, names=_levels(num_subjects))
    options = {"driver": "H5FD_CORE", "driver_core_backing_store": 0}  # the HDF5 library crashes on a full disk
    own = Path(gettempdir()) / f"streamparts-{uuid4()}.h5"  # never written; `path` may have any bytes, HDFStore's not
    with pandas.HDFStore(own, "w", **options) as store:
        for first, points, _ in blocks(tracks, num_subjects=num_subjects):
            index = pandas.RangeIndex(first, first + len(points)).astype("int64")
            store.append(KEY, pandas.DataFrame(_flat(points), index, header), format="table")
        if KEY not in store:  # pandas does not write an empty table in the other form
            store.put(KEY, pandas.DataFrame(columns=header, dtype=float), format="fixed", track_times=False)
        store.flush()
        memory = BytesIO(store.root._v_file.get_file_image())
    with h5py.File(memory, "r+") as file:
        keep_times(file, tracks)
    path.write_bytes(memory.getvalue())


def _levels(num_subjects: int) -> tuple[str, ...]:
    return LEVELS if num_subjects == 1 else LEVELS_OF_SEVERAL


def _flat(points: NDArray[np.float64]) -> NDArray[np.float64]:
    flat: NDArray[np.float64] = (points - SHIFT).reshape(len(points), -1)
    return flat


def read(path: Path, hints: Hints) -> Iterator[HeaderRecord | Record]:
    """Read one individual's predictions; labels, which have no likelihood, are refused."""
    if path.suffix.lower() == ".csv":
        yield from _read_csv(path, hints)
    else:
        yield from _read_h5(path, hints)


def _read_csv(path: Path, hints: Hints) -> Iterator[HeaderRecord | Record]:
    try:
        with path.open(encoding=encoding_of(path), newline="") as file:
            start = list(islice(csv.reader(file), 4))
        num_levels = 4 if [row[:1] for row in start[1:2]] == [["individuals"]] else 3
        scorer, names, order = _layout(
            path, [tuple(map(text_of, column)) for column in zip(*start[:num_levels], strict=False)][1:]
        )
        num_rows = 1 + max((row for row, _ in _csv_rows(path, num_levels, order)), default=-1)
        yield from records(path, names, _csv_rows(path, num_levels, order), num_rows, hints, model=scorer)
    except TracksError:
        raise
    except OSError as error:
        raise TracksError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, csv.Error) as error:
        raise TracksError(f"{path}: is not a CSV file ({error})") from error


def _csv_rows(path: Path, num_levels: int, order: list[int]) -> Iterator[tuple[int, Points]]:
    with path.open(encoding=encoding_of(path), newline="") as file:
        table = csv.reader(file)
        for row in islice(table, num_levels, None):
            try:
                number, values = int(row[0]), np.array([float(text or "nan") for text in row[1:]])
                points = _points(values, order)
            except (ValueError, IndexError) as error:
                raise TracksError(f"{path}: line {table.line_num}: not frame number and positions ({error})") from error
            yield number, points


def _read_h5(path: Path, hints: Hints) -> Iterator[HeaderRecord | Record]:
    h5py = need("h5py", "DeepLabCut's .h5")
    try:
        with h5py.File(path, "r") as file:
            group = next((one for one in file.values() if "values_block_0" in _fields(one)), None)
            if group is None:
                raise TracksError(f"{path}: has no table such as DeepLabCut's {KEY}")
            fields = [name for name in _fields(group) if name.startswith("values_block_")]
            columns = [tuple(column) for name in fields for column in literal(_text(group["table"], f"{name}_kind"))]
            scorer, names, order = _layout(path, columns)
            num_rows = 1 + max((row for row, _ in _h5_rows(group, fields, order)), default=-1)
            yield from records(path, names, _h5_rows(group, fields, order), num_rows, hints, file, scorer)
    except TracksError:
        raise
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise TracksError(f"{path}: is not an HDF5 file from DeepLabCut ({error})") from error


def _fields(group: Any) -> tuple[str, ...]:
    """Fields of the table in an HDF5 group, if there is one."""
    table = group.get("table") if hasattr(group, "get") else None
    return tuple(getattr(getattr(table, "dtype", None), "names", None) or ())


def _text(table: Any, attribute: str) -> bytes:
    return bytes(table.attrs[attribute])


def _h5_rows(group: Any, fields: list[str], order: list[int], length: int = 4096) -> Iterator[tuple[int, Points]]:
    table = group["table"]
    for first in range(0, len(table), length):
        block = table[first : first + length]
        values = np.concatenate([block[name].reshape(len(block), -1) for name in fields], axis=1)
        for number, row in zip(block["index"].tolist(), values.astype(np.float64), strict=True):
            yield int(number), _points(row, order)


def _layout(path: Path, columns: list[tuple[str, ...]]) -> tuple[str, list[str], list[int]]:
    """(scorer, body parts, column indices of x, y and likelihood of each) for columns by scorer, (individual), body
    part and coordinate."""
    if not columns or not all(len(column) in (3, 4) for column in columns):
        raise TracksError(f"{path}: its columns are not DeepLabCut's: {', '.join(LEVELS)}")
    individuals = {column[1] for column in columns if len(column) == 4}
    if len(individuals) > 1 or len({column[0] for column in columns}) > 1:
        raise TracksError(f"{path}: has several individuals or scorers, but tracks have one subject")
    place = {column[-2:]: number for number, column in enumerate(columns)}
    names = list(dict.fromkeys(column[-2] for column in columns))
    missing = [(name, coord) for name in names for coord in COORDS if (name, coord) not in place]
    if missing:
        raise TracksError(
            f"{path}: {missing[0][0]!r} has no {missing[0][1]}; predictions have all of {', '.join(COORDS)}"
        )
    return columns[0][0], names, [place[name, coord] for name in names for coord in COORDS]


def _points(values: NDArray[np.float64], order: list[int]) -> Points:
    points: Points = values[order].reshape(-1, 3) + SHIFT
    return points
