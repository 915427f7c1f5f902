"""Clips with a detector's keypoints: FOLDER/NAME.mp4 with FOLDER/pseudo_gt/PREFIX_NAME.npz, of tai-chi and of faces.

The npz contains `kps` (F, L, 2) in continuous pixels and the detection's `score` (F,); tai-chi also `vis` (F, L) and
`mask`, with bits packed along rows. The tai-chi videos show the frame above a reference image: only the top half
counts.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray, FloatArray
from streamparts.sources import find_videos
from streamparts.sources.folders import files_in

from ..frames.spread import spread
from .body_points import MEDIAPIPE_33
from .pictures import video_frames
from .values import EvaluationSet, LabelledFrame, LabelsError, pseudo, set_name

MIN_SCORE = 0.5
"""Keypoints with a lower score count as missing."""


@dataclass(frozen=True)
class DetectedPoints:
    """The detections of one clip."""

    video: Path
    points: FloatArray
    """(F, L, 2) continuous pixels, nan where missing."""
    packed_masks: ByteArray | None
    """(F, H, W / 8) bits."""

    def mask(self, row: int) -> NDArray[np.bool_] | None:
        """(H, W) subject mask of frame `row`."""
        if self.packed_masks is None:
            return None
        return np.unpackbits(self.packed_masks[row], axis=1).astype(np.bool_)


def open_points(folder: Path, max_frames: int, *, top_half: bool) -> EvaluationSet:
    """Open all frames of all clips, subsampled evenly to `max_frames`; `top_half` crops each frame."""
    clips = [read_points(video, _npz_of(video)) for video in find_videos(folder)]
    ends = np.cumsum([len(clip.points) for clip in clips]).tolist()
    wanted = spread(ends[-1], max_frames)
    chosen = [[row - first for row in wanted if first <= row < end] for first, end in pairwise([0, *ends])]

    def read() -> Iterator[LabelledFrame]:
        for number, (clip, rows) in enumerate(zip(clips, chosen, strict=True)):
            for row, image in video_frames(clip.video, rows):
                picture = image[: len(image) // 2] if top_half else image
                yield LabelledFrame(picture, number, landmarks=clip.points[row], mask=clip.mask(row), index=row)

    num_frames, num_points = sum(map(len, chosen)), clips[0].points.shape[1]
    names = MEDIAPIPE_33 if num_points == len(MEDIAPIPE_33) else tuple(str(number) for number in range(num_points))
    kind, truth = "taichi" if top_half else "face", pseudo("MediaPipe's")
    sources = tuple(clip.video for clip in clips)
    return EvaluationSet(set_name(kind, folder), truth, num_frames, read, landmark_names=names, sources=sources)


def _npz_of(video: Path) -> Path:
    """Find the file whose name ends in `_NAME`; numbers may have leading zeros."""
    folder = video.parent / "pseudo_gt"
    maps = [path for path in files_in(folder) if path.suffix == ".npz"]
    found = [path for path in maps if _short(path.stem.rpartition("_")[2]) == _short(video.stem)]
    if len(found) != 1:
        raise LabelsError(f"{video}: expected one *_{video.stem}.npz in {folder}, found {len(found)}")
    return found[0]


def _short(name: str) -> str:
    return name.lstrip("0") or "0"


def read_points(video: Path, path: Path) -> DetectedPoints:
    """Read the file. Raises LabelsError for invalid content."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            points = np.asarray(stored["kps"], np.float32)
            sure = np.broadcast_to(stored["score"][:, None] >= MIN_SCORE, points.shape[:2])
            if "vis" in stored:
                sure = sure & (stored["vis"] >= MIN_SCORE)
            packed = stored.get("mask")
    except (OSError, KeyError, ValueError, IndexError, zipfile.BadZipFile) as error:
        raise LabelsError(f"{path}: cannot be read as detected keypoints ({error})") from error
    return DetectedPoints(video, np.where(sure[..., None], points, np.float32(np.nan)), packed)
