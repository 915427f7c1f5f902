"""OpenPose's output: a folder with one JSON file per frame; parts replace body joints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from streamparts.formats.dense import rows
from streamparts.formats.shots import Survey
from streamparts.sources import output_stem
from streamparts.tracksfile.reading import TracksFile

VERSION = 1.3
ENDING = "_keypoints.json"
EMPTY = (
    "face_keypoints_2d",
    "hand_left_keypoints_2d",
    "hand_right_keypoints_2d",
    "pose_keypoints_3d",
    "face_keypoints_3d",
    "hand_left_keypoints_3d",
    "hand_right_keypoints_3d",
)


def write(tracks: TracksFile, survey: Survey, path: Path) -> list[str]:
    """x, y and score of every part, 0, 0 and 0 if hidden; no person in frames that were not tracked. Several subjects
    have their numbers as `person_id`."""
    survey.check_rows(tracks)
    path.mkdir()
    stem = output_stem(tracks.header.source.name or "video")
    num_subjects = survey.num_subjects
    for number, found in enumerate(rows(tracks, num_subjects)):
        people = []
        for subject, points in enumerate([] if found is None else found.reshape(num_subjects, -1, 3)):
            if np.isfinite(points[:, 0]).any():
                values = np.round(np.nan_to_num(points), 4).ravel().tolist()
                person = {"person_id": [subject if num_subjects > 1 else -1], "pose_keypoints_2d": values}
                people.append(person | {name: [] for name in EMPTY})
        content = msgspec.json.encode({"version": VERSION, "people": people})
        (path / f"{stem}_{number:012d}{ENDING}").write_bytes(content)
    return survey.time_notes() + survey.size_notes()


def foreign_files(folder: Path) -> Iterator[Path]:
    """Files in a folder that no `write` created."""
    return (item for item in folder.iterdir() if not (item.is_file() and item.name.endswith(ENDING)))
