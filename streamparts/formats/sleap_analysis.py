"""SLEAP's analysis files: dense arrays in HDF5, in SLEAP's order, with a track for each subject. Pixel centres are
whole numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from streamparts.errors import TracksError, need
from streamparts.formats.dense import PIXEL_CENTER, Points, blocks, keep_times, records, subject_names, unique_names
from streamparts.formats.hints import Hints
from streamparts.formats.shots import Survey
from streamparts.tracksfile.reading import TracksFile
from streamparts.tracksfile.records import HeaderRecord, Record

WHAT = "SLEAP's analysis file"
MAX_NODES, MAX_FRAMES = 1000, 20_000_000
"""Limit on a file's numbers: a damaged one may contain anything."""
LENGTH = 4096
"""Frames written and read at a time."""


def write(tracks: TracksFile, survey: Survey, path: Path) -> list[str]:
    """`tracks` (S, 2, K, F), `point_scores` (S, K, F), `track_occupancy` (F, S) and what belongs to them."""
    h5py = need("h5py", WHAT)
    survey.check_rows(tracks)
    names, notes = unique_names(tracks)
    num_parts, num_rows, num_subjects = len(names), survey.num_rows, survey.num_subjects
    memory = BytesIO()  # the HDF5 library crashes the process when a disk is full
    with h5py.File(memory, "w") as file:
        file.attrs["format"], file.attrs["preset"] = "analysis", "matlab"

        def array(name: str, dims: str, shape: tuple[int, ...], fill: float = np.nan) -> Any:
            chunks = tuple(min(n, LENGTH) for n in shape)
            layout = {"chunks": chunks, "compression": "gzip"} if all(chunks) else {}
            data = file.create_dataset(name, shape, np.float64, fillvalue=fill, **layout)
            data.attrs["dims"] = json.dumps(dims.split())
            return data

        positions = array("tracks", "track xy node frame", (num_subjects, 2, num_parts, num_rows))
        scores = array("point_scores", "track node frame", (num_subjects, num_parts, num_rows))
        mean_scores = array("instance_scores", "track frame", (num_subjects, num_rows))
        array("tracking_scores", "track frame", (num_subjects, num_rows))
        occupancy = array("track_occupancy", "frame track", (num_rows, num_subjects), 0.0)
        for first, block, there in blocks(tracks, LENGTH, num_subjects):
            place = slice(first, first + len(block))
            points = block.reshape(len(block), num_subjects, num_parts, 3)
            positions[:, :, :, place] = points[..., :2].transpose(1, 3, 2, 0) - PIXEL_CENTER
            scores[:, :, place] = points[..., 2].transpose(1, 2, 0)
            mean_scores[:, place] = points[..., 2].mean(axis=2).T
            occupancy[place] = there[:, None] & np.isfinite(points[..., 0]).any(axis=2)
        file["track_names"] = np.array([name.encode() for name in subject_names(num_subjects)])
        file["node_names"] = np.array([name.encode() for name in names])
        file.create_dataset("edge_names", (0, 2), "S1")
        file.create_dataset("edge_inds", (0, 2), np.int64)
        file["video_path"], file["video_ind"], file["labels_path"] = tracks.header.source.name, 0, ""
        file["provenance"] = json.dumps({"streamparts": tracks.header.streamparts, "model": tracks.header.model.name})
        keep_times(file, tracks)
    path.write_bytes(memory.getvalue())
    return notes + survey.time_notes() + survey.size_notes()


def read(path: Path, hints: Hints) -> Iterator[HeaderRecord | Record]:
    """Read a file of one track, in SLEAP's order of axes."""
    h5py = need("h5py", WHAT)
    try:
        with h5py.File(path, "r") as file:
            shape = file["tracks"].shape
            if len(shape) != 4 or shape[2] > MAX_NODES or shape[3] > MAX_FRAMES:
                raise TracksError(f"{path}: tracks has shape {shape}, expected (1, 2, nodes, frames)")
            names = [name.decode() for name in file["node_names"]]
            if shape[1:3] != (2, len(names)):
                raise TracksError(f"{path}: tracks has shape {shape}, expected (1, 2, {len(names)}, frames)")
            if shape[0] != 1:
                raise TracksError(f"{path}: has {shape[0]} tracks, but tracks have one subject")
            yield from records(path, names, _rows(file), shape[3], hints, file)
    except TracksError:
        raise
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise TracksError(f"{path}: is not an analysis file of SLEAP ({error})") from error


def _rows(file: Any) -> Iterator[tuple[int, Points]]:
    """Frames that contain the track or have stored times."""
    positions, scores = file["tracks"], file["point_scores"]
    for first in range(0, positions.shape[3], LENGTH):
        place = slice(first, first + LENGTH)
        points = np.concatenate([positions[0, :, :, place] + PIXEL_CENTER, scores[:, :, place]]).transpose(2, 1, 0)
        yield from enumerate(points.astype(np.float64), first)
