"""The lines of a tracks file, schema streamparts.tracks/3. The published JSON Schema is generated from these."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

SCHEMA: Final = "streamparts.tracks/3"
OLDER_SCHEMAS = ("streamparts.tracks/2", "streamparts.tracks/1")
"""Older schemas that are also read."""
FIRST_SCHEMA = OLDER_SCHEMAS[-1]
"""Schema whose lines have no `type`."""

COORDINATES = (
    "pixels of the frame as displayed (rotation applied); origin at the top-left corner, pixel centres at +0.5, "
    "x right, y down; affine [[a, b, tx], [c, d, ty]] maps a part's canonical unit circle to its ellipse"
)
MASK_COORDINATES = (
    "COCO run-length encoding at mask_hw; a continuous mask pixel x, y is displayed at "
    "(x - offset_xy[0]) * scale_xy[0], (y - offset_xy[1]) * scale_xy[1]; where the frame or the subject has a region, "
    "at region[0] + x * region[2] / mask_hw[1], region[1] + y * region[3] / mask_hw[0]"
)

Count = Annotated[int, Meta(ge=0)]
Size = Annotated[int, Meta(ge=1)]
Ratio = Annotated[tuple[int, Size], Meta(description="Numerator and denominator.")]
Row = tuple[float, float, float]
Score = Annotated[float, Meta(ge=0, le=1)]
Region = Annotated[
    tuple[float, float, float, float],
    Meta(description="Left, top, width and height in displayed pixels; it may extend beyond the frame."),
]


class ModelRecord(Struct, frozen=True):
    """The model that found the parts."""

    name: str
    method: Annotated[str, Meta(description='Training method: "assembly", "scops", "supervised" or a baseline.')]
    sha256: Annotated[str, Meta(description="Of the model file.")]
    parts: Annotated[list[str], Meta(description="Names by part number.")]
    description: Annotated[str, Meta(description="What the model finds, in a sentence.")] = ""
    symmetric_pairs: Annotated[
        list[tuple[Count, Count]], Meta(description="Part numbers of mirrored parts, left first.")
    ] = []


class SourceRecord(Struct, frozen=True):
    """The video, as of its first segment."""

    name: Annotated[str, Meta(description="Without credentials.")]
    height: Annotated[Size, Meta(description="As displayed, in pixels.")]
    width: Annotated[Size, Meta(description="As displayed, in pixels.")]
    time_base: Annotated[Ratio, Meta(description="Seconds per tick of pts: numerator and denominator.")]
    rate: Annotated[Ratio | None, Meta(description="Nominal frame rate; null if unknown. Never used for times.")]


class MaskRecord(Struct, frozen=True):
    """Placement of this segment's masks on the displayed frame, without a region."""

    mask_hw: Annotated[tuple[Size, Size], Meta(description="Height and width of every mask.")]
    offset_xy: Annotated[tuple[float, float], Meta(description="Left and top border, in mask pixels.")]
    scale_xy: Annotated[tuple[float, float], Meta(description="Displayed pixels per mask pixel.")]
    coordinates: Annotated[str, Meta(description="The coordinate convention, in words.")] = MASK_COORDINATES


class HeaderRecord(Struct, frozen=True, tag_field="type", tag="header"):
    """The first line, which describes the others."""

    schema: Annotated[Literal["streamparts.tracks/3"], Meta(description="Version of this format.")]
    streamparts: Annotated[str, Meta(description="Version of streamparts that wrote the file.")]
    model: ModelRecord
    source: SourceRecord
    policy: Annotated[str | None, Meta(description="Which frames are tracked; null if unknown.")]
    coordinates: Annotated[str, Meta(description="The convention of centers and affines, in words.")]
    masks: Annotated[MaskRecord | None, Meta(description="null without masks.")] = None
    roi: Annotated[
        Literal["auto", "off"] | Region,
        Meta(description="What the network sees: a crop that follows the subject, the whole frame, or a fixed region."),
    ] = "off"
    subjects: Annotated[Size, Meta(description="Number of subjects followed.")] = 1


class RleRecord(Struct, frozen=True):
    """A mask as COCO run-length encoding."""

    size: Annotated[tuple[Size, Size], Meta(description="Height and width.")]
    counts: Annotated[str, Meta(description="COCO's compressed text.")]


class PartRecord(Struct, frozen=True, omit_defaults=True):
    """One part in one frame."""

    id: Annotated[Count, Meta(description="Part number, from 0, the same in every frame.")]
    name: Annotated[str, Meta(description="Name in the model.")]
    center: Annotated[tuple[float, float], Meta(description="x, y in displayed pixels.")]
    affine: Annotated[tuple[Row, Row], Meta(description="Canonical -> displayed pixels.")]
    area: Annotated[float, Meta(ge=0, description="Visible area in square displayed pixels.")]
    score: Annotated[float, Meta(ge=0, le=1)]
    visible: Annotated[bool, Meta(description="Whether the part is visible; if not, the pose is an estimate.")]
    mask: Annotated[RleRecord | None, Meta(description="At model resolution, if requested.")] = None
    filled: Annotated[
        bool, Meta(description="The part is not visible and the skeleton placed it; omitted if false.")
    ] = False
    side_certainty: Annotated[
        Score | None,
        Meta(
            description="With --steady-sides: share of the recent evidence that is for the side of a visible left or"
            " right part, from 0.5, undecided, to 1; omitted otherwise."
        ),
    ] = None


