"""Frame pairs from a folder of clips. Decord decodes each clip once into a small memory-mapped array; pairs, and
everything else in training, come from there: some hundred times quicker than decoding per pair."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import av  # noqa: F401  (before decord: whoever comes first binds the FFmpeg symbols of both)
import cv2
import decord
import numpy as np
from numpy.typing import NDArray

from streamparts.data import ByteArray
from streamparts.errors import VideoError
from streamparts.geometry import Letterbox
from streamparts.source import find_videos

MEDIAN_FRAMES = 49
"""Frames, spread over the clip, whose median is its still background."""


@dataclass(frozen=True)
class Clip:
    """One decoded clip, memory-mapped."""

    name: str
    frames: NDArray[np.uint8]
    """(F, S, S, 3) RGB, letterboxed to the model's size."""
    background: ByteArray
    """(S, S, 3) median over time: what stays while the subject moves."""


def cache_key(video: Path, image_size: int) -> str:
    """Names the decoded form of a file: another path, size, time or resolution gives another key."""
    stat = video.stat()
    text = f"{video.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{image_size}|1"
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def decode_clip(video: Path, image_size: int, target: Path, max_frames: int) -> None:
    """Decode `video` into `target` (.npy, (F, S, S, 3) uint8), written under another name until it is whole.

    Longer clips are thinned evenly to `max_frames`. Raises VideoError with decord's reason.
    """
    try:
        reader = decord.VideoReader(str(video), num_threads=2)
        total = len(reader)
        if total < 2:
            raise VideoError(f"{video.name}: {total} frame(s); a pair needs two")
        wanted = np.unique(np.linspace(0, total - 1, min(total, max_frames)).round().astype(int))
        partial = target.with_suffix(f".{os.getpid()}.tmp")
        frames = np.lib.format.open_memmap(
            partial, mode="w+", dtype=np.uint8, shape=(len(wanted), image_size, image_size, 3)
        )
        for row, index in enumerate(wanted.tolist()):
            frames[row] = letterboxed(without_row_padding(reader[index].asnumpy()), image_size)
        frames.flush()
        partial.replace(target)
    except (RuntimeError, decord.DECORDError) as error:
        reason = str(error).strip().splitlines()[0][:120]
        raise VideoError(f"{video.name}: cannot be decoded ({reason})") from error


def without_row_padding(image: ByteArray) -> ByteArray:
    """decord2 3.4 hands out some narrow pictures (96 wide, say) with the padding of their rows taken for a fourth
    channel, and its get_batch refuses them."""
    height, width, _ = image.shape
    return image.reshape(height, -1)[:, : 3 * width].reshape(height, width, 3)


def letterboxed(image: ByteArray, size: int) -> ByteArray:
    """(H, W, 3) -> (size, size, 3), as the runtime prepares its frames."""
    box = Letterbox.fit(image.shape[:2], (size, size))
    inner = cv2.resize(image, box.inner_hw[::-1], interpolation=cv2.INTER_AREA)
    return box.pad(np.asarray(inner, np.uint8))


def load_clip(video: Path, image_size: int, cache: Path, max_frames: int = 2000) -> Clip:
    """The clip from the cache, decoded into it first when it is not there yet."""
    cache.mkdir(parents=True, exist_ok=True)
    stored = cache / f"{cache_key(video, image_size)}.npy"
    if not stored.exists():
        decode_clip(video, image_size, stored, max_frames)
    frames = np.load(stored, mmap_mode="r")
    spread = np.linspace(0, len(frames) - 1, min(len(frames), MEDIAN_FRAMES)).round().astype(int)
    background = np.median(frames[spread], axis=0).astype(np.uint8)
    return Clip(video.name, frames, background)


@dataclass(frozen=True)
class ClipFolder:
    """All usable clips of a folder; what could not be read is in `failures`, one line each."""

    clips: tuple[Clip, ...]
    failures: tuple[str, ...]

    @classmethod
    def open(cls, folder: Path, image_size: int, cache: Path | None = None) -> ClipFolder:
        """Raises VideoError when no clip is usable."""
        clips, failures = [], []
        for video in find_videos(folder):
            try:
                clips.append(load_clip(video, image_size, cache or folder / ".streamparts-cache"))
            except VideoError as error:
                failures.append(str(error))
        if not clips:
            raise VideoError(f"no usable clip in {folder}: {'; '.join(failures[:3])}")
        return cls(tuple(clips), tuple(failures))

    @property
    def num_frames(self) -> int:
        return sum(len(clip.frames) for clip in self.clips)


@dataclass(frozen=True)
class PairBatch:
    """B pairs of frames, each pair from one clip."""

    source: ByteArray
    """(B, S, S, 3)"""
    target: ByteArray
    """(B, S, S, 3)"""
    background: ByteArray
    """(B, S, S, 3) the median background of each pair's clip."""


class PairSampler:
    """Draws frame pairs: a clip uniformly, then two of its frames uniformly, in either order of time.

    Batch number `step` depends only on (seed, step): a resumed run goes on with the very pairs it would have drawn.
    """

    def __init__(self, folder: ClipFolder, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        """Of the pairs that `world_size` processes draw together, this one gets the `rank`th `batch_size`."""
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.folder, self.batch_size, self.seed = folder, batch_size, seed
        self.rank, self.world_size = rank, world_size

    def batch(self, step: int) -> PairBatch:
        rng = np.random.default_rng((self.seed, step))
        drawn = rng.integers(len(self.folder.clips), size=self.batch_size * self.world_size)
        mine = slice(self.rank * self.batch_size, (self.rank + 1) * self.batch_size)
        all_clips = [self.folder.clips[i] for i in drawn]
        pairs = [rng.choice(len(clip.frames), size=2, replace=False) for clip in all_clips][mine]
        chosen = all_clips[mine]
        return PairBatch(
            np.stack([clip.frames[a] for clip, (a, _) in zip(chosen, pairs, strict=True)]),
            np.stack([clip.frames[b] for clip, (_, b) in zip(chosen, pairs, strict=True)]),
            np.stack([clip.background for clip in chosen]),
        )
