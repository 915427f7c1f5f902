"""BADJA: joints of animals on some frames of DAVIS clips, as one JSON file per clip.

Joints are (row, column) at 1920x1080, whatever the frames' size; (0, 0) means not visible. Of the 37 entries in each
list, 20 are ever labelled; the others are omitted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from streamparts.arrays import FloatArray
from streamparts.texts import read_text

from ..frames.spread import spread
from .pictures import list_images, read_mask, read_rgb, video_frames
from .values import TRUE, EvaluationSet, LabelledFrame, LabelsError, set_name

LABELLED_WH = (1920, 1080)
JOINTS = {
    8: "right_front_elbow", 9: "right_front_wrist", 10: "right_front_paw",
    12: "left_front_elbow", 13: "left_front_wrist", 14: "left_front_paw",
    15: "neck",
    18: "right_rear_knee", 19: "right_rear_ankle", 20: "right_rear_paw",
    22: "left_rear_knee", 23: "left_rear_ankle", 24: "left_rear_paw",
    25: "tail_root", 28: "tail_middle", 31: "tail_tip",
    32: "face", 33: "nose", 35: "right_ear", 36: "left_ear",
}  # fmt: skip
"""Index in the list -> joint; the names are ours, from inspection."""


def open_badja(joints: Path, clip: Path, max_frames: int) -> EvaluationSet:
    """Open a clip: a folder with frames/ and, optionally, masks/, or a video."""
    numbers, points = read_badja(joints)
    frames = list_images(clip / "frames") if clip.is_dir() else []
    if frames and numbers[-1] >= len(frames):
        raise LabelsError(f"{clip}: has {len(frames)} frames, but {joints.name} labels frame {numbers[-1]}")
    rows = {numbers[row]: row for row in spread(len(numbers), max_frames)}

    def labelled(index: int, picture: np.ndarray) -> LabelledFrame:
        height, width = picture.shape[:2]
        scale = np.array([width / LABELLED_WH[0], height / LABELLED_WH[1]], np.float32)
        stored = clip / "masks" / f"{frames[index].stem}.png" if frames else None
        mask = read_mask(stored, (height, width), threshold=0) if stored and stored.exists() else None
        return LabelledFrame(picture, 0, landmarks=points[rows[index]] * scale, mask=mask, index=index)

    def read() -> Iterator[LabelledFrame]:
        if frames:
            yield from (labelled(index, read_rgb(frames[index])) for index in rows)
        else:
            yield from (labelled(index, picture) for index, picture in video_frames(clip, list(rows)))

    source = clip / "frames" if frames else clip
    names = tuple(JOINTS.values())
    return EvaluationSet(set_name("badja", joints), TRUE, len(rows), read, landmark_names=names, sources=(source,))


def read_badja(path: Path) -> tuple[list[int], FloatArray]:
    """(F,) numbers of the frames, increasing, and (F, 20, 2) x, y at LABELLED_WH, nan where missing. Raises
    LabelsError."""
    try:
        entries = sorted(json.loads(read_text(path)), key=lambda entry: str(entry["image_path"]))
        numbers = [int(Path(entry["image_path"]).stem) for entry in entries]
        places = list(JOINTS)
        points = np.array([[entry["joints"][place][::-1] for place in places] for entry in entries], np.float32)
        seen = np.array([[entry["visibility"][place] for place in places] for entry in entries], np.bool_)
        if not entries or points.shape[1:] != (len(places), 2):
            raise ValueError("no frame is labelled")
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise LabelsError(f"{path}: cannot be read as BADJA's joints ({error})") from error
    return numbers, np.where(seen[..., None], points, np.float32(np.nan))
