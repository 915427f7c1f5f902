"""The long table as a pandas DataFrame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamparts.data import Tracks
from streamparts.errors import need
from streamparts.formats.shots import Shot, shot_of, shots
from streamparts.formats.tidy import COLUMNS, tables
from streamparts.tracksfile.reading import TracksFile, read_tracks
from streamparts.tracksfile.recording import frame_record
from streamparts.tracksfile.records import SegmentRecord

if TYPE_CHECKING:
    import pandas


def to_pandas(tracks: str | Path | TracksFile | Iterable[Tracks]) -> pandas.DataFrame:
    """Return one row per frame, subject and part, with the columns of docs/formats.md; positions in displayed pixels,
    nan for hidden parts.

    `tracks` is a tracks file, or an iterable of Tracks such as `streamparts.track`. The whole table is in memory, about
    170 bytes per row. Raises TracksError, or MissingExtraError without pandas.
    """
    pd = need("pandas", "to_pandas")
    types = {name: kind for name, kind in COLUMNS.items() if kind is not str}
    pieces = [pd.DataFrame(table).astype(types) for table in _tables(tracks)]
    table: pandas.DataFrame = pd.concat(pieces, ignore_index=True)
    return table


def _tables(tracks: str | Path | TracksFile | Iterable[Tracks]) -> Iterator[dict[str, list[Any]]]:
    if isinstance(tracks, str | Path | TracksFile):
        file = tracks if isinstance(tracks, TracksFile) else read_tracks(tracks)
        return tables(shots(file), file.header.model.parts, file.header.masks is not None)
    values = iter(tracks)
    first = next(values, None)
    return tables(map(_shot, chain([first], values)), first.names) if first else tables([], ())


def _shot(tracks: Tracks) -> Shot:
    frame = tracks.frame
    base = (frame.time_base.numerator, frame.time_base.denominator)
    setting = SegmentRecord(frame.segment, frame.index, frame.height, frame.width, base)
    return shot_of(Path(), frame_record(tracks, masks=False), setting, tracks.num_parts)
