"""COCO results: a JSON list of the parts in each frame, for pycocotools' `loadRes`.

Category 1 is the subject with the centre of every part as a keypoint, 2 + k is part k. A frame's number is its
`image_id`; if several subjects are followed, `track_id` is the subject's number. Masks are scaled to the displayed
frame. Corners and keypoints are relative to the frame's corner.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from streamparts.formats.masks import model_mask
from streamparts.formats.shots import Shot, Survey, shots
from streamparts.geometry import Mask, box_around, box_of, displayed
from streamparts.tracksfile.reading import TracksFile
from streamparts.tracksfile.records import PartRecord
from streamparts.tracksfile.rle import encode_mask

SUBJECT, FIRST_PART = 1, 2
SEEN = 2
"""COCO's visibility flag of a keypoint; a hidden one has 0, with position 0, 0."""

Box = tuple[float, float, float, float]


def write(tracks: TracksFile, survey: Survey, path: Path) -> list[str]:
    """A frame without visible parts has no results."""
    names = tracks.header.model.parts
    with path.open("wb") as file:
        file.write(b"[")
        begin = b"\n"
        for shot in shots(tracks):
            for one in shot.subjects:
                track = {"track_id": one.subject} if survey.num_subjects > 1 else {}
                for result in results(one, names):
                    file.write(begin + msgspec.json.encode(result | track))
                    begin = b",\n"
        file.write(b"\n]\n")
    return survey.size_notes()


def results(shot: Shot, names: list[str]) -> Iterator[dict[str, Any]]:
    """Results of the subject, then of its parts; nothing if none is visible."""
    seen = shot.seen
    if not seen:
        return
    height, width = shot.setting.height, shot.setting.width
    masks = {part.id: mask for part in seen if (mask := _mask(shot, part)) is not None}
    boxes = {part.id: _box(part, masks.get(part.id), height, width) for part in seen}
    image = {"image_id": shot.frame.frame, "pts": shot.pts, "pts_seconds": float(shot.seconds)}
    keypoints = [value for x, y, _ in shot.positions.tolist() for value in ((0, 0, 0) if x != x else (x, y, SEEN))]
    corners = np.array(list(boxes.values()))
    subject = image | {
        "category_id": SUBJECT,
        "score": sum(part.score for part in seen) / len(seen),
        "bbox": _xywh((*corners[:, :2].min(0).tolist(), *corners[:, 2:].max(0).tolist())),
        "keypoints": keypoints,
    }
    if masks:
        subject["segmentation"] = encode_mask(np.logical_or.reduce(list(masks.values())))
    yield subject
    for part in seen:
        result = image | {"category_id": FIRST_PART + part.id, "name": names[part.id], "score": part.score}
        result["bbox"] = _xywh(boxes[part.id])
        if part.id in masks:
            result["segmentation"] = encode_mask(masks[part.id])
        yield result


def _mask(shot: Shot, part: PartRecord) -> Mask | None:
    lie = shot.lie
    if part.mask is None or lie is None:
        return None
    return displayed(
        model_mask(part.mask, shot.frame.frame), lie.offset_xy, lie.scale_xy, shot.setting.height, shot.setting.width
    )


def _box(part: PartRecord, mask: Mask | None, height: int, width: int) -> Box:
    """Box around the mask or, without one, around the ellipse."""
    return (None if mask is None else box_of(mask)) or box_around(part.affine, height, width)


def _xywh(box: Box) -> list[float]:
    x0, y0, x1, y1 = box
    return [round(value, 3) for value in (x0, y0, x1 - x0, y1 - y0)]
