"""Finds where an interrupted run can resume: after the last complete frame of its tracks file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from streamparts.bundle.load import Bundle
from streamparts.errors import TracksError
from streamparts.tracking.roi import WHOLE_PICTURE, Following, Roi
from streamparts.tracksfile.reading import decode_line, read_tracks
from streamparts.tracksfile.records import SCHEMA, FrameRecord, Record, SourceRecord

_BLOCK = 1 << 16


class _Named(Protocol):
    """Properties of a source that must match to resume."""

    @property
    def name(self) -> str: ...
    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Content of an existing tracks file."""

    next_index: int
    """Number of the next frame; 0 if it has none."""
    pts: int | None
    """Time of its last frame, in ticks of its segment; None if it has none."""
    pts_seconds: float
    """The same in seconds; 0 if it has none."""
    segment: int
    """Segment of that frame."""
    size_bytes: int
    """Length of the file up to the end of that frame; the rest is removed."""
    path: Path
    """The file."""
    source: SourceRecord
    """Source of its frames."""

    def check_source(self, source: _Named) -> None:
        """Raise TracksError with a one-line message unless it is the source of the file."""
        was = self.source
        _require(self.path, "the source", was.name, source.name)
        size = f"{source.width}x{source.height}"
        _require(self.path, "the frame size", f"{was.width}x{was.height}", size)


def resume_point(
    path: str | Path,
    bundle: Bundle,
    source: _Named | None = None,
    masks: bool = False,
    following: Following = WHOLE_PICTURE,
) -> ResumePoint | None:
    """Return where to continue the tracks in `path`; None if the file does not exist or is empty.

    Reads only the first and the last lines. Raises TracksError with a one-line message if the file was made from
    another model, source or frame size, with other settings of masks or following, by an older version, or is damaged.
    Without `source`, `ResumePoint.check_source` checks that later.
    """
    path = Path(path)
    if not path.exists() or path.stat().st_size == 0:
        return None
    file = read_tracks(path)
    if file.schema != SCHEMA:
        raise TracksError(
            f"{path}: has the older schema {file.schema}, which cannot be resumed; start over in another file"
        )
    _require(path, "the model", file.header.model.sha256[:12], bundle.sha256[:12])
    _require(path, "whether there are masks", _yes(file.header.masks is not None), _yes(masks))
    _require(path, "what the network sees (--roi)", _said(file.header.roi), _said(following.roi))
    _require(path, "the number of subjects", str(file.header.subjects), str(max(1, following.num_subjects)))
    point = _last_frame(path, file.header.source)
    if source is not None:
        point.check_source(source)
    return point


def _last_frame(path: Path, source: SourceRecord) -> ResumePoint:
    for offset, line in _lines_backwards(path):
        end = offset + len(line)
        if offset == 0:
            return ResumePoint(0, None, 0.0, 0, end, path, source)
        record = _decoded(path, offset, line)
        if isinstance(record, FrameRecord):
            return ResumePoint(record.frame + 1, record.pts, record.pts_seconds, record.segment, end, path, source)
    raise TracksError(f"{path}: its header is incomplete; delete the file and start over")


def _require(path: Path, what: str, before: str, now: str) -> None:
    if before != now:
        raise TracksError(
            f"{path}: cannot be resumed, because {what} was {before} and is now {now}; repeat the original options, "
            "or leave --resume out and give another name"
        )


def _said(roi: Roi) -> str:
    return roi if isinstance(roi, str) else ",".join(f"{value:g}" for value in roi)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _decoded(path: Path, offset: int, line: bytes) -> Record:
    try:
        return decode_line(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        number = _line_number(path, offset)
        raise TracksError(
            f"{path}: line {number}: {error}; delete this line and the following ones to resume"
        ) from error


def _line_number(path: Path, offset: int) -> int:
    """Counted from 1."""
    with path.open("rb") as file:
        return file.read(offset).count(b"\n") + 1


def _lines_backwards(path: Path) -> Iterator[tuple[int, bytes]]:
    """(offset, line) of the complete lines, last one first."""
    with path.open("rb") as file:
        start = file.seek(0, os.SEEK_END)
        text = b""
        while start > 0:
            size = min(_BLOCK, start)
            start = file.seek(start - size)
            text = file.read(size) + text
            while (end := text.rfind(b"\n", 0, len(text) - 1) + 1) > 0:
                if text.endswith(b"\n"):
                    yield start + end, text[end:]
                text = text[:end]
        if text.endswith(b"\n"):
            yield 0, text
