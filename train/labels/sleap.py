"""SLEAP: labels (.slp) and analysis files (.h5), both HDF5, of one video. Needs the extra `sleap` (h5py).

Pixel centres are whole numbers in both, except in .slp files older than format 1.1. Every track that is present in at
least half of the frames gives its own landmarks. Without such tracks, each frame's best instance is used: an annotated
one or, if there is none, the one with the highest score.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import FloatArray
from streamparts.errors import MissingExtraError
from streamparts.sources import VIDEO_SUFFIXES

from ..frames.spread import spread
from .pictures import video_frames
from .values import TRUE, EvaluationSet, LabelledFrame, LabelsError, Truth, pseudo, set_name

PIXEL_CENTER = 0.5
"""Offset from whole numbers at pixel centres to continuous pixels."""
PREDICTED = 1
"""`instance_type` of predictions; 0 is an annotation."""
PREDICTIONS = pseudo("SLEAP's")


@dataclass(frozen=True)
class SleapLabels:
    """The labelled frames of one video."""

    names: tuple[str, ...]
    """(L,) nodes, prefixed with the track's name if there are several tracks."""
    frames: tuple[int, ...]
    """(F,) numbers of the labelled frames, increasing."""
    points: FloatArray
    """(F, L, 2) continuous pixels, nan where missing."""
    truth: Truth
    video_name: str
    """The video named in the labels; may be empty."""
    num_tracks: int = 1
    """Number of tracks, each with its nodes in `names`, one track after another."""


def open_sleap(labels: Path, video: Path | None, max_frames: int) -> EvaluationSet:
    """If `video` is None, use the one named in the labels, beside them."""
    table = read_sleap(labels)
    video = video or _video_beside(labels, table.video_name)
    chosen = spread(len(table.frames), max_frames)
    row_of = {table.frames[row]: row for row in chosen}

    def read() -> Iterator[LabelledFrame]:
        for index, image in video_frames(video, list(row_of)):
            yield LabelledFrame(image, 0, landmarks=table.points[row_of[index]], index=index)

    return EvaluationSet(
        set_name("sleap", labels),
        table.truth,
        len(chosen),
        read,
        landmark_names=table.names,
        sources=(video,),
        subjects=table.num_tracks,
    )


def _video_beside(labels: Path, name: str) -> Path:
    named = labels.parent / Path(name.replace("\\", "/")).name
    if name and named.suffix.lower() in VIDEO_SUFFIXES and named.exists():
        return named
    raise LabelsError(
        f"{labels}: its video ({name or 'not named'}) is missing beside it; give it as {labels.name},VIDEO"
    )


def read_sleap(path: Path) -> SleapLabels:
    """Read either form. Raises LabelsError for anything else, MissingExtraError without h5py."""
    h5py = _import_h5py()
    try:
        with h5py.File(path, "r") as file:
            return _read_slp(file) if "instances" in file else _read_analysis(file)
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise LabelsError(f"{path}: cannot be read as SLEAP's .slp or analysis .h5 ({error})") from error


def _import_h5py() -> ModuleType:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("reading SLEAP files needs h5py; install it with: pip install -e '.[sleap]'") from error
    return h5py  # type: ignore[no-any-return]


def _read_analysis(file: Any) -> SleapLabels:
    tracks = np.asarray(file["tracks"], np.float32).transpose(3, 0, 2, 1) + np.float32(PIXEL_CENTER)
    nodes = [name.decode() for name in file["node_names"]]
    track_names = [name.decode() for name in file["track_names"]] or ["track"]
    kept = _common(np.isfinite(tracks).any((2, 3)))
    if not kept:
        raise ValueError("no track covers half of the frames")
    points = tracks[:, kept].reshape(len(tracks), -1, 2)
    rows = np.flatnonzero(np.isfinite(points).any((1, 2)))
    name = file["video_path"][()].decode() if "video_path" in file else ""
    names = _names(nodes, [track_names[track] for track in kept])
    return SleapLabels(names, tuple(rows.tolist()), points[rows], PREDICTIONS, name, len(kept))


def _common(there: NDArray[np.bool_]) -> list[int]:
    """Return the columns of (F, tracks) that are true in at least half of the rows in which any is."""
    frames = int(there.any(1).sum())
    return [track for track in range(there.shape[1]) if frames and 2 * there[:, track].sum() >= frames]


def _names(nodes: list[str], tracks: list[str]) -> tuple[str, ...]:
    if len(tracks) == 1:
        return tuple(nodes)
    return tuple(f"{track}.{node}" for track in tracks for node in nodes)


def _read_slp(file: Any) -> SleapLabels:
    metadata = json.loads(file["metadata"].attrs["json"])
    frames, instances = file["frames"][:], file["instances"][:]
    if len(np.unique(frames["video"])) != 1:
        raise ValueError(f"has labels of {len(np.unique(frames['video']))} videos, but only one is supported")
    shift = PIXEL_CENTER if float(file["metadata"].attrs["format_id"]) >= 1.1 else 0.0
    stored = [_points(file[name][:], shift) for name in ("points", "pred_points")]
    nodes = [metadata["nodes"][node["id"]]["name"] for node in metadata["skeletons"][0]["nodes"]]
    frames = np.sort(frames, order="frame_idx")
    rows = [instances[frame["instance_id_start"] : frame["instance_id_end"]] for frame in frames]
    num_tracks = int(instances["track"].max(initial=-1)) + 1
    there = np.array([np.isin(np.arange(num_tracks), row["track"]) for row in rows]).reshape(len(rows), -1)
    kept = _common(there)
    chosen = [[_best(row[row["track"] == track]) for track in kept] if kept else [_best(row)] for row in rows]
    points = np.array([[_points_of(item, stored, len(nodes)) for item in row] for row in chosen])
    predicted = any(item is not None and item["instance_type"] == PREDICTED for row in chosen for item in row)
    tracks = [json.loads(name)[-1] for name in file["tracks_json"]] if kept else []
    video = json.loads(file["videos_json"][0])
    return SleapLabels(
        _names(nodes, [tracks[track] for track in kept] or ["best"]),
        tuple(int(frame["frame_idx"]) for frame in frames),
        points.reshape(len(rows), -1, 2).astype(np.float32),
        PREDICTIONS if predicted else TRUE,
        str(video.get("backend", video).get("filename", "")),
        max(len(kept), 1),
    )


def _points(stored: Any, shift: float) -> NDArray[np.float64]:
    """(P, 2) continuous pixels, nan where not visible."""
    points = np.stack([stored["x"], stored["y"]], axis=1) + shift
    points[~stored["visible"]] = np.nan
    return points


def _best(instances: Any) -> Any:
    """Return an annotated instance if there is one, else that with the highest score; None without any."""
    if not len(instances):
        return None
    return min(instances, key=lambda item: (item["instance_type"], -np.nan_to_num(item["score"])))


def _points_of(instance: Any, stored: list[NDArray[np.float64]], num_nodes: int) -> NDArray[np.float64]:
    if instance is None:
        return np.full((num_nodes, 2), np.nan)
    first, end = int(instance["point_id_start"]), int(instance["point_id_end"])
    points = stored[int(instance["instance_type"])][first:end]
    if len(points) != num_nodes:
        raise ValueError(f"an instance has {len(points)} points, but the skeleton {num_nodes} nodes")
    return points
