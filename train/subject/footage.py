"""Prepares clips for the search: small frames, split at cuts, without black bars."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray
from streamparts.errors import VideoError
from streamparts.geometry import Letterbox

from ..frames.camera import Box, grey
from ..frames.clips import cache_key, decode_clip, open_clip
from ..frames.readers import READING_ERRORS, find_clips, left_out, reason_of
from ..frames.spread import spread
from .values import BoolArray, IntArray

SMALL_SIDE = 160
"""Longer side of the frames in which the subject is searched."""
KEY_SIDE = 512
"""Maximum longer side of the key frames on which the mask network is trained."""
MOST_FRAMES = 2000
"""Maximum number of frames of one clip; longer clips are subsampled evenly."""
MOST_IN_ALL = 6000
"""Maximum number of frames of all clips together, but at least 150 per clip."""
SHORTEST = 5
"""Minimum number of frames between two cuts; shorter shots are ignored."""
ALIKE = 0.5
"""Correlation of two frames' grey values, at 16 pixels wide, below which there may be a cut between them."""
STEADY = 0.25
"""Minimum amount by which the correlation at a cut is lower than around it."""
BLACK = 16
"""Maximum grey level of a black bar."""
STILL_TEXT = 3.0
"""Maximum change of burnt-in text in grey levels; the image as a whole must change by four times that."""
MOST_TEXT = 0.06
"""Maximum share of the image that is text; a larger still area is background behind a large subject."""
STEEP = 40.0
"""Minimum Sobel gradient of an edge, in grey levels."""


