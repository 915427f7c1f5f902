"""Tracks as the writers of formats need them: each frame with its segment and source, and a survey of the whole file
beforehand."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamparts.errors import TracksError
from streamparts.formats.hints import Wishes
from streamparts.tracksfile.reading import TracksFile
from streamparts.tracksfile.records import (
    FrameRecord,
    GapRecord,
    HeaderRecord,
    JointRecord,
    MaskRecord,
    PartRecord,
    SegmentRecord,
)
from streamparts.tracksfile.timeline import OverlayTimes

FALLBACK_RATE = 30
"""Default frame rate, used only to separate segments that would overlap."""
MAX_EMPTY = 1_000_000
"""Maximum number of empty rows in formats with a row for every frame number."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame of a tracks file."""

    frame: FrameRecord
    setting: SegmentRecord
    """Size, clock and masks of its segment."""
    parts: tuple[PartRecord | None, ...]
    """(K,) by part number; None for parts missing from the frame."""
    gap: GapRecord | None = None
    """The gap just before it."""
    subject: int = 0
    """Number of the subject."""
    score: float | None = None
    """Subject score; None if unknown."""
    region: tuple[float, float, float, float] | None = None
    """Region that the network saw; None for the whole frame."""
    others: tuple[Shot, ...] = ()
    """For the first subject: the same frame with the parts of the others."""

    @property
    def subjects(self) -> tuple[Shot, ...]:
        """One per subject, this one first."""
        return (self, *self.others)

    @property
    def lie(self) -> MaskRecord | None:
        """Placement of its masks on the displayed frame; None without masks."""
        masks = self.setting.masks
        if masks is None or self.region is None:
            return masks
        left, top, width, height = self.region
        scale = (width / masks.mask_hw[1], height / masks.mask_hw[0])
        return MaskRecord(masks.mask_hw, (-left / scale[0], -top / scale[1]), scale)

    @property
    def pts(self) -> int:
        return self.frame.pts

    @property
    def time_base(self) -> Fraction:
        return Fraction(*self.setting.time_base)

    @property
    def segment(self) -> int:
        return self.frame.segment

    @property
    def seconds(self) -> Fraction:
        """Exact time."""
        return self.pts * self.time_base

    @property
    def positions(self) -> NDArray[np.float64]:
        """(K, 3) x, y in displayed pixels and score; nan, nan and 0 for hidden parts."""
        rows = [(*part.center, part.score) if part and part.visible else (np.nan, np.nan, 0.0) for part in self.parts]
        return np.array(rows, np.float64).reshape(-1, 3)

    @property
    def seen(self) -> list[PartRecord]:
        return [part for part in self.parts if part is not None and part.visible]


def first_segment(header: HeaderRecord) -> SegmentRecord:
    """Segment 0, described by the header."""
    source = header.source
    return SegmentRecord(0, 0, source.height, source.width, source.time_base, header.masks)


def shots(tracks: TracksFile) -> Iterator[Shot]:
    """Yield all frames in order. Raises TracksError at a frame with an undeclared segment or part."""
    segment, gap = first_segment(tracks.header), None
    num_parts = len(tracks.header.model.parts)
    for record in tracks:
        if isinstance(record, GapRecord):
            gap = record
        elif isinstance(record, SegmentRecord):
            segment = record
        else:
            if record.segment != segment.segment:
                raise TracksError(
                    f"{tracks.path}: frame {record.frame} belongs to segment {record.segment}, which "
                    "has no segment line"
                )
            yield shot_of(tracks.path, record, segment, num_parts, gap)
            gap = None


def joints_of(shot: Shot, subject: int) -> list[JointRecord]:
    """Joints of one subject in one frame; empty without a skeleton."""
    several = {record.id: record.joints for record in shot.frame.subjects}
    return several.get(subject, []) if several else shot.frame.joints


def edges_of(tracks: TracksFile) -> list[tuple[int, int]]:
    """Pairs of part numbers connected by a joint, parent first; empty if the tracks have no joints."""
    every = (joints_of(shot, one.subject) for shot in shots(tracks) for one in shot.subjects)
    return [(joint.parts[0], joint.parts[1]) for joint in next((joints for joints in every if joints), [])]


def growing(tracks: TracksFile, survey: Survey) -> Iterator[tuple[Shot, Fraction]]:
    """Yield all frames with a time in seconds that never decreases: the source's own for a single segment, otherwise
    joined like the overlay's, see tracksfile/timeline.py."""
    timeline = OverlayTimes(Fraction(survey.rate or FALLBACK_RATE).limit_denominator(1_000_000))
    for shot in shots(tracks):
        yield shot, timeline.seconds(shot)


