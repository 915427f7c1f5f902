"""Tracks as JSON lines: a header that says how to read them, then one line per frame."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from streamparts import __version__
from streamparts.bundle import Bundle
from streamparts.data import Tracks
from streamparts.errors import VideoError
from streamparts.geometry import Letterbox
from streamparts.meter import StageClock
from streamparts.rle import encode_mask
from streamparts.sources import Source

SCHEMA = "streamparts.tracks/1"

COORDINATES = (
    "pixels of the frame as displayed (rotation applied); origin at the top-left corner, pixel centres at +0.5, "
    "x right, y down; affine [[a, b, tx], [c, d, ty]] maps a part's canonical unit circle to its ellipse"
)
MASK_COORDINATES = (
    "COCO run-length encoding at mask_hw; a continuous mask pixel x, y is displayed at "
    "(x - offset_xy[0]) * scale_xy[0], (y - offset_xy[1]) * scale_xy[1]"
)


class PartRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One part in one frame."""

    id: int
    """Part number, from 0, the same in every frame."""
    name: str
    """As the model names it."""
    center: tuple[float, float]
    """x, y in displayed pixels."""
    affine: tuple[tuple[float, float, float], tuple[float, float, float]]
    """Canonical -> displayed pixels."""
    area: float
    """Visible area in square displayed pixels."""
    score: float
    """In [0, 1]."""
    visible: bool
    """Whether the part is seen; if not, the numbers are the network's guess."""
    mask: dict[str, Any] | None = None
    """COCO run-length encoding at model resolution, where asked for."""


class FrameRecord(msgspec.Struct, frozen=True):
    """One frame: one line of the file."""

    frame: int
    """Position in the video, from 0."""
    pts: int
    """Presentation time in ticks of the header's time base."""
    pts_seconds: float
    """The same in seconds."""
    parts: list[PartRecord]
    """All parts of the model, seen or not."""


class JsonlSink:
    """Appends one line per frame with a single unbuffered write: what is in the file is always whole lines."""

    def __init__(
        self,
        path: str | Path,
        bundle: Bundle,
        source: Source,
        masks: bool = False,
        clock: StageClock | None = None,
    ) -> None:
        """Creates, or empties, the file and writes the header. Raises VideoError."""
        self.path = Path(path)
        self._masks = masks
        self._clock = clock or StageClock()
        self._encoder = msgspec.json.Encoder()
        self._size = 0
        try:
            self._file = self.path.open("wb", buffering=0)
        except OSError as error:
            raise VideoError(f"{self.path}: cannot be written ({error.strerror})") from error
        self._write_line(_header(bundle, source, masks))

    def write(self, tracks: Tracks) -> None:
        """Write one frame. Raises VideoError when writing fails, for example on a full disk."""
        with self._clock.time("write"):
            parts = [_part_record(tracks, part, self._masks) for part in range(tracks.num_parts)]
            seconds = round(tracks.pts_seconds, 6)
            self._write_line(FrameRecord(tracks.index, tracks.frame.pts, seconds, parts))

    def close(self) -> None:
        self._file.close()

    def _write_line(self, record: object) -> None:
        line = memoryview(self._encoder.encode(record) + b"\n")
        try:
            done = 0
            while done < len(line):
                done += self._file.write(line[done:]) or 0
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._size)
            self._file.close()
            raise VideoError(f"{self.path}: writing failed ({error.strerror})") from error
        self._size += len(line)


def _header(bundle: Bundle, source: Source, masks: bool) -> dict[str, Any]:
    spec = bundle.spec
    letterbox = Letterbox.fit((source.height, source.width), spec.input_hw)
    header: dict[str, Any] = {
        "schema": SCHEMA,
        "streamparts": __version__,
        "model": {
            "name": spec.name,
            "method": spec.method,
            "sha256": bundle.sha256,
            "parts": spec.parts,
        },
        "source": {
            "name": source.name,
            "height": source.height,
            "width": source.width,
            "time_base": [source.time_base.numerator, source.time_base.denominator],
            "rate": None if source.rate is None else [source.rate.numerator, source.rate.denominator],
        },
        "coordinates": COORDINATES,
    }
    if masks:
        header["masks"] = {
            "mask_hw": spec.input_hw,
            "offset_xy": letterbox.offset_xy,
            "scale_xy": [source.width / letterbox.inner_hw[1], source.height / letterbox.inner_hw[0]],
            "coordinates": MASK_COORDINATES,
        }
    return header


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
        mask=encode_mask(tracks.mask(part)) if masks else None,
    )
