"""Formats with one row per frame number and no times: DeepLabCut, SLEAP's analysis files, OpenPose."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamparts import __version__
from streamparts.bundle.spec import pairs_by_name
from streamparts.errors import TracksError
from streamparts.formats.hints import Hints
from streamparts.formats.shots import Shot, shots
from streamparts.formats.tidy import checked, unseen
from streamparts.tracksfile.reading import TracksFile
from streamparts.tracksfile.records import (
    COORDINATES,
    SCHEMA,
    FrameRecord,
    GapRecord,
    HeaderRecord,
    ModelRecord,
    PartRecord,
    Record,
    SegmentRecord,
)

PIXEL_CENTER = 0.5
"""Offset: DeepLabCut and SLEAP count from the centre of the first pixel, tracks from its corner."""

Points = NDArray[np.float64]
"""(K, 3) x, y in displayed pixels and score; nan, nan and 0 for a hidden part."""

TimeOf = Callable[[int], tuple[int, int] | None]
"""Frame number -> (pts, dropped); None for a frame that was not tracked."""

GROUP = "streamparts"
"""Name in HDF5 files for data that the format cannot store; other readers ignore it."""


def rows(tracks: TracksFile, num_subjects: int = 1) -> Iterator[Points | None]:
    """(S, K, 3) for several subjects, (K, 3) for one, for each frame number from 0; None for a frame that was not
    tracked."""
    number = 0
    for shot in shots(tracks):
        for _ in range(number, shot.frame.frame):
            yield None
        yield shot.positions if num_subjects == 1 else positions(shot, num_subjects)
        number = shot.frame.frame + 1


def positions(shot: Shot, num_subjects: int) -> NDArray[np.float64]:
    """(S, K, 3) for several subjects; nan, nan and 0 for a subject missing from the frame."""
    out = np.tile(np.array([np.nan, np.nan, 0.0]), (num_subjects, len(shot.parts), 1))
    for one in shot.subjects:
        out[one.subject] = one.positions
    return out


def blocks(
    tracks: TracksFile, length: int = 4096, num_subjects: int = 1
) -> Iterator[tuple[int, NDArray[np.float64], NDArray[np.bool_]]]:
    """(first row, (n, K, 3) points, (n,) whether tracked), nan for frames that were not tracked; for several subjects
    (n, S, K, 3)."""
    shape = (len(tracks.header.model.parts), 3)
    nothing = np.full(shape if num_subjects == 1 else (num_subjects, *shape), np.nan)
    first, kept = 0, list[Points | None]()

    def block() -> tuple[int, NDArray[np.float64], NDArray[np.bool_]]:
        points = np.stack([nothing if row is None else row for row in kept])
        return first, points, np.array([row is not None for row in kept])

    for row in rows(tracks, num_subjects):
        kept.append(row)
        if len(kept) == length:
            yield block()
            first, kept = first + length, []
    if kept:
        yield block()


def subject_names(num_subjects: int) -> list[str]:
    """Names of several individuals: subject0, subject1, ...; of a single one, subject."""
    return ["subject"] if num_subjects == 1 else [f"subject{number}" for number in range(num_subjects)]


def unique_names(tracks: TracksFile) -> tuple[list[str], list[str]]:
    """Return (unique names of the parts, warnings). Raises TracksError without parts."""
    names, notes = list[str](), list[str]()
    for number, name in enumerate(tracks.header.model.parts):
        unique = f"part{number}" if name == "" else name
        while unique in names:
            unique = f"{unique}_{number}"
        if unique != name:
            notes.append(f"part {number} is renamed to {unique!r}, because its name {name!r} is empty or used twice")
        names.append(unique)
    if not names:
        raise TracksError(f"{tracks.path}: has no parts, which this format requires")
    return names, notes


def keep_times(file: Any, tracks: TracksFile) -> None:
    """Write the data needed to restore tracks to an open h5py file: header, gaps, segments, and each frame's time."""
    breaks, times = list[Record](), array("q")
    for record in tracks:
        if isinstance(record, FrameRecord):
            times.extend((record.frame, record.pts, record.dropped))
        else:
            breaks.append(record)
    group = file.create_group(GROUP)
    group.attrs["about"] = "header, gaps and segments of the tracks, as JSON; times: frame, pts, dropped of each frame"
    group["header"] = np.bytes_(msgspec.json.encode(tracks.header))
    group["breaks"] = np.bytes_(msgspec.json.encode(breaks))
    group["times"] = np.array(times, np.int64).reshape(-1, 3)


