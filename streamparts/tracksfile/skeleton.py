"""Finds the skeleton of a tracks file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from streamparts.errors import TracksError
from streamparts.tracking.skeleton import Skeleton
from streamparts.tracking.skeleton_finding import MAX_FRAMES, find_skeleton
from streamparts.tracksfile.reading import read_tracks


def skeleton_of_tracks(path: str | Path) -> Skeleton:
    """Return the skeleton of a tracks file; of a long file, every n-th frame is used. Raises TracksError if the file
    cannot be read, or contains no skeleton."""
    tracks = read_tracks(path)
    rows: list[tuple[list[object], list[float]]] = []
    every = 1
    for number, frame in enumerate(tracks.frames()):
        if number % every == 0:
            scores = [part.score if part.visible else 0.0 for part in frame.parts]
            rows.append(([part.affine for part in frame.parts], scores))
        if len(rows) == 2 * MAX_FRAMES:
            rows, every = rows[::2], 2 * every
    names, source = tuple(tracks.header.model.parts), tracks.header.source
    try:
        affines = np.array([affine for affine, _ in rows], np.float32).reshape(-1, len(names), 2, 3)
        weights = np.array([scores for _, scores in rows], np.float32).reshape(-1, len(names))
        return find_skeleton(affines, weights, names, min(source.height, source.width))
    except ValueError as error:
        raise TracksError(f"{path}: {error}") from error
