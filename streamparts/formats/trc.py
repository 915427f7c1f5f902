"""TRC, the marker text of motion capture, in pixels: x right, y down as in the picture, z = 0."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from streamparts.formats.csv_text import cell
from streamparts.formats.dense import positions, subject_names, unique_names
from streamparts.formats.shots import Survey, growing
from streamparts.sinks.reading import TracksFile


def write(tracks: TracksFile, survey: Survey, path: Path) -> list[str]:
    """Every tracked frame with its number and its own time; nothing between the tabs where a part is not seen. Several
    subjects stand before their parts' names."""
    names, notes = unique_names(tracks)
    if survey.num_subjects > 1:
        names = [f"{subject}_{name}" for subject in subject_names(survey.num_subjects) for name in names]
    rate = round(survey.rate or 0.0, 6)
    first = next((shot.frame.frame for shot, _ in growing(tracks, survey)), 0)
    fields = {
        "DataRate": rate,
        "CameraRate": rate,
        "NumFrames": survey.num_frames,
        "NumMarkers": len(names),
        "Units": "px",
        "OrigDataRate": rate,
        "OrigDataStartFrame": first,
        "OrigNumFrames": survey.num_frames,
    }
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None)
        table.writerow(("PathFileType", 4, "(X/Y/Z)", path.name))
        table.writerow(fields)
        table.writerow(fields.values())
        table.writerow(
            ("Frame#", "Time", *(text for name in names for text in (cell(re.sub(r"\s", "_", name)), "", "")))
        )
        table.writerow(("", "", *(f"{axis}{number}" for number in range(1, len(names) + 1) for axis in "XYZ")))
        file.write("\n")
        for shot, seconds in growing(tracks, survey):
            points = positions(shot, survey.num_subjects).reshape(-1, 3)
            cells = [cell for x, y, _ in points.tolist() for cell in (("", "", "") if x != x else (x, y, 0.0))]
            table.writerow((shot.frame.frame, float(seconds), *cells))
    return notes + survey.time_notes() + survey.size_notes()
