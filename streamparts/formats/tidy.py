"""The long table shared by csv, parquet and pandas: one row per frame, subject and part."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from streamparts import __version__
from streamparts.bundle.spec import pairs_by_name
from streamparts.errors import TracksError
from streamparts.formats.shots import Shot
from streamparts.tracking.roi import MOST_SUBJECTS
from streamparts.tracksfile.records import (
    COORDINATES,
    SCHEMA,
    FrameRecord,
    GapRecord,
    HeaderRecord,
    ModelRecord,
    PartRecord,
    Record,
    RleRecord,
    SegmentRecord,
    SourceRecord,
    SubjectRecord,
)

COLUMNS: dict[str, type] = {
    "segment": int,
    "frame": int,
    "pts": int,
    "time_base": str,  # seconds per tick of pts, as a fraction
    "pts_seconds": float,
    "dropped": int,
    "height": int,
    "width": int,
    "subject": int,  # from 0; tables without the column have one subject
    "subject_score": float,  # empty if unknown
    "part": int,
    "name": str,
    "x": float,  # the centre, in displayed pixels; empty if the part is not visible, like the axes
    "y": float,
    "a": float,  # [[a, b], [c, d]] maps the unit circle to the part's ellipse around its centre
    "b": float,
    "c": float,
    "d": float,
    "area": float,
    "score": float,
    "visible": bool,
}
OPTIONAL = ("subject", "subject_score")
"""Columns that other tools' tables may lack."""
MASK, REGION = "mask", "mask_region"
"""COCO's compressed counts, in tables with masks, and the mask's region if it is not the header's: left, top, width and
height in displayed pixels."""

Row = tuple[Any, ...]


def rows_of(shot: Shot, names: Sequence[str], masks: bool = False) -> Iterator[Row]:
    """Rows of one frame in the order of COLUMNS, plus MASK and REGION with `masks`. None stands for a missing value."""
    frame, setting = shot.frame, shot.setting
    time = (frame.segment, frame.frame, frame.pts, "{}/{}".format(*setting.time_base), float(shot.seconds))
    for one in shot.subjects:
        begin = (*time, frame.dropped, setting.height, setting.width, one.subject, one.score)
        region = None if one.region is None else " ".join(f"{value:g}" for value in one.region)
        for number, (part, name) in enumerate(zip(one.parts, names, strict=True)):
            if part is None:
                continue
            (a, b, tx), (c, d, ty) = part.affine
            place = (tx, ty, a, b, c, d) if part.visible else (None,) * 6
            row = (*begin, number, name, *place, part.area, part.score, part.visible)
            yield (*row, part.mask.counts if part.mask else None, region) if masks else row


def tables(
    shots: Iterable[Shot], names: Sequence[str], masks: bool = False, num_rows: int = 1 << 16
) -> Iterator[dict[str, list[Any]]]:
    """Columns of about `num_rows` rows at a time; at least one table, possibly without rows."""
    columns = [*COLUMNS, MASK, REGION] if masks else list(COLUMNS)
    rows, is_first = list[Row](), True
    for shot in shots:
        rows.extend(rows_of(shot, names, masks))
        if len(rows) >= num_rows:
            yield dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True))
            rows, is_first = [], False
    if rows or is_first:
        yield dict(zip(columns, map(list, zip(*rows, strict=True)) if rows else ([] for _ in columns), strict=True))


