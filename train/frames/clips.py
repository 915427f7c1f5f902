"""Loads the clips of a folder. Each clip is decoded once into a small memory-mapped array that serves
all of training, about a hundred times faster than decoding per pair. If the disk is too small, `on_the_fly` seeks to
each frame instead."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray
from streamparts.errors import VideoError
from streamparts.files import whole
from streamparts.texts import readable

from .cache import cache_place, new_array
from .camera import Box
from .close_ups import CloseUp
from .readers import (
    READING_ERRORS,
    ClipReader,
    Frames,
    SeekingFrames,
    find_clips,
    left_out,
    letterboxed,
    open_reader,
    pictures_in,
    reason_of,
)
from .scenery import Scenery, find_scenery
from .spread import spread

MAX_FRAMES = 2000
"""Longer clips are subsampled evenly to this many frames."""


@dataclass(frozen=True)
class Clip:
    """One clip. When pickled, it stores the name of its mapped file instead of the data; a worker process maps it
    again."""

    name: str
    frames: Frames
    scenery: Scenery
    """Background of each frame."""
    notes: tuple[str, ...] = ()
    """Notes on anything unusual, a few words each."""
    close_up: CloseUp | None = None
    """Position of the subject, if the frames are crops that follow it."""

    def behind(self, index: int) -> tuple[ByteArray, NDArray[np.bool_]]:
        """Return the (S, S, 3) background of frame `index`, and (S, S) where it is known."""
        frame = self.frames[index]
        return self.close_up.behind(index, frame) if self.close_up else self.scenery.behind(index, frame)

    def __getstate__(self) -> dict[str, object]:
        mapped = isinstance(self.frames, np.memmap) and self.frames.filename is not None
        return {**self.__dict__, "frames": Path(str(self.frames.filename)) if mapped else self.frames}  # type: ignore[attr-defined]

    def __setstate__(self, state: dict[str, object]) -> None:
        frames = state["frames"]
        self.__dict__.update(state, frames=np.load(frames, mmap_mode="r") if isinstance(frames, Path) else frames)


def cache_key(clip: Path, image_size: int) -> str:
    """Key of a decoded clip; it changes with path, size, time and resolution."""
    files = pictures_in(clip) if clip.is_dir() else [clip]
    stats = "|".join(f"{stat.st_size}|{stat.st_mtime_ns}" for stat in (file.stat() for file in files))
    return hashlib.sha256(f"{clip.resolve()}|{stats}|{image_size}|1".encode(errors="surrogateescape")).hexdigest()[:20]


def write_whole(target: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file under a temporary name and rename it when complete. Raises VideoError on failure."""
    try:
        with whole(target) as partial, partial.open("wb") as file:
            write(file)
    except OSError as error:
        raise VideoError(f"{target}: cannot be written ({error.strerror})") from error


def open_clip(clip: Path) -> ClipReader:
    """Open a clip. Raises VideoError unless it has at least two frames."""
    try:
        reader = open_reader(clip)
        total = len(reader)
    except READING_ERRORS as error:
        raise VideoError(f"{readable(clip.name)}: cannot be decoded ({reason_of(error)})") from error
    if total < 2:
        raise VideoError(f"{readable(clip.name)}: {total} frame(s); a pair needs two")
    return reader


def decode_frames(clip: Path, reader: ClipReader, wanted: Sequence[int], out: NDArray[np.uint8]) -> None:
    """Decode the selected frames into `out` (F, S, S, 3). Raises VideoError with the reader's reason."""
    try:
        for row, index in enumerate(wanted):
            out[row] = letterboxed(reader[index], out.shape[1])
    except READING_ERRORS as error:
        raise VideoError(f"{readable(clip.name)}: cannot be decoded ({reason_of(error)})") from error


def decode_clip(clip: Path, image_size: int, target: Path, max_frames: int) -> None:
    """Decode `clip` into `target` (.npy, (F, S, S, 3) uint8), written under a temporary name until complete.

    Longer clips are subsampled evenly to `max_frames`. Raises VideoError with the reader's reason.
    """
    reader = open_clip(clip)
    wanted = spread(len(reader), max_frames)
    shape = (len(wanted), image_size, image_size, 3)
    with whole(target) as partial:
        frames = new_array(partial, shape, readable(clip.name))
        decode_frames(clip, reader, wanted, frames)
        assert isinstance(frames, np.memmap)
        frames.flush()