@dataclass(frozen=True)
class ClipShot:
    """A clip, or the part of a clip between two cuts."""

    clip: Path
    name: str
    rows: IntArray
    """(F,) numbers of the frames in the file."""
    frames: ByteArray
    """(F, S, S, 3) letterboxed frames."""
    hw: tuple[int, int]
    """Height and width of the displayed frames."""
    box: Box
    """The image within the small frames, without letterbox and black bars."""
    text: BoolArray
    """(h, w) of the box; True for burnt-in text and logos."""
    notes: tuple[str, ...] = ()

    @property
    def letterbox(self) -> Letterbox:
        return Letterbox.fit(self.hw, (SMALL_SIDE, SMALL_SIDE))

    def picture(self, row: int) -> ByteArray:
        """Return the (h, w, 3) small frame within the box."""
        return self.box.crop(self.frames[row])

    def to_frame(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (N, 4) left, top, width, height from the small frames, letterbox included, to the displayed frame."""
        corners = np.stack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
        corners = np.asarray(self.letterbox.model_to_frame(corners), np.float32)
        return np.concatenate([corners[:, 0], corners[:, 1] - corners[:, 0]], 1)


def open_shots(clip: Path, name: str, cache: Path, most: int) -> list[ClipShot]:
    """Split a clip at its cuts. Raises VideoError if it cannot be read or is too short."""
    reader = open_clip(clip)
    rows = np.array(spread(len(reader), most))
    stored = cache / f"{cache_key(clip, SMALL_SIDE)}.{most}.small.npy"
    if not stored.exists():
        cache.mkdir(parents=True, exist_ok=True)
        decode_clip(clip, SMALL_SIDE, stored, most)
    frames = np.load(stored, mmap_mode="r")
    try:
        hw = reader[0].shape[:2]
    except READING_ERRORS as error:
        raise VideoError(f"{name}: cannot be decoded ({reason_of(error)})") from error
    whole = Letterbox.fit(hw, (SMALL_SIDE, SMALL_SIDE))
    cuts = [0, *find_cuts(frames[:, whole.inner_slices[0], whole.inner_slices[1]]), len(frames)]
    notes = (*reader.notes,)
    if len(rows) < len(reader):
        notes += (f"{len(rows)} of its {len(reader)} frames are used",)
    shots: list[ClipShot] = []
    for start, end in pairwise(cuts):
        if end - start < min(SHORTEST, len(frames)):
            continue
        number = f"#{len(shots) + 1}" if len(cuts) > 2 else ""
        said = (*notes, f"cut into {len(cuts) - 1} shots") if len(cuts) > 2 else notes
        part = frames[start:end]
        box = picture_box(part, whole)
        shots.append(ClipShot(clip, name + number, rows[start:end], part, hw, box, find_text(part, box), said))
    return shots


def open_footage(folder: Path, cache: Path, say: Callable[[str], None]) -> list[ClipShot]:
    """Open the shots of all clips of a folder; `say` gets a line for each unreadable clip. Raises VideoError if no clip
    is usable."""
    clips = find_clips(folder)
    most = max(150, min(MOST_FRAMES, MOST_IN_ALL // len(clips)))
    shots, failures = [], []
    for clip in clips:
        name = str(clip.relative_to(folder)) if clip != folder else clip.name
        try:
            shots += open_shots(clip, name, cache, most)
        except VideoError as error:
            failures.append(str(error))
    for failure in (*failures, *left_out(folder)):
        say(f"skipped: {failure}")
    if not shots:
        raise VideoError(f"no usable clip in {folder}: {'; '.join(failures[:3]) or 'every one is too short'}")
    return shots


def find_cuts(frames: ByteArray) -> list[int]:
    """Return the frames of (F, h, w, 3) that begin a new scene. Patterns are compared, so brightness may change."""
    tiny = np.stack([cv2.resize(grey(frame), (16, 16), interpolation=cv2.INTER_AREA) for frame in frames])
    flat = tiny.reshape(len(tiny), -1).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True) + 1e-3
    alike = (flat[1:] * flat[:-1]).sum(1)
    cuts = []
    for i in np.flatnonzero(alike < ALIKE).tolist():
        around = np.concatenate([alike[max(0, i - 5) : i], alike[i + 1 : i + 6]])
        back = 1 < i + 2 < len(flat) and i > 0 and float(flat[i - 1] @ flat[min(i + 2, len(flat) - 1)]) > 0.8
        if len(around) and np.median(around) > alike[i] + STEADY and not back:
            cuts.append(i + 1)
    return cuts


def picture_box(frames: ByteArray, letterbox: Letterbox) -> Box:
    """Return the position of the image in letterboxed frames, without black bars, even if these carry still text."""
    rows, columns = letterbox.inner_slices
    inner = Box(rows.start, rows.stop, columns.start, columns.stop)
    sample = np.stack([inner.crop(f) for f in frames[spread(len(frames), 25)]]).max(3)
    alive = (sample.max(0) > BLACK) & (sample.max(0) - sample.min(0) > BLACK)
    lit = sample.max(0) > BLACK
    kept_rows = alive.any(1) | (lit.mean(1) > 0.3)
    kept_columns = alive.any(0) | (lit.mean(0) > 0.3)
    if kept_rows.sum() < 16 or kept_columns.sum() < 16:
        return inner
    y, x = np.flatnonzero(kept_rows), np.flatnonzero(kept_columns)
    return Box(inner.top + int(y[0]), inner.top + int(y[-1]) + 1, inner.left + int(x[0]), inner.left + int(x[-1]) + 1)


def find_text(frames: ByteArray, box: Box) -> BoolArray:
    """Return (h, w) True for burnt-in text and logos: edges that stay in place although nearly all others move."""
    sample = np.stack([box.crop(f) for f in frames[spread(len(frames), 25)]]).astype(np.float32)
    change, mean = sample.std(0).max(2), sample.mean((0, 3))
    none = np.zeros(change.shape, bool)
    if len(sample) < SHORTEST or np.median(change) < 4 * STILL_TEXT:
        return none
    steep = np.hypot(cv2.Sobel(mean, cv2.CV_32F, 1, 0), cv2.Sobel(mean, cv2.CV_32F, 0, 1)) > STEEP
    single = [cv2.Sobel(picture.mean(2), cv2.CV_32F, 1, 0) for picture in sample[::8]]
    edges = np.mean([np.abs(gradient) > STEEP for gradient in single])
    text = steep & (change < 2 * STILL_TEXT)
    if text.mean() > 0.5 * edges:
        return none
    joined = cv2.morphologyEx(text.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    solid = cv2.morphologyEx(joined, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    found = np.asarray(cv2.dilate(solid, np.ones((3, 3), np.uint8)) > 0)
    return found if found.mean() < MOST_TEXT else none


def key_rows(shot: ClipShot, most: int) -> list[int]:
    """Return the rows of a few frames of the shot, in the middles of equal spans of time."""
    count = min(most, len(shot.rows))
    return [int((k + 0.5) * len(shot.rows) / count) for k in range(count)]


def read_key(shot: ClipShot, rows: list[int]) -> list[ByteArray]:
    """Read frames at full detail, or KEY_SIDE wide."""
    reader = open_clip(shot.clip)
    scale = min(1.0, KEY_SIDE / max(shot.hw))
    size = (max(1, round(shot.hw[1] * scale)), max(1, round(shot.hw[0] * scale)))
    images = [reader[int(shot.rows[row])] for row in rows]
    return [np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8) for image in images]
