"""Builds crops that follow the subject from a folder of raw clips."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from streamparts.arrays import ByteArray
from streamparts.errors import VideoError

from ..frames.cache import cache_place
from ..frames.clips import Clip, ClipFolder
from ..frames.close_ups import FAR_REACH, NEAR_REACH, ChosenRows, CloseUp, Middle, widened
from ..frames.scenery import Scenery
from ..frames.spread import spread
from ..subject.crops import crop_frames
from ..subject.find import find_subjects
from ..subject.values import SubjectClip, SubjectSource

BACKGROUND = "background"
"""Value of --subject that skips the search: the subject is what differs from a still background, in whole frames."""
MIN_FRAMES = 2
"""Clips with the subject in fewer frames are left out."""


def source_of(word: str) -> SubjectSource:
    """Return --subject in the form that train.subject takes."""
    words: dict[str, SubjectSource] = {"auto": "auto", "motion": "motion", "saliency": "saliency"}
    return words.get(word, Path(word))


def say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)


def open_close_ups(
    folder: Path, subject: str, teacher_side: int, student_side: int, cache: Path | None = None
) -> tuple[ClipFolder, ClipFolder]:
    """Load the frames that show a subject, at both sizes; the student's with surroundings. Raises VideoError if no clip
    has a subject."""
    cache = cache_place(folder, cache, folder)
    found = find_subjects(folder, source_of(subject), cache, say=say)
    usable = usable_subjects(found, folder)
    per_shot = Counter(clip.name.partition("@")[0] for clip in found)
    small = [small_clip(clip, teacher_side, cache) for clip in usable]
    large = [large_clip(clip, student_side, cache, per_shot[clip.name.partition("@")[0]] == 1) for clip in usable]
    failures = tuple(f"{clip.name}: no frame shows the subject" for clip in found if clip not in usable)
    words = usable[0].source
    return ClipFolder(tuple(small), failures, words), ClipFolder(tuple(large), failures, words)


def usable_subjects(found: Sequence[SubjectClip], folder: Path) -> list[SubjectClip]:
    """Return the subjects that are in enough frames. Raises VideoError if there is none."""
    usable = [clip for clip in found if clip.found.sum() >= MIN_FRAMES]
    if not usable:
        raise VideoError(f"no subject was found in {folder}; check it with streamparts find-subject {folder}")
    return usable


def close_pictures(
    folder: Path, subject: str, side: int, per_video: int, cache: Path
) -> Iterator[tuple[str, ByteArray, ByteArray]]:
    """Return name, (S, S, 3) crop and (S, S) mask of frames of every clip, spread evenly over those that show the
    subject: the images for SCOPS if there are only videos."""
    for clip in find_subjects(folder, source_of(subject), cache, say=say):
        found = np.flatnonzero(clip.found)
        chosen = found[spread(len(found), per_video)]
        crops = crop_frames(clip.clip, clip.rows[chosen], clip.regions[chosen], side, cache)
        for index, crop in zip(chosen.tolist(), crops, strict=True):
            mask = np.asarray(cv2.resize(clip.masks[index], (side, side), interpolation=cv2.INTER_AREA), np.uint8)
            yield f"{clip.name}#{clip.rows[index]}", crop, mask


def small_clip(clip: SubjectClip, side: int, cache: Path) -> Clip:
    """Build the crops for the teacher."""
    rows = np.flatnonzero(clip.found)
    frames = ChosenRows(crop_frames(clip.clip, clip.rows, clip.regions, side, cache), rows)
    close_up = CloseUp(ChosenRows(clip.masks, rows), ChosenRows(clip.known, rows))
    return Clip(clip.name, frames, _nothing(side), clip.notes, close_up)


def large_clip(clip: SubjectClip, side: int, cache: Path, alone: bool) -> Clip:
    """Build the crops for the student, with surroundings."""
    rows = np.flatnonzero(clip.found)
    near_side = 2 * round(NEAR_REACH * side / 2)
    near, far = (
        ChosenRows(crop_frames(clip.clip, clip.rows, widened(clip.regions, reach), pixels, cache), rows)
        for reach, pixels in ((near_side / side, near_side), (FAR_REACH, side))
    )
    close_up = CloseUp(ChosenRows(clip.masks, rows), ChosenRows(clip.known, rows), near, far, alone)
    return Clip(clip.name, Middle(near, side), _nothing(side), clip.notes, close_up)


def _nothing(side: int) -> Scenery:
    return Scenery(np.zeros((side, side, 3), np.uint8), trusted=False)