def records(
    path: Path,
    names: Sequence[str],
    found: Iterable[tuple[int, Points]],
    num_rows: int,
    hints: Hints,
    file: Any = None,
    model: str = "",
) -> Iterator[HeaderRecord | Record]:
    """Build records from (row, points), with increasing rows; points are nan for a frame that was not tracked. `file`
    is an open h5py file that may contain the data of `keep_times`. Only positions and scores are known: axes and areas
    are 0, and the model's name is `model`."""
    told = None if hints.video or hints.rate else _told(path, file)
    if told is None:
        source, ticks = hints.clock(path, num_rows)
        header = HeaderRecord(
            SCHEMA,
            __version__,
            ModelRecord(model, "", "", list(names), symmetric_pairs=list(pairs_by_name(names))),
            source,
            None,
            COORDINATES,
        )
        time_of, breaks = _counting(ticks), list[GapRecord | SegmentRecord]()
    else:
        header, breaks, times = told
        time_of = _looking_up(times)
        if len(header.model.parts) != len(names):
            raise TracksError(f"{path}: has {len(names)} parts, but a header with {len(header.model.parts)}")
    yield msgspec.structs.replace(header, masks=None)
    yield from _frames(path, header, found, time_of, breaks[::-1])


def _counting(ticks: Sequence[int]) -> TimeOf:
    def time_of(row: int) -> tuple[int, int]:
        return ticks[row], 0

    return time_of


def _looking_up(times: NDArray[np.int64]) -> TimeOf:
    """`times` (n, 3) are frame, pts and dropped, sorted by frame."""

    def time_of(row: int) -> tuple[int, int] | None:
        place = int(np.searchsorted(times[:, 0], row))
        if place == len(times) or times[place, 0] != row:
            return None
        return int(times[place, 1]), int(times[place, 2])

    return time_of


def _frames(
    path: Path,
    header: HeaderRecord,
    found: Iterable[tuple[int, Points]],
    time_of: TimeOf,
    waiting: list[GapRecord | SegmentRecord],
) -> Iterator[Record]:
    segment, base, last = 0, header.source.time_base, -1
    for row, points in found:
        if row <= last:
            raise TracksError(f"{path}: row {row} comes after row {last}")
        last = row
        time = None if np.isnan(points).all() else time_of(row)
        if time is None:
            continue
        while waiting and waiting[-1].frame <= row:
            record = waiting.pop()
            if isinstance(record, SegmentRecord):
                segment, base = record.segment, record.time_base
                record = msgspec.structs.replace(record, masks=None)
            yield record
        pts, dropped = time
        parts = [_part(number, *item) for number, item in enumerate(zip(header.model.parts, points, strict=True))]
        seconds = round(pts * base[0] / base[1], 6)
        yield checked(f"{path}: row {row}", FrameRecord(row, pts, seconds, parts, segment, dropped))
    yield from reversed(waiting)


def _part(number: int, name: str, point: NDArray[np.float64]) -> PartRecord:
    x, y, score = point.tolist()
    score = min(max(score, 0.0), 1.0) if np.isfinite(score) else 0.0
    if not np.isfinite(point[:2]).all():
        return unseen(number, name, score)
    x, y = round(x, 4), round(y, 4)
    return PartRecord(number, name, (x, y), ((0.0, 0.0, x), (0.0, 0.0, y)), 0.0, score, True)


def _told(path: Path, file: Any) -> tuple[HeaderRecord, list[GapRecord | SegmentRecord], NDArray[np.int64]] | None:
    if file is None or GROUP not in file:
        return None
    try:
        group = file[GROUP]
        if any(group[name].dtype.kind != "S" for name in ("header", "breaks")):
            raise ValueError("no text of fixed length")  # the HDF5 library may hang in damaged heaps of the other kind
        header = msgspec.json.decode(group["header"][()], type=HeaderRecord)
        breaks = msgspec.json.decode(group["breaks"][()], type=list[GapRecord | SegmentRecord])
        times = np.asarray(group["times"], np.int64).reshape(-1, 3)
    except (KeyError, ValueError, TypeError, AttributeError, OSError, msgspec.DecodeError) as error:
        raise TracksError(f"{path}: its group {GROUP!r} is damaged ({error})") from error
    return header, breaks, times
