"""Where a run that broke off can go on: after the last whole frame of its tracks file."""

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
    """What a resumed run's source is compared by."""

    @property
    def name(self) -> str: ...
    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """What a tracks file holds already."""

    next_index: int
    """The first frame that is not in it; 0 where it holds none."""
    pts: int | None
    """Time of the last frame in it, in ticks of its segment; None where it holds none."""
    pts_seconds: float
    """The same in seconds; 0 where it holds none."""
    segment: int
    """Segment of that frame."""
    size_bytes: int
    """Length of the file up to the end of that frame; what follows is cut off."""
    path: Path
    """The file."""
    source: SourceRecord
    """What its frames are of."""

    def check_source(self, source: _Named) -> None:
        """Raise TracksError, in one line, unless it is what the file was made from."""
        was = self.source
        _require(self.path, "the source", was.name, source.name)
        size = f"{source.width}x{source.height}"
        _require(self.path, "the picture size", f"{was.width}x{was.height}", size)


def resume_point(
    path: str | Path,
    bundle: Bundle,
    source: _Named | None = None,
    masks: bool = False,
    following: Following = WHOLE_PICTURE,
) -> ResumePoint | None:
    """Where to go on with the tracks in `path`; None where there is no such file or it is empty.

    Reads the first and the last lines only. Raises TracksError, in one line, where the file was made from another
    model, source or picture size, with or without masks or following unlike now, by an older version, or is damaged.
    Without `source`, that is left to `ResumePoint.check_source`.
    """
    path = Path(path)
    if not path.exists() or path.stat().st_size == 0:
        return None
    file = read_tracks(path)
    if file.schema != SCHEMA:
        raise TracksError(f"{path}: is of the older {file.schema}, which cannot be resumed; start anew in another file")
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
    raise TracksError(f"{path}: its header was cut off; delete the file and start anew")


def _require(path: Path, what: str, before: str, now: str) -> None:
    if before != now:
        raise TracksError(
            f"{path}: cannot be resumed, {what} was {before} and is {now}; repeat what made the file, or leave "
            "--resume out and give another name"
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
        raise TracksError(f"{path}: line {number}: {error}; delete this line and those after it to resume") from error


def _line_number(path: Path, offset: int) -> int:
    """Counted from 1."""
    with path.open("rb") as file:
        return file.read(offset).count(b"\n") + 1


def _lines_backwards(path: Path) -> Iterator[tuple[int, bytes]]:
    """(offset, line) of the whole lines, the last one first."""
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
