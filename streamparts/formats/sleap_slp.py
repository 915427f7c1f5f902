"""SLEAP's .slp, by sleap-io: a predicted instance per subject and frame, and a mask per part.

Pixel centres are whole numbers. Masks keep the model's resolution, cropped to the frame, with `scale`; masks of a
region are scaled to the frame. sleap-io cannot append: all frames are in memory until they are written, about 20 kB
each with masks.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from streamparts.errors import need
from streamparts.formats.dense import PIXEL_CENTER, subject_names, unique_names
from streamparts.formats.hints import Wishes
from streamparts.formats.masks import inside, model_mask
from streamparts.formats.shots import Shot, Survey, edges_of, shots, survey
from streamparts.geometry import displayed
from streamparts.texts import readable
from streamparts.tracksfile.reading import TracksFile, read_tracks

WHAT = "SLEAP's .slp"


def write(tracks: TracksFile, known: Survey, path: Path) -> list[str]:
    """Frames without visible parts have no instance. A separate process writes the file, because the HDF5 library
    crashes its process when a disk is full. Raises OSError then."""
    need("sleap_io", WHAT)
    notes = unique_names(tracks)[1]
    video = known.wishes.video
    files = [str(file.resolve()) for file in (tracks.path, path, *([video] if video else ()))]
    words = [sys.executable, "-m", __name__, *files]
    paths = os.pathsep.join(str(Path(place).resolve()) for place in sys.path)
    done = subprocess.run(words, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it crashed"])[-1]
        raise OSError(None, f"sleap-io ended with {done.returncode}: {last[:200]}; is the disk full?")
    return notes + known.time_notes() + known.size_notes()


def _write(tracks: TracksFile, known: Survey, path: Path) -> None:
    sio = need("sleap_io", WHAT)
    names, _ = unique_names(tracks)
    source, model = tracks.header.source, tracks.header.model
    shape = [known.num_rows, source.height, source.width, 3]
    file = known.wishes.video
    video = sio.Video(
        readable(str(file.resolve())) if file else source.name or "video",
        backend_metadata={"shape": shape},
        open_backend=False,
    )
    skeleton = sio.Skeleton(nodes=list(names), name=model.name or None)
    for left, right in model.symmetric_pairs:
        skeleton.add_symmetry(names[left], names[right])
    for parent, child in edges_of(tracks):
        skeleton.add_edge(names[parent], names[child])
    individuals = [sio.Track(name) for name in subject_names(known.num_subjects)]
    frames = [_frame(sio, shot, video, skeleton, individuals) for shot in shots(tracks)]
    labels = sio.Labels(frames, [video], [skeleton], individuals)
    labels.provenance = {"streamparts": tracks.header.streamparts, "model": model.name, "sha256": model.sha256}
    sio.save_slp(labels, str(path), verbose=False)


def _frame(sio: Any, shot: Shot, video: Any, skeleton: Any, individuals: list[Any]) -> Any:
    frame = sio.LabeledFrame(video, shot.frame.frame)
    for one in shot.subjects:
        if one.seen:
            _add(sio, frame, one, skeleton, individuals[one.subject])
    return frame


def _add(sio: Any, frame: Any, shot: Shot, skeleton: Any, track: Any) -> None:
    points = shot.positions
    score = float(points[np.isfinite(points[:, 0]), 2].mean())
    instance = sio.PredictedInstance.from_numpy(
        points[:, :2] - PIXEL_CENTER, skeleton, points[:, 2], score=score, track=track
    )
    frame.instances.append(instance)
    lie, size = shot.lie, (shot.setting.height, shot.setting.width)
    for part in shot.seen:
        if part.mask is None or lie is None:
            continue
        mask, name = model_mask(part.mask, shot.frame.frame), skeleton.nodes[part.id].name
        # SLEAP's masks start at the frame's corner
        mask = inside(mask, lie, *size) if shot.region is None else displayed(mask, lie.offset_xy, lie.scale_xy, *size)
        scale = (mask.shape[1] / size[1], mask.shape[0] / size[0])
        about = {"name": name, "category": name, "score": part.score, "track": track, "instance": instance}
        frame.masks.append(sio.PredictedSegmentationMask.from_numpy(mask, scale=scale, source="streamparts", **about))


if __name__ == "__main__":
    opened, wishes = read_tracks(sys.argv[1]), Wishes(video=Path(sys.argv[3]) if len(sys.argv) > 3 else None)
    _write(opened, replace(survey(opened), wishes=wishes), Path(sys.argv[2]))
