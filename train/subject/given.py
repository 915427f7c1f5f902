"""Subjects of another tool's masks: they are cut out and followed; nothing is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from streamparts.arrays import ByteArray
from streamparts.texts import readable

from ..frames.clips import open_clip
from .boxes import Followed, follow
from .cutting import cut
from .footage import ClipShot, open_footage
from .masking import of_others, trusted
from .masks_folder import FrameMasks, MasksOfAnotherTool
from .values import MASK_SIDE, BoolArray, SubjectClip, square_around


def given_subjects(clips: Path, folder: Path, cache: Path, say: Callable[[str], None]) -> Iterator[SubjectClip]:
    """Yield the subjects of all clips. Raises VideoError if masks are missing or do not fit their clip."""
    tool = MasksOfAnotherTool(folder)
    say(f"subject: masks of {folder.name}")
    for shot in open_footage(clips, cache, say):
        masks = tool.open(shot.name.partition("#")[0], len(open_clip(shot.clip)))
        found = follow_given(shot, masks)
        there = float(np.mean([int(row) in masks for row in shot.rows]))
        lacking = "" if there == 1 else f"; masks of {there:.0%} of the frames"
        say(f"{readable(shot.name)}: {'found' if len(found) == 1 else f'{len(found)} subjects'}{lacking}")
        for number in range(len(found)):
            yield cut_given(shot, masks, found, number, f"masks of {folder.name}")


def follow_given(shot: ClipShot, masks: FrameMasks) -> list[Followed]:
    """Return the subjects of a shot, with boxes in displayed pixels."""
    scale = max(shot.hw) / MASK_SIDE
    region = (0.0, 0.0, float(max(shot.hw)), float(max(shot.hw)))
    small = np.stack([cut(frame_mask(shot, masks, int(row)), region, MASK_SIDE) for row in shot.rows])
    return [Followed(each.boxes * scale, each.found) for each in follow(small, shot.rows.astype(float))]


def frame_mask(shot: ClipShot, masks: FrameMasks, frame: int) -> ByteArray:
    """Return (H, W) of the displayed frame from a mask of any size; empty if the frame has no mask."""
    if frame not in masks:
        return np.zeros(shot.hw, np.uint8)
    mask = masks[frame]
    same = mask.shape == shot.hw
    return mask if same else np.asarray(cv2.resize(mask, shot.hw[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def cut_given(shot: ClipShot, masks: FrameMasks, found: list[Followed], number: int, source: str) -> SubjectClip:
    """Return one subject with the given masks, at the resolution of its crop."""
    subject = found[number]
    regions = square_around(subject.boxes)
    rows = shot.rows.tolist()
    cuts = [
        cut(frame_mask(shot, masks, row), region, MASK_SIDE) for row, region in zip(rows, regions.tolist(), strict=True)
    ]
    out, others = np.stack(cuts), of_others(found, number, regions)
    out[others] = 0
    known: BoolArray = trusted(out) & ~others & np.array([row in masks for row in rows])[:, None, None]
    name = shot.name + (f"@{number + 1}" if len(found) > 1 else "")
    return SubjectClip(
        shot.clip, name, shot.rows, regions, out, known, subject.boxes, subject.found, shot.notes, source
    )
