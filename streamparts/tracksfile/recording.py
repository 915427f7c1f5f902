"""Converts tracks to records, for tracks files and messages. records.py defines the records."""

from __future__ import annotations

import time
from fractions import Fraction

import numpy as np

from streamparts import __version__
from streamparts.bundle.load import Bundle
from streamparts.data import Frame, Tracks
from streamparts.errors import TracksError
from streamparts.geometry import Letterbox, mask_placement
from streamparts.sources import Source
from streamparts.tracking.roi import WHOLE_PICTURE, Following
from streamparts.tracksfile.records import (
    COORDINATES,
    FrameRecord,
    GapRecord,
    HeaderRecord,
    JointRecord,
    MaskRecord,
    ModelRecord,
    PartRecord,
    Record,
    RleRecord,
    SegmentRecord,
    SourceRecord,
    SubjectRecord,
)
from streamparts.tracksfile.rle import encode_mask


class Recording:
    """The records of one run: a header, then those of each frame in order."""

    def __init__(
        self,
        bundle: Bundle,
        source: Source,
        masks: bool = False,
        *,
        policy: str | None = None,
        following: Following = WHOLE_PICTURE,
        segment: int = 0,
    ) -> None:
        """`segment` is the current one of a resumed run."""
        self.header = _header(bundle, source, masks, policy, following)
        self.segment: SegmentRecord | None = None
        """The current segment; None while the header describes it."""
        self._masks = masks
        self._live = source.live
        self._segment = segment

    def records(self, tracks: Tracks) -> list[Record]:
        """The frame's record, after those of a gap or new segment before it."""
        frame, records = tracks.frame, list[Record]()
        if frame.gap is not None:
            seconds = round(frame.gap.seconds, 3)
            records.append(GapRecord(frame.index, frame.pts, _seconds(frame), seconds, frame.gap.reason))
        if frame.segment != self._segment:
            size = (frame.height, frame.width)
            masks = mask_record(Letterbox.fit(size, tracks.letterbox.model_hw)) if self._masks else None
            self._segment = frame.segment
            self.segment = SegmentRecord(frame.segment, frame.index, *size, _ratio(frame.time_base), masks)
            records.append(self.segment)
        captured = round(captured_unix_seconds(frame), 6) if self._live else None
        return [*records, frame_record(tracks, self._masks, captured)]


def frame_record(tracks: Tracks, masks: bool, captured: float | None = None) -> FrameRecord:
    """Record of one frame, optionally with the parts' masks; `captured` in Unix seconds."""
    frame = tracks.frame
    subjects = [_subject_record(each, masks) for each in tracks.subjects]
    first = subjects[0]
    return FrameRecord(
        frame=frame.index,
        pts=frame.pts,
        pts_seconds=_seconds(frame),
        parts=first.parts,
        segment=frame.segment,
        dropped=frame.dropped,
        captured_unix_seconds=captured,
        joints=first.joints,
        subject_score=first.score,
        region=first.region,
        subjects=subjects if len(subjects) > 1 else [],
        damaged=frame.damaged,
    )


def _subject_record(tracks: Tracks, masks: bool) -> SubjectRecord:
    _require_writable(tracks)
    score, region = tracks.subject_score, tracks.region
    left, top, width, height = (round(value, 3) for value in region or (0, 0, 0, 0))
    return SubjectRecord(
        tracks.subject,
        [_part_record(tracks, part, masks) for part in range(tracks.num_parts)],
        None if score is None else round(score, 3),
        None if region is None else (left, top, width, height),
        _joint_records(tracks),
    )


def _require_writable(tracks: Tracks) -> None:
    """Raise TracksError for numbers that violate the schema: a file with them could not be read again."""
    finite = all(bool(np.isfinite(values).all()) for values in (tracks.affines, tracks.scores, tracks.areas))
    if not finite or tracks.scores.min(initial=0) < 0 or tracks.scores.max(initial=0) > 1:
        raise TracksError(f"frame {tracks.index}: has numbers that are not finite, or scores outside 0 to 1")


def captured_unix_seconds(frame: Frame) -> float:
    """Unix time at which a frame left the decoder: for a live source, the capture time plus the delays of camera,
    network and decoder."""
    return time.time() - (time.perf_counter() - frame.decoded_at)


def _header(bundle: Bundle, source: Source, masks: bool, policy: str | None, following: Following) -> HeaderRecord:
    spec = bundle.spec
    model = ModelRecord(
        spec.name, spec.method, bundle.sha256, list(spec.parts), spec.description, list(spec.symmetric_pairs)
    )
    rate = None if source.rate is None else _ratio(source.rate)
    return HeaderRecord(
        schema="streamparts.tracks/3",
        streamparts=__version__,
        model=model,
        source=SourceRecord(source.name, source.height, source.width, _ratio(source.time_base), rate),
        policy=policy,
        coordinates=COORDINATES,
        masks=mask_record(Letterbox.fit((source.height, source.width), spec.input_hw)) if masks else None,
        roi=following.roi,
        subjects=max(1, following.num_subjects),
    )


def mask_record(letterbox: Letterbox) -> MaskRecord:
    """Placement of masks at model resolution on the displayed frame."""
    return MaskRecord(letterbox.model_hw, *mask_placement(letterbox))


def _ratio(value: Fraction) -> tuple[int, int]:
    return value.numerator, value.denominator


def _seconds(frame: Frame) -> float:
    return round(frame.pts_seconds, 6)


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
        side_certainty=_certainty(tracks, part),
        mask=RleRecord(**encode_mask(tracks.mask(part))) if masks else None,  # type: ignore[arg-type]
    )


def _certainty(tracks: Tracks, part: int) -> float | None:
    """None for parts without a side, which are exactly certain, and for those of which no pixel is visible."""
    if tracks.side_certainty is None or not tracks.visible[part] or tracks.side_certainty[part] == 1:
        return None
    return round(float(tracks.side_certainty[part]), 3)
