"""Tracks as JSON lines: a header that says how to read them, then one line per frame. See records.py for the lines."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from io import FileIO
from pathlib import Path

import msgspec
import numpy as np

from streamparts import __version__
from streamparts.bundle import Bundle
from streamparts.data import Frame, Tracks
from streamparts.errors import VideoError
from streamparts.geometry import Letterbox
from streamparts.meter import StageClock
from streamparts.rle import encode_mask
from streamparts.sinks.records import (
    COORDINATES,
    FrameRecord,
    GapRecord,
    HeaderRecord,
    JointRecord,
    MaskRecord,
    ModelRecord,
    PartRecord,
    RleRecord,
    SegmentRecord,
    SourceRecord,
)
from streamparts.sinks.resume import ResumePoint
from streamparts.sources import Source


class JsonlSink:
    """Appends one line per frame with a single unbuffered write: what is in the file is always whole lines."""

    def __init__(
        self,
        path: str | Path,
        bundle: Bundle,
        source: Source,
        masks: bool = False,
        clock: StageClock | None = None,
        *,
        policy: str | None = None,
        resume: ResumePoint | None = None,
    ) -> None:
        """Creates, or empties, the file and writes the header; or goes on after `resume`, a point of that very file.

        `policy` is told to the readers of the file. Raises VideoError.
        """
        self.path = Path(path)
        self._masks = masks
        self._clock = clock or StageClock()
        self._encoder = msgspec.json.Encoder()
        self._segment = resume.segment if resume else 0
        self._size = resume.size_bytes if resume else 0
        try:
            self._file: FileIO = self.path.open("r+b" if resume else "wb", buffering=0)
            if resume:
                self._file.truncate(self._size)
                self._file.seek(self._size)
        except OSError as error:
            raise VideoError(f"{self.path}: cannot be written ({error.strerror})") from error
        if not resume:
            self._write_lines(_header(bundle, source, masks, policy))

    def write(self, tracks: Tracks) -> None:
        """Write one frame. Raises VideoError when writing fails, for example on a full disk."""
        with self._clock.time("write"):
            self._write_lines(*self._before(tracks), _frame_record(tracks, self._masks))
            self._segment = tracks.frame.segment

    def close(self) -> None:
        self._file.close()

    def _before(self, tracks: Tracks) -> list[GapRecord | SegmentRecord]:
        """What is to be said before a frame."""
        frame, lines = tracks.frame, list[GapRecord | SegmentRecord]()
        if frame.gap is not None:
            seconds = round(frame.gap.seconds, 3)
            lines.append(GapRecord(frame.index, frame.pts, _seconds(frame), seconds, frame.gap.reason))
        if frame.segment != self._segment:
            masks = _mask_record(tracks.letterbox) if self._masks else None
            size = (frame.height, frame.width)
            lines.append(SegmentRecord(frame.segment, frame.index, *size, _ratio(frame.time_base), masks))
        return lines

    def _write_lines(self, *records: object) -> None:
        """All of them or, when writing fails, none."""
        data = memoryview(b"".join(self._encoder.encode(record) + b"\n" for record in records))
        try:
            done = 0
            while done < len(data):
                done += self._file.write(data[done:]) or 0
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._size)
            self._file.close()
            raise VideoError(f"{self.path}: writing failed ({error.strerror})") from error
        self._size += len(data)


def _header(bundle: Bundle, source: Source, masks: bool, policy: str | None) -> HeaderRecord:
    spec = bundle.spec
    model = ModelRecord(
        spec.name, spec.method, bundle.sha256, list(spec.parts), spec.description, list(spec.symmetric_pairs)
    )
    rate = None if source.rate is None else _ratio(source.rate)
    return HeaderRecord(
        schema="streamparts.tracks/2",
        streamparts=__version__,
        model=model,
        source=SourceRecord(source.name, source.height, source.width, _ratio(source.time_base), rate),
        policy=policy,
        coordinates=COORDINATES,
        masks=_mask_record(Letterbox.fit((source.height, source.width), spec.input_hw)) if masks else None,
    )


def _mask_record(letterbox: Letterbox) -> MaskRecord:
    (height, width), (inner_height, inner_width) = letterbox.frame_hw, letterbox.inner_hw
    return MaskRecord(letterbox.model_hw, letterbox.offset_xy, (width / inner_width, height / inner_height))


def _ratio(value: Fraction) -> tuple[int, int]:
    return value.numerator, value.denominator


def _seconds(frame: Frame) -> float:
    return round(frame.pts_seconds, 6)


def _frame_record(tracks: Tracks, masks: bool) -> FrameRecord:
    frame = tracks.frame
    parts = [_part_record(tracks, part, masks) for part in range(tracks.num_parts)]
    return FrameRecord(
        frame.index, frame.pts, _seconds(frame), parts, frame.segment, frame.dropped, _joint_records(tracks)
    )


def _joint_records(tracks: Tracks) -> list[JointRecord]:
    if tracks.joints is None:
        return []
    places = np.round(tracks.joints.points.astype(np.float64), 3).tolist()
    return [
        JointRecord(
            name=f"{tracks.names[parent]}-{tracks.names[child]}",
            parts=(parent, child),
            x=x if np.isfinite(x) else None,
            y=y if np.isfinite(y) else None,
            confidence=round(float(confidence), 3),
        )
        for (parent, child), (x, y), confidence in zip(
            tracks.joints.parts, places, tracks.joints.confidence, strict=True
        )
    ]


def _part_record(tracks: Tracks, part: int, masks: bool) -> PartRecord:
    (a, b, tx), (c, d, ty) = np.round(tracks.affines[part].astype(np.float64), 4).tolist()
    return PartRecord(
        id=part,
        name=tracks.names[part],
        center=(round(tx, 3), round(ty, 3)),
        affine=((a, b, tx), (c, d, ty)),
        area=round(float(tracks.areas[part]), 1),
        score=round(float(tracks.scores[part]), 3),
        visible=bool(tracks.visible[part]),
        filled=tracks.filled is not None and bool(tracks.filled[part]),
        mask=RleRecord(**encode_mask(tracks.mask(part))) if masks else None,  # type: ignore[arg-type]
    )
