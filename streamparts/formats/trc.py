"""TRC, the marker format of motion capture, in metres as OpenSim and Blender read it: x right, y up from the frame's
lower edge, z = 0. The user gives the size of a pixel."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from streamparts.formats.csv_text import cell
from streamparts.formats.dense import positions, subject_names, unique_names
from streamparts.formats.joints import joint_names, joint_positions
from streamparts.formats.shots import Shot, Survey, growing, shots
from streamparts.texts import readable
from streamparts.tracksfile.reading import TracksFile

METRES_PER_PIXEL = 0.001
"""Default size of a pixel."""

Place = tuple[float, float] | None
"""x, y in pixels of the frame, y down; None if unknown."""


def write(tracks: TracksFile, survey: Survey, path: Path) -> list[str]:
    """Write every tracked frame with its number and time; the cells of a hidden marker are empty. With several
    subjects, the subject's name precedes the marker's."""
    joints = joint_names(tracks) if survey.wishes.joints else None
    own, notes = unique_names(tracks) if joints is None else (joints, list[str]())
    names = own
    if survey.num_subjects > 1:
        names = [f"{subject}_{name}" for subject in subject_names(survey.num_subjects) for name in own]
    rate, metres = round(survey.rate or 0.0, 6), survey.wishes.metres_per_pixel or METRES_PER_PIXEL
    first = next((shot.frame.frame for shot in shots(tracks)), 0)
    fields = {
        "DataRate": rate,
        "CameraRate": rate,
        "NumFrames": survey.num_frames,
        "NumMarkers": len(names),
        "Units": "m",
        "OrigDataRate": rate,
        "OrigDataStartFrame": first,
        "OrigNumFrames": survey.num_frames,
    }
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None)
        table.writerow(("PathFileType", 4, "(X/Y/Z)", readable(path.name)))
        table.writerow(fields)
        table.writerow(fields.values())
        table.writerow(
            ("Frame#", "Time", *(text for name in names for text in (cell(re.sub(r"\s", "_", name)), "", "")))
        )
        table.writerow(("", "", *(f"{axis}{number}" for number in range(1, len(names) + 1) for axis in "XYZ")))
        file.write("\n")
        for shot, seconds in growing(tracks, survey):
            places = _places(shot, joints, survey.num_subjects)
            cells = [value for place in places for value in _cells(place, shot.setting.height, metres)]
            table.writerow((shot.frame.frame, float(seconds), *cells))
    if survey.wishes.metres_per_pixel is None:
        notes.append(f"a pixel is assumed to be {metres:g} m; set its size with --metres-per-pixel M")
    return notes + survey.time_notes() + survey.size_notes()


def _cells(place: Place, height: int, metres: float) -> tuple[object, object, object]:
    """x, y and z in metres, y up."""
    if place is None:
        return "", "", ""
    return round(place[0] * metres, 9), round((height - place[1]) * metres, 9), 0.0


def _places(shot: Shot, joints: list[str] | None, num_subjects: int) -> Iterator[Place]:
    points = positions(shot, num_subjects) if joints is None else joint_positions(shot, joints, num_subjects)
    return (None if x != x else (x, y) for x, y, _ in points.reshape(-1, 3).tolist())