def names_of(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[tuple[str, ...], Mapping[str, Any] | None]:
    """(names by part number, first row) of a table; each row comes with its location in words."""
    found, first = dict[int, str](), None
    for where, row in rows:
        first = first or row
        part, name = _integer(where, row, "part"), str(row["name"])
        if found.setdefault(part, name) != name:
            raise TracksError(f"{where}: part {part} is called {name!r}, but was called {found[part]!r} before")
    missing = set(range(len(found))) - set(found)
    if missing:
        raise TracksError(f"the table has {len(found)} parts, but none with number {min(missing)}")
    return tuple(found[part] for part in range(len(found))), first


def bare_header(path: Path, names: Sequence[str], row: Mapping[str, Any] | None) -> HeaderRecord:
    """Header from a table: names, size and clock of its first row; the rest is empty."""
    if row is None:
        raise TracksError(f"{path}: has no rows, and therefore no frame size and no clock")
    segment = _segment(f"{path}: the first row", row)
    model = ModelRecord("", "", "", list(names), symmetric_pairs=list(pairs_by_name(names)))
    source = SourceRecord("", segment.height, segment.width, segment.time_base, None)
    return HeaderRecord(SCHEMA, __version__, model, source, None, COORDINATES)


def records_of(
    rows: Iterable[tuple[str, Mapping[str, Any]]],
    header: HeaderRecord,
    breaks: Sequence[GapRecord | SegmentRecord] = (),
) -> Iterator[Record]:
    """Frames, and a segment wherever the table starts one; `breaks` are known gaps and segments. Raises TracksError at
    an invalid row."""
    names, waiting = header.model.parts, list(breaks)[::-1]
    masks, segment, last = header.masks, 0, -1

    def frame_of(item: tuple[str, Mapping[str, Any]]) -> tuple[int, int]:
        return _integer(*item, "segment"), _integer(*item, "frame")

    for (of_segment, number), group in groupby(rows, frame_of):
        items = list(group)
        where, row = items[0]
        if number <= last:
            raise TracksError(f"{where}: frame {number} comes after frame {last}; sort the rows by frame")
        last = number
        while waiting and waiting[-1].frame <= number:
            record = waiting.pop()
            if isinstance(record, SegmentRecord):
                segment, masks = record.segment, record.masks
            yield record
        if of_segment != segment:
            segment = of_segment
            yield _segment(where, row)
        base = _time_base(where, row)
        subjects = _subjects(items, names, masks.mask_hw if masks else None)
        pts, first = _integer(where, row, "pts"), subjects[0]
        yield FrameRecord(
            number,
            pts,
            round(float(pts * base), 6),
            first.parts,
            of_segment,
            _integer(where, row, "dropped"),
            subject_score=first.score,
            region=first.region,
            subjects=subjects if len(subjects) > 1 else [],
        )
    yield from reversed(waiting)


def _subjects(
    items: Sequence[tuple[str, Mapping[str, Any]]], names: Sequence[str], mask_hw: tuple[int, int] | None
) -> list[SubjectRecord]:
    """Rows of one frame by subject, up to the last subject that has any."""
    rows: dict[int, list[tuple[str, Mapping[str, Any]]]] = {0: []}
    for item in items:
        rows.setdefault(_integer(*item, "subject") if item[1].get("subject") not in (None, "") else 0, []).append(item)
    if max(rows) >= MOST_SUBJECTS:
        raise TracksError(f"{items[0][0]}: subject is {max(rows)}, the maximum is {MOST_SUBJECTS}")
    out = []
    for subject in range(max(rows) + 1):
        parts, score, region = dict[int, PartRecord](), None, None
        for where, row in rows.get(subject, ()):
            parts[_integer(where, row, "part")] = _part(where, row, mask_hw)
            told = row.get("subject_score") not in (None, "") and row["subject_score"] == row["subject_score"]
            score = _number(where, row, "subject_score") if told else None
            region = _region(where, row)
        found = [parts.get(part) or unseen(part, name) for part, name in enumerate(names)]
        out.append(checked(items[0][0], SubjectRecord(subject, found, score, region)))
    return out


def _region(where: str, row: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    text = row.get(REGION)
    if not isinstance(text, str) or not text:
        return None
    try:
        left, top, width, height = map(float, text.split())
    except ValueError as error:
        raise TracksError(f"{where}: {REGION} is {text!r}, not four numbers") from error
    return left, top, width, height


def unseen(part: int, name: str, score: float = 0.0) -> PartRecord:
    """A part without data: zeros, not visible."""
    return PartRecord(part, name, (0.0, 0.0), ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)), 0.0, score, False)


def _part(where: str, row: Mapping[str, Any], mask_hw: tuple[int, int] | None) -> PartRecord:
    part, name, visible = _integer(where, row, "part"), str(row["name"]), _truth(where, row)
    text = row.get(MASK)
    mask = RleRecord(mask_hw, str(text)) if isinstance(text, str) and mask_hw else None
    area, score = _number(where, row, "area"), _number(where, row, "score")
    x, y, a, b, c, d = (_number(where, row, name) if visible else 0.0 for name in "xyabcd")
    center = (round(x, 3), round(y, 3))
    return checked(where, PartRecord(part, name, center, ((a, b, x), (c, d, y)), area, score, visible, mask))


def _segment(where: str, row: Mapping[str, Any]) -> SegmentRecord:
    base = _time_base(where, row)
    segment, frame, height, width = (_integer(where, row, name) for name in ("segment", "frame", "height", "width"))
    return checked(where, SegmentRecord(segment, frame, height, width, (base.numerator, base.denominator)))


Checked = TypeVar("Checked", bound=msgspec.Struct)


def checked(where: str, record: Checked) -> Checked:
    """Return the record. Raises TracksError if it violates the schema."""
    try:
        return msgspec.convert(msgspec.to_builtins(record), type(record))
    except (msgspec.ValidationError, OverflowError) as error:
        raise TracksError(f"{where}: {error}") from error


def _integer(where: str, row: Mapping[str, Any], column: str) -> int:
    try:
        value = int(row[column])
    except (TypeError, ValueError) as error:
        raise TracksError(f"{where}: {column} is {row[column]!r}, not a whole number") from error
    if not -(1 << 63) <= value < 1 << 63 or (value < 0 and column != "pts"):
        raise TracksError(f"{where}: {column} is {value}, out of range")
    return value


def _number(where: str, row: Mapping[str, Any], column: str) -> float:
    try:
        value = float(row[column])
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise TracksError(f"{where}: {column} is {row[column]!r}, not a number")
    return value


def _truth(where: str, row: Mapping[str, Any]) -> bool:
    text = str(row["visible"]).lower()
    if text not in ("true", "false", "1", "0"):
        raise TracksError(f"{where}: visible is {row['visible']!r}, neither true nor false")
    return text in ("true", "1")


def _time_base(where: str, row: Mapping[str, Any]) -> Fraction:
    try:
        base = Fraction(str(row["time_base"]))
    except (ValueError, ZeroDivisionError):
        base = Fraction(0)
    if base <= 0:
        raise TracksError(f"{where}: time_base is {row['time_base']!r}, not a positive fraction")
    return base
