"""Times and size of a video, given by the user for pose files that lack them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from streamparts.errors import TracksError
from streamparts.sources import open_source
from streamparts.tracksfile.records import SourceRecord


@dataclass(frozen=True, slots=True)
class Hints:
    """Either the video, or both other values."""

    video: str | Path | None = None
    """Video of the poses."""
    rate: Fraction | None = None
    """Frame rate of a video with a constant rate."""
    size: tuple[int, int] | None = None
    """Height and width as displayed."""

    def clock(self, path: Path, num_frames: int) -> tuple[SourceRecord, Sequence[int]]:
        """(source, pts of every frame number below `num_frames`). Raises TracksError if that is unknown."""
        if self.video is not None:
            return _clock_of_video(path, self.video, num_frames)
        if self.rate is None or self.size is None:
            raise TracksError(
                f"{path}: has no times and no frame size; give --video VIDEO, or --rate FPS and --size WIDTHxHEIGHT "
                "(in Python: video=, or rate= and size=)"
            )
        base, rate = 1 / self.rate, (self.rate.numerator, self.rate.denominator)
        source = SourceRecord("", *self.size, (base.numerator, base.denominator), rate)
        return source, range(num_frames)


@dataclass(frozen=True, slots=True)
class Wishes:
    """Choices of the user for writing a file."""

    video: Path | None = None
    """Video of the tracks, for formats that name it or store its images."""
    joints: bool = False
    """Write the skeleton's joints instead of the parts' centres."""
    metres_per_pixel: float | None = None
    """Scale for formats in metres; None if unknown."""


def _clock_of_video(path: Path, video: str | Path, num_frames: int) -> tuple[SourceRecord, list[int]]:
    source = open_source(video)
    try:
        base, rate = source.time_base, source.rate
        record = SourceRecord(
            source.name,
            source.height,
            source.width,
            (base.numerator, base.denominator),
            None if rate is None else (rate.numerator, rate.denominator),
        )
        ticks = list[int]()
        for frame in source:
            if frame.segment or len(ticks) == num_frames:
                break
            ticks.append(frame.pts)
    finally:
        source.close()
    if len(ticks) < num_frames:
        raise TracksError(
            f"{path}: has {num_frames} frames, but {video} has only {len(ticks)} of one size: is it another video?"
        )
    return record, ticks
