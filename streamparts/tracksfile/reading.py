"""Reads tracks files, one line at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from streamparts.errors import TracksError
from streamparts.tracksfile.records import FIRST_SCHEMA, OLDER_SCHEMAS, SCHEMA, FrameRecord, HeaderRecord, Record


@dataclass(frozen=True, slots=True)
class TracksFile:
    """An open tracks file. It can be iterated repeatedly, in constant memory."""

    path: Path
    header: HeaderRecord
    """Header in the form of the newest schema."""
    schema: str
    """Schema named in the file."""

    def __iter__(self) -> Iterator[Record]:
        """Yield frames, gaps and segments in order. An incomplete last line is ignored.

        Raises TracksError, with the line number, at an invalid line.
        """
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if number == 1:
                    continue
                try:
                    record = decode_line(line, self.schema)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    if not line.endswith(b"\n"):
                        return
                    raise TracksError(f"{self.path}: line {number}: {error}") from error
                yield record

    def frames(self) -> Iterator[FrameRecord]:
        """Yield only the frames."""
        return (record for record in self if isinstance(record, FrameRecord))


def read_tracks(path: str | Path) -> TracksFile:
    """Open a tracks file of this or an older schema.

    Raises TracksError unless the file exists and its first line is a valid header.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            line = file.readline()
    except OSError as error:
        raise TracksError(f"{path}: cannot be read ({error.strerror})") from error
    if not line:
        raise TracksError(f"{path}: is empty, without a header")
    try:
        header, schema = decode_header(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TracksError(f"{path}: line 1 is not the header of a tracks file ({error})") from error
    return TracksFile(path, header, schema)


def decode_header(line: bytes) -> tuple[HeaderRecord, str]:
    """(header, schema in the file) of a file's first line. Raises msgspec.DecodeError."""
    raw = msgspec.json.decode(line, type=dict[str, Any])
    schema = raw.get("schema")
    if schema in OLDER_SCHEMAS:
        raw = {"type": "header", "policy": None, **raw, "schema": SCHEMA}
    elif schema != SCHEMA:
        known = ", ".join((SCHEMA, *OLDER_SCHEMAS))
        raise msgspec.ValidationError(f"schema is {schema!r}, this version reads {known}")
    return msgspec.convert(raw, HeaderRecord), str(schema)


def decode_line(line: bytes, schema: str = SCHEMA) -> Record:
    """Parse a line after the first. Raises msgspec.DecodeError."""
    if schema != FIRST_SCHEMA:  # missing fields of older schemas have defaults
        return _decoder.decode(line)
    raw = msgspec.json.decode(line, type=dict[str, Any])
    return msgspec.convert({"type": "frame", **raw}, FrameRecord)


_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)
