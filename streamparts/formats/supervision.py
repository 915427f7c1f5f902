"""Tracks of one frame as values of the package supervision, to draw or count with its tools."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamparts.data import Tracks
from streamparts.formats.ellipses import box_around
from streamparts.formats.extras import need
from streamparts.formats.masks import Mask, box_of, displayed
from streamparts.tracksfile.recording import mask_record

WHAT = "to_supervision"


def detections(tracks: Tracks) -> Any:
    """`supervision.Detections` of the parts that are seen: masks (n, height, width) of the picture as displayed, the
    boxes around them, scores, part numbers as `class_id` and names as `data["class_name"]`. Where several subjects are
    followed, `tracker_id` is the subject's number.

    Raises MissingExtraError without supervision.
    """
    sv = need("supervision", WHAT, "supervision")
    if not tracks.others:
        return _detections(sv, tracks)
    found = [_detections(sv, subject) for subject in tracks.subjects]
    for subject, each in zip(tracks.subjects, found, strict=True):
        each.tracker_id = np.full(len(each), subject.subject, np.int64)
    return sv.Detections.merge(found)


def _detections(sv: Any, tracks: Tracks) -> Any:
    height, width = tracks.frame.height, tracks.frame.width
    seen = np.flatnonzero(tracks.visible)
    masks = np.zeros((len(seen), height, width), np.bool_)
    boxes = list[tuple[float, float, float, float]]()
    for mask, part in zip(masks, seen.tolist(), strict=True):
        mask[:] = _mask(tracks, part)
        boxes.append(box_of(mask) or box_around(tracks.affines[part], height, width))
    return sv.Detections(
        xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        mask=masks,
        confidence=tracks.scores[seen],
        class_id=seen.astype(np.int64),
        data={"class_name": np.array(tracks.names)[seen]},
    )


def key_points(tracks: Tracks) -> Any:
    """`supervision.KeyPoints` of the S subjects: the centres (S, K, 2) in displayed pixels, their scores, and which are
    seen.

    Raises MissingExtraError without supervision.
    """
    sv = need("supervision", WHAT, "supervision")
    return sv.KeyPoints(
        xy=np.stack([one.centers for one in tracks.subjects]).astype(np.float32),
        keypoint_confidence=np.stack([one.scores for one in tracks.subjects]).astype(np.float32),
        visible=np.stack([one.visible for one in tracks.subjects]),
    )


def _mask(tracks: Tracks, part: int) -> Mask:
    return displayed(tracks.mask(part), mask_record(tracks.letterbox), tracks.frame.height, tracks.frame.width)
