"""Several subjects in a video: each labelled one is compared with the followed one that overlaps it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from streamparts.data import Tracks
from train.judging.found import FoundParts
from train.judging.subjects import LOST, SubjectMatcher, middle_and_size
from train.labels import LabelledFrame


def by_subject(
    pairs: Iterable[tuple[LabelledFrame, tuple[Tracks, ...]]], num_subjects: int, matcher: SubjectMatcher
) -> Iterator[tuple[LabelledFrame, FoundParts]]:
    """One row for each labelled subject of each frame, with its share of the landmarks, and as clips the subjects.

    If several are followed, the row has the parts of the matched one, or no parts if none is matched; a model that sees
    whole frames is judged on each subject by all parts that it found.
    """
    last = -1
    for frame, followed in pairs:
        if frame.landmarks is None:
            continue
        groups = np.split(frame.landmarks, num_subjects)
        middles, sizes = zip(*(middle_and_size(points) for points in groups), strict=True)
        found = {tracks.subject: center for tracks in followed if (center := middle_of(tracks)) is not None}
        steps, last = frame.index - last, frame.index
        several = len(followed) > 1
        identities = matcher.update(np.stack(middles), found, np.array(sizes), steps) if several else None
        for number, points in enumerate(groups):
            chosen = followed[0] if identities is None else _of(followed, identities[number])
            yield replace(frame, landmarks=points, clip=number), _found(chosen, followed[0])


def middle_of(tracks: Tracks) -> NDArray[np.float64] | None:
    """(2,) mean of the visible parts, weighted by area, in pixels of the frame; None without any."""
    weights = np.where(tracks.visible, tracks.areas, 0).astype(np.float64)
    if not weights.sum() > 0:
        return None
    return np.asarray(weights @ tracks.centers / weights.sum(), np.float64)


def _of(followed: tuple[Tracks, ...], identity: int) -> Tracks | None:
    return None if identity == LOST else next(tracks for tracks in followed if tracks.subject == identity)


def _found(chosen: Tracks | None, other: Tracks) -> FoundParts:
    if chosen is not None:
        return FoundParts.of_tracks(chosen)
    hw = (other.frame.height, other.frame.width)
    middle = np.zeros_like(other.affines)
    middle[:, :, 2] = np.array(hw[::-1], np.float32) / 2
    return FoundParts(hw, np.zeros_like(other.labels), middle)
