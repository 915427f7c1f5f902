"""The long table as Parquet, with header, gaps and segments in the file's own metadata."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from streamparts.errors import TracksError, need
from streamparts.formats.hints import Hints
from streamparts.formats.shots import Survey, shots
from streamparts.formats.tidy import COLUMNS, MASK, OPTIONAL, REGION, bare_header, names_of, records_of, tables
from streamparts.tracksfile.reading import TracksFile
from streamparts.tracksfile.records import FrameRecord, GapRecord, HeaderRecord, Record, SegmentRecord

HEADER, BREAKS = "streamparts.header", "streamparts.breaks"


def write(tracks: TracksFile, survey: Survey, path: Path) -> list[str]:
    """Row groups of about 65 thousand rows, compressed with zstd."""
    pyarrow, parquet = _libraries()
    types = {int: pyarrow.int64(), float: pyarrow.float64(), str: pyarrow.string(), bool: pyarrow.bool_()}
    fields = [(name, types[kind]) for name, kind in COLUMNS.items()]
    texts_too = [(MASK, pyarrow.string()), (REGION, pyarrow.string())] if survey.has_masks else []
    schema = pyarrow.schema([*fields, *texts_too])
    breaks = [record for record in tracks if not isinstance(record, FrameRecord)]
    with path.open("wb") as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:  # any name
        for table in tables(shots(tracks), tracks.header.model.parts, survey.has_masks):
            writer.write_table(pyarrow.table(table, schema=schema))
        texts = {HEADER: msgspec.json.encode(tracks.header), BREAKS: msgspec.json.encode(breaks)}
        writer.add_key_value_metadata({name: text.decode() for name, text in texts.items()})
    return survey.size_notes()


def read(path: Path, hints: Hints) -> Iterator[HeaderRecord | Record]:
    """Files of other origin need the same columns; data from the metadata is empty then."""
    pyarrow, parquet = _libraries()
    try:
        with path.open("rb") as opened, parquet.ParquetFile(opened) as file:
            missing = [name for name in COLUMNS if name not in (*OPTIONAL, *file.schema_arrow.names)]
            if missing:
                raise TracksError(f"{path}: is not a table of tracks, it has no column {missing[0]!r}")
            header, breaks = _told(path, file.metadata.metadata or {})
            header = header or bare_header(path, *names_of(_rows(path, file)))
            yield header
            yield from records_of(_rows(path, file), header, breaks)
    except TracksError:
        raise
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise TracksError(f"{path}: is not a Parquet file, or a damaged one ({error})") from error


def _told(path: Path, metadata: dict[bytes, bytes]) -> tuple[HeaderRecord | None, list[GapRecord | SegmentRecord]]:
    if HEADER.encode() not in metadata:
        return None, []
    try:
        header = msgspec.json.decode(metadata[HEADER.encode()], type=HeaderRecord)
        breaks = msgspec.json.decode(metadata[BREAKS.encode()], type=list[GapRecord | SegmentRecord])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError) as error:
        raise TracksError(f"{path}: its metadata is not that of tracks ({error})") from error
    return header, breaks


def _rows(path: Path, file: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    number = 0
    for batch in file.iter_batches():
        for row in batch.to_pylist():
            number += 1
            yield f"{path}: row {number}", row


def _libraries() -> tuple[Any, Any]:
    return need("pyarrow", "Parquet"), need("pyarrow.parquet", "Parquet")
