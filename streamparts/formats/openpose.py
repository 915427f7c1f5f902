"""OpenPose's output: a folder with one JSON file per frame, in which parts or the skeleton's joints replace body
joints, and a file that describes them to Pose2Sim."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from streamparts.formats.dense import Points, positions, unique_names
from streamparts.formats.joints import joint_edges, joint_names, joint_positions, parents_of, part_parents
from streamparts.formats.pose2sim import custom_skeleton
from streamparts.formats.shots import Survey, shots
from streamparts.sources import output_stem
from streamparts.tracksfile.reading import TracksFile

VERSION = 1.3
ENDING = "_keypoints.json"
SKELETON = "pose2sim.toml"
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
    joints = survey.wishes.joints
    names, notes = (joint_names(tracks), list[str]()) if joints else unique_names(tracks)
    parents = parents_of(len(names), joint_edges(tracks)) if joints else part_parents(tracks)
    path.mkdir()
    (path / SKELETON).write_text(custom_skeleton(names, parents), encoding="utf-8")
    stem = output_stem(tracks.header.source.name or "video")
    num_subjects = survey.num_subjects
    for number, found in enumerate(_by_number(tracks, num_subjects, names if joints else None)):
        people = []
        for subject, points in enumerate([] if found is None else found):
            if np.isfinite(points[:, 0]).any():
                values = np.round(np.nan_to_num(points), 4).ravel().tolist()
                person = {"person_id": [subject if num_subjects > 1 else -1], "pose_keypoints_2d": values}
                people.append(person | {name: [] for name in EMPTY})
        content = msgspec.json.encode({"version": VERSION, "people": people})
        (path / f"{stem}_{number:012d}{ENDING}").write_bytes(content)
    return notes + survey.time_notes() + survey.size_notes()


def _by_number(tracks: TracksFile, num_subjects: int, joints: list[str] | None) -> Iterator[Points | None]:
    """(S, K, 3), or (S, J, 3) of joints, for each frame number from 0 on; None where that frame was not tracked."""
    number = 0
    for shot in shots(tracks):
        for _ in range(number, shot.frame.frame):
            yield None
        yield positions(shot, num_subjects) if joints is None else joint_positions(shot, joints, num_subjects)
        number = shot.frame.frame + 1


def foreign_files(folder: Path) -> Iterator[Path]:
    """Files in a folder that no `write` created."""
    return (
        item
        for item in folder.iterdir()
        if not (item.is_file() and (item.name.endswith(ENDING) or item.name == SKELETON))
    )
