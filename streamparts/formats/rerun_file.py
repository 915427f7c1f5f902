"""Rerun's .rrd: centres and outlines of the parts on the timelines `frame` and `time`, those of several subjects under
`subject0`, `subject1`, ...; on request the pictures under `video`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from streamparts.bundle.colours import part_color
from streamparts.errors import need
from streamparts.formats.film import film_of
from streamparts.formats.shots import Shot, Survey, growing
from streamparts.geometry import outline
from streamparts.tracksfile.reading import TracksFile

ENTITY, VIDEO = "parts", "video"
FRAMES_AT_ONCE = 500
BILLION = 1_000_000_000


def write(tracks: TracksFile, survey: Survey, path: Path) -> list[str]:
    """Class k is part k. Times never decrease, see shots.growing. Positions are float32."""
    rerun = need("rerun", "Rerun's .rrd", "rerun")
    names = tracks.header.model.parts
    recording = rerun.RecordingStream("streamparts")
    stream = recording.binary_stream()  # its own file writing does not report a full disk
    classes = [(number, name, part_color(number)) for number, name in enumerate(names)]
    recording.log("/", rerun.AnnotationContext(classes), static=True)
    with path.open("wb") as file, film_of(tracks.path, survey.wishes.video) as film:
        if film is not None:
            recording.log(VIDEO, rerun.VideoStream(rerun.VideoCodec.H264), static=True)
        for number, (shot, seconds) in enumerate(growing(tracks, survey), 1):
            recording.set_time("frame", sequence=shot.frame.frame)
            recording.set_time("time", duration=np.timedelta64(round(seconds * BILLION), "ns"))
            for one in shot.subjects:
                _log(rerun, recording, one, names, ENTITY if survey.num_subjects == 1 else f"subject{one.subject}")
            if film is not None:
                recording.log(VIDEO, rerun.VideoStream.from_fields(sample=film.picture(shot)))
            if number % FRAMES_AT_ONCE == 0:
                file.write(stream.read() or b"")
        file.write(stream.read() or b"")
    recording.disconnect()
    return survey.size_notes()


def _log(rerun: Any, recording: Any, shot: Shot, names: list[str], entity: str) -> None:
    numbers = [part.id for part in shot.seen]
    points = np.array([part.center for part in shot.seen], np.float32).reshape(-1, 2)
    labels = [names[number] for number in numbers]
    scores = rerun.AnyValues(score=np.array([part.score for part in shot.seen], np.float32))
    recording.log(f"{entity}/centers", rerun.Points2D(points, labels=labels, class_ids=numbers), scores)
    loops = [np.concatenate([loop, loop[:1]]) for loop in (outline(part.affine) for part in shot.seen)]
    recording.log(f"{entity}/outlines", rerun.LineStrips2D(loops, class_ids=numbers))
