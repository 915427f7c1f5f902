"""Draws a contact sheet of the found subjects."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray
from streamparts.bundle.colours import part_color

from ..frames.clips import open_clip
from ..frames.spread import spread
from .cutting import paste
from .values import SubjectClip

HEIGHT = 128
"""Height of a row of frames in pixels."""
COLUMNS = 8


def contact_sheet(subjects: Sequence[SubjectClip], columns: int = COLUMNS) -> ByteArray:
    """Draw one row per clip or shot: frames spread over it, with each subject's mask and box in its colour."""
    shots: dict[str, list[SubjectClip]] = {}
    for subject in subjects:
        shots.setdefault(subject.name.partition("@")[0], []).append(subject)
    rows = [shot_row(name, each, columns) for name, each in shots.items()]
    width = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0))) for row in rows])


def shot_row(name: str, subjects: Sequence[SubjectClip], columns: int) -> ByteArray:
    """Return a row (HEIGHT, W, 3)."""
    reader = open_clip(subjects[0].clip)
    tiles = [tile(reader[int(subjects[0].rows[i])], subjects, i) for i in spread(len(subjects[0].rows), columns)]
    row = np.concatenate(tiles, axis=1)
    write(row, name)
    return row


def tile(image: ByteArray, subjects: Sequence[SubjectClip], index: int) -> NDArray[np.uint8]:
    """Draw a frame, dimmed except for its subjects."""
    scale = HEIGHT / image.shape[0]
    size = (max(8, round(image.shape[1] * scale)), HEIGHT)
    out = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.float32)
    shown = [paint(out, subject, index, scale, part_color(k)) for k, subject in enumerate(subjects)]
    out *= np.maximum(0.45, np.max(shown, axis=0))[..., None]
    done = np.asarray(np.clip(out, 0, 255), np.uint8)
    for k, subject in enumerate(subjects):
        if subject.found[index]:
            left, top, width, height = (round(float(v) * scale) for v in subject.boxes[index])
            cv2.rectangle(done, (left, top), (left + width, top + height), part_color(k), 1)
    return done


def paint(
    out: NDArray[np.float32], subject: SubjectClip, index: int, scale: float, colour: tuple[int, int, int]
) -> NDArray[np.float32]:
    """Tint the subject in place; return its (h, w) probability."""
    if not subject.found[index]:
        return np.zeros(out.shape[:2], np.float32)
    mask = paste(
        subject.masks[index].astype(np.float32) / 255, (subject.regions[index] * scale).tolist(), out.shape[:2]
    )
    out += 0.35 * mask[..., None] * (np.array(colour, np.float32) - out)
    return mask


def write(row: NDArray[np.uint8], words: str) -> None:
    """Write the clip's name in the row's lower left corner."""
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(row, words, (4, HEIGHT - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, thickness, cv2.LINE_AA)