def shot_of(
    path: Path, record: FrameRecord, setting: SegmentRecord, num_parts: int, gap: GapRecord | None = None
) -> Shot:
    """Return one frame with all its subjects. Raises TracksError for a part that is not in the header."""

    def by_number(parts: list[PartRecord]) -> tuple[PartRecord | None, ...]:
        out: list[PartRecord | None] = [None] * num_parts
        for part in parts:
            if part.id >= num_parts:
                raise TracksError(
                    f"{path}: frame {record.frame} has a part {part.id}, but the header has {num_parts} parts"
                )
            out[part.id] = part
        return tuple(out)

    others = [
        Shot(record, setting, by_number(each.parts), gap, each.id, each.score, each.region)
        for each in record.subjects
        if each.id > 0
    ]
    parts = by_number(record.parts)
    return Shot(record, setting, parts, gap, 0, record.subject_score, record.region, tuple(others))


@dataclass(frozen=True, slots=True)
class Survey:
    """Facts about the whole file that some formats need before the first frame."""

    num_frames: int
    num_rows: int
    """The last frame's number plus one; 0 without frames."""
    rate: float | None
    """Frame rate between the first and the last frame; None if unknown."""
    is_even: bool
    """True if frame number / rate is the time of every frame, within one tick."""
    sizes: tuple[tuple[int, int], ...]
    """Height and width of every segment with frames, without repetitions."""
    has_masks: bool
    num_subjects: int = 1
    """Largest number of subjects in a frame."""
    wishes: Wishes = field(default_factory=Wishes)

    def check_rows(self, tracks: TracksFile) -> None:
        """Raise TracksError if nearly all rows of a table by frame number would be empty."""
        if self.num_rows - self.num_frames > MAX_EMPTY:
            raise TracksError(
                f"{tracks.path}: has frame numbers up to {self.num_rows - 1}, but only {self.num_frames} frames; a "
                "format with a row for every number would be mostly empty: use csv, parquet or mcap"
            )

    def time_notes(self) -> list[str]:
        """Warning if a format with only frame numbers, or a single rate, cannot represent the times."""
        if self.is_even:
            return []
        return [
            "the frames are not evenly spaced in time, and this format has only frame numbers or a single rate: "
            "csv, parquet and mcap keep the times"
        ]

    def size_notes(self) -> list[str]:
        """Warning if positions refer to frames of several sizes."""
        if len(self.sizes) < 2:
            return []
        sizes = ", ".join(f"{width}x{height}" for height, width in self.sizes)
        return [f"the frame size changes ({sizes}); positions are in pixels of each frame's own size"]


def survey(tracks: TracksFile) -> Survey:
    """Read the whole file once; keeps 16 bytes per frame."""
    numbers, sizes, has_masks = array("q"), dict[tuple[int, int], None](), False
    spans: list[tuple[Fraction, array[int]]] = []
    segment: SegmentRecord | None = None
    num_subjects = tracks.header.subjects
    for shot in shots(tracks):
        num_subjects = max(num_subjects, 1 + max((other.subject for other in shot.others), default=0))
        if numbers and shot.frame.frame <= numbers[-1]:
            raise TracksError(f"{tracks.path}: frame {shot.frame.frame} comes after frame {numbers[-1]}")
        if shot.setting is not segment:
            segment = shot.setting
            sizes[segment.height, segment.width] = None
            spans.append((Fraction(*segment.time_base), array("q")))
        try:
            numbers.append(shot.frame.frame)
            spans[-1][1].append(shot.frame.pts)
        except OverflowError as error:
            raise TracksError(f"{tracks.path}: frame {shot.frame.frame}: {error}") from error
        has_masks = has_masks or any(part.mask is not None for part in shot.frame.parts)
    rate, is_even = _rate(np.array(numbers, np.int64), spans)
    last = numbers[-1] + 1 if numbers else 0
    return Survey(len(numbers), last, rate, is_even, tuple(sizes), has_masks, num_subjects)


def _rate(numbers: NDArray[np.int64], spans: list[tuple[Fraction, array[int]]]) -> tuple[float | None, bool]:
    """(mean rate of the longest segment, True if the whole is evenly spaced)."""
    if len(numbers) < 2 or not spans:
        return None, True
    ends = np.cumsum([len(pts) for _, pts in spans])
    place = int(np.argmax([len(pts) for _, pts in spans]))
    base, ticks = spans[place]
    own, times = numbers[ends[place] - len(ticks) : ends[place]], np.array(ticks, np.float64)
    if len(own) < 2 or times[-1] <= times[0]:
        return None, False
    step = (times[-1] - times[0]) / (own[-1] - own[0])
    off = times - times[0] - (own - own[0]) * step
    return float(1 / (step * float(base))), len(spans) == 1 and bool(np.abs(off).max() <= 1)