class JointRecord(Struct, frozen=True):
    """A joint between two parts in one frame."""

    name: Annotated[str, Meta(description="The names of its two parts, joined by a hyphen.")]
    parts: Annotated[
        tuple[Count, Count], Meta(description="Part numbers; the one nearer to the skeleton's root comes first.")
    ]
    x: Annotated[float | None, Meta(description="In displayed pixels; null until one of its parts has been visible.")]
    y: float | None
    confidence: Annotated[float, Meta(ge=0, le=1, description="0 if neither part is visible.")]


class SubjectRecord(Struct, frozen=True, omit_defaults=True):
    """One of several subjects in one frame."""

    id: Annotated[Count, Meta(description="Its number, from 0, the same in every frame.")]
    parts: Annotated[list[PartRecord], Meta(description="All parts of the model, visible or not.")]
    score: Annotated[
        Score | None, Meta(description="Probability that the subject is in the frame; null if unknown.")
    ] = None
    region: Annotated[Region | None, Meta(description="Region in which the network found it.")] = None
    joints: Annotated[list[JointRecord], Meta(description="Joints of the skeleton; omitted without one.")] = []


class FrameRecord(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="frame"):
    """One frame."""

    frame: Annotated[Count, Meta(description="Position in the video, from 0, counting dropped frames.")]
    pts: Annotated[int, Meta(description="Presentation time in ticks of the segment's time base, from the source.")]
    pts_seconds: Annotated[float, Meta(description="The same in seconds.")]
    parts: Annotated[list[PartRecord], Meta(description="All parts of the model, visible or not.")]
    segment: Annotated[Count, Meta(description="Number of its segment; omitted if 0.")] = 0
    dropped: Annotated[Count, Meta(description="Frames dropped since the previous record; omitted if 0.")] = 0
    captured_unix_seconds: Annotated[
        float | None, Meta(description="Unix time at which it left the decoder; live sources only.")
    ] = None
    joints: Annotated[list[JointRecord], Meta(description="Joints of the skeleton; omitted without one.")] = []
    subject_score: Annotated[
        Score | None, Meta(description="Probability that the subject is in the frame; omitted if unknown.")
    ] = None
    region: Annotated[
        Region | None, Meta(description="Region that the network saw; omitted if it was the whole frame.")
    ] = None
    subjects: Annotated[
        list[SubjectRecord],
        Meta(
            description="All subjects, if several are followed; the fields of the frame itself are those of the first."
        ),
    ] = []
    damaged: Annotated[bool, Meta(description="Image data was lost, so no part is visible; omitted if false.")] = False


class GapRecord(Struct, frozen=True, tag_field="type", tag="gap"):
    """The source supplied no frames for a while. Precedes the next frame and its segment."""

    frame: Annotated[Count, Meta(description="The frame after the gap.")]
    pts: Annotated[int, Meta(description="Its time, in ticks of its segment.")]
    pts_seconds: Annotated[float, Meta(description="The same in seconds.")]
    seconds: Annotated[float, Meta(ge=0, description="Wall time from the last frame before the gap to that frame.")]
    reason: Annotated[str, Meta(description="Cause, in words.")]


class SegmentRecord(Struct, frozen=True, tag_field="type", tag="segment"):
    """From here on, the size or the clock of the source differs. pts may decrease here."""

    segment: Annotated[Count, Meta(description="Its number; the segment of the header is 0.")]
    frame: Annotated[Count, Meta(description="Its first frame.")]
    height: Annotated[Size, Meta(description="As displayed, in pixels.")]
    width: Annotated[Size, Meta(description="As displayed, in pixels.")]
    time_base: Annotated[Ratio, Meta(description="Seconds per tick of pts: numerator and denominator.")]
    masks: Annotated[MaskRecord | None, Meta(description="null without masks.")] = None


Record = FrameRecord | GapRecord | SegmentRecord
"""Records after the header."""


def tracks_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of one line of a tracks file."""
    records = (HeaderRecord, FrameRecord, GapRecord, SegmentRecord)
    lines, definitions = msgspec.json.schema_components(records, ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{SCHEMA.replace('/', ':')}",
        "title": SCHEMA,
        "description": "One line of a tracks file (JSON lines, UTF-8). The first line is a header.",
        "oneOf": list(lines),
        "$defs": definitions,
    }
