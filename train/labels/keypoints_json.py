"""Keypoints of a video as JSON: a list with one entry per frame, from the first.

An entry is a list of points [x, y] or [x, y, z], or an object {name: {"x": .., "y": ..}}; null or an empty one is a
frame without labels. Coordinates are continuous pixels. The format does not distinguish annotations from detections, so
they count as a detector's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from streamparts.arrays import FloatArray
from streamparts.sources import VIDEO_SUFFIXES
from streamparts.texts import read_text

from ..frames.spread import spread
from .body_points import HAND_21
from .pictures import video_frames
from .values import EvaluationSet, LabelledFrame, LabelsError, pseudo, set_name


def open_keypoints(labels: Path, video: Path | None, max_frames: int) -> EvaluationSet:
    """If `video` is None, use the one beside the labels with the same name up to the first dot."""
    names, points = read_keypoints(labels)
    video = video or _video_beside(labels)
    known = np.flatnonzero(np.isfinite(points).any((1, 2))).tolist()
    chosen = [known[row] for row in spread(len(known), max_frames)]

    def read() -> Iterator[LabelledFrame]:
        for index, image in video_frames(video, chosen):
            yield LabelledFrame(image, 0, landmarks=points[index], index=index)

    name, truth = set_name("keypoints", labels), pseudo("a detector's")
    return EvaluationSet(name, truth, len(chosen), read, landmark_names=names, sources=(video,))


def _video_beside(labels: Path) -> Path:
    stem = labels.name.partition(".")[0]
    found = [p for p in sorted(labels.parent.glob(f"{stem}.*")) if p.suffix.lower() in VIDEO_SUFFIXES]
    if len(found) != 1:
        raise LabelsError(f"{labels}: expected one video {stem}.* beside it, found {len(found)}; give it after a comma")
    return found[0]


def read_keypoints(path: Path) -> tuple[tuple[str, ...], FloatArray]:
    """(L,) names and (F, L, 2) points, nan where missing. Raises LabelsError."""
    try:
        entries = json.loads(read_text(path))
        first = next(entry for entry in entries if entry)
        names = tuple(map(str, first)) if isinstance(first, dict) else _numbered(len(first))
        rows = [_points(entry, names) for entry in entries]
    except StopIteration:
        raise LabelsError(f"{path}: contains no keypoint") from None
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise LabelsError(f"{path}: cannot be read as a list of keypoints, one entry per frame ({error})") from error
    return names, np.stack(rows)


def _numbered(count: int) -> tuple[str, ...]:
    return HAND_21 if count == len(HAND_21) else tuple(map(str, range(count)))


def _points(entry: Any, names: tuple[str, ...]) -> FloatArray:
    """(L, 2)"""
    if not entry:
        return np.full((len(names), 2), np.nan, np.float32)
    if isinstance(entry, dict):
        return np.array([[entry[name]["x"], entry[name]["y"]] for name in names], np.float32)
    if len(entry) != len(names):
        raise ValueError(f"a frame has {len(entry)} keypoints, but the first one has {len(names)}")
    return np.array([point[:2] for point in entry], np.float32).reshape(len(names), 2)
