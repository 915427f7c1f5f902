"""The long table as comma-separated text, read and written one row at a time."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streamparts.errors import TracksError
from streamparts.formats.csv_text import cell, text_of
from streamparts.formats.hints import Hints
from streamparts.formats.shots import Survey, shots
from streamparts.formats.tidy import COLUMNS, OPTIONAL, bare_header, names_of, records_of, rows_of
from streamparts.texts import encoding_of
from streamparts.tracksfile.reading import TracksFile
from streamparts.tracksfile.records import HeaderRecord, Record


def write(tracks: TracksFile, survey: Survey, path: Path) -> list[str]:
    """UTF-8; empty cells for missing values; numbers with all significant digits; names that a spreadsheet would run as
    a formula are prefixed with an apostrophe."""
    names = [cell(name) for name in tracks.header.model.parts]
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for shot in shots(tracks):
            table.writerows((*row[:-1], "true" if row[-1] else "false") for row in rows_of(shot, names))
    return survey.size_notes()


def read(path: Path, hints: Hints) -> Iterator[HeaderRecord | Record]:
    """Needs all columns except those of subjects, in any order; other columns are ignored."""
    header = bare_header(path, *names_of(_rows(path)))
    yield header
    yield from records_of(_rows(path), header)


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with path.open(encoding=encoding_of(path), newline="") as file:
            table = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (*OPTIONAL, *(table.fieldnames or ()))]
            if missing:
                comma = "; separate columns by commas" if ";" in (table.fieldnames or [""])[0] else ""
                raise TracksError(f"{path}: line 1: is not a table of tracks, it has no column {missing[0]!r}{comma}")
            for row in table:
                yield f"{path}: line {table.line_num}", {**row, "name": text_of(row["name"] or "")}
    except TracksError:
        raise
    except OSError as error:
        raise TracksError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, csv.Error) as error:
        raise TracksError(f"{path}: is not a CSV file ({error})") from error