def save_scenery(path: Path, scenery: Scenery, notes: tuple[str, ...]) -> None:
    arrays: dict[str, NDArray[np.generic]] = {"picture": scenery.picture, "trusted": np.array(scenery.trusted)}
    if scenery.seen is not None and scenery.to_picture is not None:
        arrays |= {"seen": scenery.seen, "to_picture": scenery.to_picture}
    arrays |= {"box": np.array(scenery.box), "notes": np.array(notes, str)}
    write_whole(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))


def read_scenery(path: Path) -> tuple[Scenery, tuple[str, ...]]:
    with np.load(path, allow_pickle=False) as stored:
        scenery = Scenery(stored["picture"], bool(stored["trusted"]), box=Box(*stored["box"].tolist()))
        if "to_picture" in stored:
            scenery = replace(scenery, seen=stored["seen"], to_picture=stored["to_picture"])
        return scenery, tuple(stored["notes"].tolist())


def notes_of(reader: ClipReader, scenery: Scenery, num_frames: int) -> tuple[str, ...]:
    notes = [*reader.notes]
    if num_frames < len(reader):
        notes.append(f"uses {num_frames} of its {len(reader)} frames")
    if scenery.to_picture is not None:
        placed = num_frames - int(np.isnan(scenery.to_picture).any((1, 2)).sum())
        notes.append(f"the camera moves; the background is known for {placed} of {num_frames} frames")
    elif not scenery.trusted:
        notes.append("the whole image moves and could not be tracked; the background is unknown")
    return tuple(notes)


def load_clip(
    clip: Path,
    image_size: int,
    cache: Path,
    max_frames: int = MAX_FRAMES,
    *,
    on_the_fly: bool = False,
    follow_camera: bool = True,
) -> Clip:
    """Load the clip from the cache, after decoding it if necessary.

    `on_the_fly` stores no frames: the clip is decoded once to find its background, and then read by seeking. Without
    `follow_camera`, the background of a moving camera stays unknown.
    """
    cache.mkdir(parents=True, exist_ok=True)
    key = cache_key(clip, image_size)
    stored, about = cache / f"{key}.npy", cache / f"{key}.{'scenery1' if follow_camera else 'still1'}.npz"
    frames: Frames
    if on_the_fly:
        frames = SeekingFrames(clip, image_size, spread(len(open_clip(clip)), max_frames))
    else:
        if not stored.exists():
            decode_clip(clip, image_size, stored, max_frames)
        frames = np.load(stored, mmap_mode="r")
    if not about.exists():
        reader, whole = open_clip(clip), frames
        if isinstance(frames, SeekingFrames):
            whole = np.empty((len(frames), image_size, image_size, 3), np.uint8)
            decode_frames(clip, reader, frames.wanted, whole)
        scenery = find_scenery(np.asarray(whole), follow=follow_camera)
        save_scenery(about, scenery, notes_of(reader, scenery, len(frames)))
    return Clip(readable(clip.name), frames, *read_scenery(about))


@dataclass(frozen=True)
class ClipFolder:
    """All usable clips of a folder; `failures` has one line per unreadable file, and per kind of files left out."""

    clips: tuple[Clip, ...]
    failures: tuple[str, ...]
    subject: str = ""
    """Method that found the subject of the crops, in words."""

    @classmethod
    def open(
        cls,
        folder: Path,
        image_size: int,
        cache: Path | None = None,
        *,
        on_the_fly: bool = False,
        follow_camera: bool = True,
    ) -> ClipFolder:
        """Open videos and folders of images below `folder`. Raises VideoError if no clip is usable."""
        clips, failures = [], []
        place = cache_place(folder, cache, folder)
        for path in find_clips(folder):
            try:
                clip = load_clip(path, image_size, place, on_the_fly=on_the_fly, follow_camera=follow_camera)
            except VideoError as error:
                failures.append(str(error))
            else:
                clips.append(
                    replace(clip, name=readable(str(path.relative_to(folder) if path != folder else path.name)))
                )
        if not clips:
            raise VideoError(f"no usable clip in {folder}: {'; '.join(failures[:3])}")
        return cls(tuple(clips), (*failures, *left_out(folder)))

    @property
    def num_frames(self) -> int:
        return sum(len(clip.frames) for clip in self.clips)

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on the clips in use, one line each."""
        return tuple(f"{clip.name}: {note}" for clip in self.clips for note in clip.notes)
