"""Follows the subjects of raw clips with a model itself; its crops of them are used for adaptation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from streamparts.arrays import FloatArray
from streamparts.data import Tracks
from streamparts.errors import VideoError
from streamparts.runtime.tracker import Tracker
from streamparts.texts import readable

from ..frames.clips import Clip, ClipFolder, open_clip
from ..frames.readers import READING_ERRORS, find_clips, reason_of
from ..frames.spread import spread
from ..inputs.close_folder import large_clip
from ..subject.boxes import components, smoothed
from ..subject.masking import CONFIDENT
from ..subject.values import MASK_SIDE, SubjectClip, square_around
from .own_answers import OwnAnswers

MOST_FRAMES = 600
"""Maximum frames of all clips together; longer clips are subsampled evenly, to at least 30 frames each."""
PRESENT = 0.5
"""Minimum subject score of a frame used for training."""
OFTEN = 0.3
"""Minimum share of a clip's frames with that score."""
FRAME_RATE = 25.0
"""Frame rate assumed for all clips; it only sets the follower's memory."""
LEAST_BOX = 0.02
"""Minimum size of a box, as a share of the frame's longer side; smaller ones are not subjects."""


def own_subjects(model: Path, folder: Path, say: Callable[[str], None]) -> list[SubjectClip]:
    """Return the subject that the model follows in each clip below a folder, without masks yet. Raises VideoError if
    there is none."""
    clips, found = find_clips(folder), list[SubjectClip]()
    most = max(30, MOST_FRAMES // len(clips))
    for clip in clips:
        name = str(clip.relative_to(folder)) if clip != folder else clip.name
        try:
            subject = followed(model, clip, name, most)
        except VideoError as error:
            say(f"skipped: {readable(str(error))}")
            continue
        say(f"{readable(name)}: {'found' if subject else 'the model finds no subject'}")
        found += [subject] if subject else []
    if not found:
        raise VideoError(f"the model finds its subject in no clip of {folder}")
    return found


def followed(model: Path, clip: Path, name: str, most: int) -> SubjectClip | None:
    """Follow the subject of one clip; None if it is visible too rarely. Raises VideoError."""
    reader = open_clip(clip)
    rows = np.array(spread(len(reader), most))
    tracker, boxes = Tracker(model), np.empty((len(rows), 4), np.float32)
    try:
        for i, row in enumerate(rows.tolist()):
            boxes[i] = box_of(tracker.update(reader[row], row / FRAME_RATE))
    except READING_ERRORS as error:
        raise VideoError(f"{name}: cannot be decoded ({reason_of(error)})") from error
    if np.isfinite(boxes[:, 0]).mean() < OFTEN:
        return None
    path, empty = smoothed(boxes, rows.astype(float)), np.zeros((len(rows), MASK_SIDE, MASK_SIDE), np.uint8)
    regions = square_around(path.boxes)
    return SubjectClip(clip, name, rows, regions, empty, empty > 0, path.boxes, path.found, (), "the model itself")


def box_of(tracks: Tracks) -> FloatArray:
    """(4,) left, top, width, height of the subject in displayed pixels; NaN if it is absent."""
    nowhere = np.full(4, np.nan, np.float32)
    score = 1.0 if tracks.subject_score is None else tracks.subject_score
    pieces = components(np.where(tracks.labels > 0, 255, 0).astype(np.uint8))
    if score < PRESENT or not pieces:
        return nowhere
    left, top, width, height = pieces[0][:4]
    corners = np.array([[left, top], [left + width, top + height]], np.float32)
    first, last = np.asarray(tracks.letterbox.model_to_frame(corners), np.float32)
    small = max(last - first) < LEAST_BOX * max(tracks.frame.width, tracks.frame.height)
    return nowhere if small else np.concatenate([first, last - first])


def close_ups_of(subjects: list[SubjectClip], side: int, cache: Path) -> ClipFolder:
    """Crops of the subjects, with their surroundings."""
    clips = tuple(large_clip(each, side, cache, alone=True) for each in subjects)
    return ClipFolder(clips, (), subjects[0].source)


def with_masks(folder: ClipFolder, answers: OwnAnswers) -> ClipFolder:
    """Return the folder with the subject's masks from the predictions; they are known where these are confident."""
    subject = 1 - answers.masks[:, 0].float()
    low, high = CONFIDENT
    known = (subject < low) | (subject > high)
    masks, sure, start = (subject * 255).round().byte().cpu().numpy(), known.cpu().numpy(), 0
    clips: list[Clip] = []
    for clip in folder.clips:
        assert clip.close_up is not None
        mine = slice(start, start + len(clip.frames))
        clips.append(replace(clip, close_up=replace(clip.close_up, masks=masks[mine], known=sure[mine])))
        start = mine.stop
    return replace(folder, clips=tuple(clips))
