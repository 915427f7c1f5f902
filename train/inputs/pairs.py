"""Draws frames and pairs of frames from the clips of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from streamparts.arrays import ByteArray

from ..frames.clips import Clip, ClipFolder
from ..frames.close_ups import stacked_maps

Pictures = ByteArray | Tensor
"""uint8, in the host's memory or on a device; see resident.ResidentFrames."""
Known = NDArray[np.bool_] | Tensor


@dataclass(frozen=True)
class PairBatch:
    """B pairs of frames, each pair from one clip."""

    source: Pictures
    """(B, S, S, 3)"""
    target: Pictures
    """(B, S, S, 3)"""
    source_background: Pictures
    """(B, S, S, 3) background of each source."""
    target_background: Pictures
    """(B, S, S, 3) background of each target; the same array if no camera in the batch moves."""
    source_known: Known
    """(B, S, S) True where the source's background is known."""
    target_known: Known
    """(B, S, S)"""
    known_wholly: bool
    """True if each pair's background is either fully known or fully unknown."""
    source_maps: Pictures | None = None
    """(B, S, S, 3) the subject's mask and where it is known, see CloseUp.maps; None if the subject is defined by its
    difference from the background."""
    target_maps: Pictures | None = None
    """The same for the target."""
    source_index: NDArray[np.int64] | None = None
    """(B,) indices of the sources in the folder, counted over all clips."""
    target_index: NDArray[np.int64] | None = None
    before: Pictures | None = None
    """(B, S, S, 3) frames before and after each target, at equal distance, if the sampler draws triplets; at the ends
    of a clip, the target itself."""
    after: Pictures | None = None


@dataclass(frozen=True)
class Views:
    """B crops and their surroundings."""

    near: ByteArray
    """(B, C, C, 3), close_ups.NEAR_REACH times as wide as the crops."""
    far: ByteArray
    """(B, S, S, 3), close_ups.FAR_REACH times as wide."""
    maps: ByteArray
    """(B, S, S, 3) maps of the crops, see CloseUp.maps."""
    alone: NDArray[np.bool_]
    """(B,) True if the area outside the crop contains no subject."""


@dataclass(frozen=True)
class FrameBatch:
    """B single frames."""

    frames: ByteArray
    """(B, S, S, 3)"""
    background: ByteArray
    """(B, S, S, 3) background of each frame."""
    known: NDArray[np.bool_]
    """(B, S, S) True where it is known."""
    index: NDArray[np.int64]
    """(B,) indices of the frames in the folder, counted over all clips."""
    views: Views | None = None
    """The subject's surroundings, if the clips are crops."""


class Resident(Protocol):
    """Frames in a device's memory, see resident.ResidentFrames."""

    def batch(
        self,
        sources: NDArray[np.int64],
        targets: NDArray[np.int64],
        around: tuple[NDArray[np.int64], NDArray[np.int64]] | None,
    ) -> PairBatch:
        """The pairs of frames with these (B,) indices over all clips, and those around the targets."""


class PairSampler:
    """Draws frame pairs: a clip uniformly, then two of its frames uniformly, in either temporal order.

    Batch number `step` depends only on (seed, step), so a resumed run draws the same pairs. The sampler pickles to a
    small size for worker processes with any start method. `sampler[step]` suits torch's DataLoader, with
    `batch_size=None` and the steps as its sampler.
    """

    def __init__(
        self,
        folder: ClipFolder,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        neighbours: int = 0,
        resident: Resident | None = None,
    ) -> None:
        """Of the pairs that `world_size` processes draw together, this process gets batch number `rank`, of
        `batch_size` pairs.

        With `neighbours` above 0, each target comes with the frames before and after it, 1 to `neighbours` away. With
        `resident`, the same frames come from there.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.folder, self.batch_size, self.seed, self.neighbours = folder, batch_size, seed, neighbours
        self._resident = resident
        self.world_size, self._mine = world_size, slice(rank * batch_size, (rank + 1) * batch_size)
        self._starts = np.cumsum([0, *(len(clip.frames) for clip in folder.clips)])

    def __getitem__(self, step: int) -> PairBatch:
        return self.batch(step)

    def frames(self, step: int) -> FrameBatch:
        """Return only the first frames of the pairs that `batch` draws."""
        clips, pairs = self._draw(np.random.default_rng((self.seed, step)))
        chosen, indices = [self.folder.clips[i] for i in clips], pairs[:, 0].tolist()
        return FrameBatch(
            *self._side(chosen, pairs[:, 0]), self._starts[clips] + pairs[:, 0], views_of(chosen, indices)
        )

    def batch(self, step: int) -> PairBatch:
        rng = np.random.default_rng((self.seed, step))
        clips, pairs = self._draw(rng)
        around = self._around(rng, clips, pairs) if self.neighbours else None
        source_index, target_index = (self._starts[clips] + pairs[:, side] for side in (0, 1))
        if self._resident is not None:
            return self._resident.batch(source_index, target_index, around)
        chosen = [self.folder.clips[i] for i in clips]
        source, source_background, source_known = self._side(chosen, pairs[:, 0])
        target, target_background, target_known = self._side(chosen, pairs[:, 1])
        if not any(clip.scenery.moves or clip.close_up for clip in chosen):
            target_background = source_background
        close_ups = [clip.close_up for clip in chosen]
        source_maps, target_maps = (
            stacked_maps(close_ups, pairs[:, side].tolist(), source.shape[1]) for side in (0, 1)
        )
        batch = PairBatch(
            source, target, source_background, target_background, source_known, target_known,
            wholly(source_known) and wholly(target_known), source_maps, target_maps, source_index, target_index,
        )  # fmt: skip
        if around is None:
            return batch
        before, after = (
            np.stack([clip.frames[int(index)] for clip, index in zip(chosen, side - self._starts[clips], strict=True)])
            for side in around
        )
        return replace(batch, before=before, after=after)

    def _around(
        self, rng: np.random.Generator, clips: NDArray[np.int64], pairs: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw (B,) indices in the folder of the frames before and after each target."""
        reach = rng.integers(1, self.neighbours + 1, size=self.batch_size * self.world_size)[self._mine]
        middle, lengths = pairs[:, 1], np.diff(self._starts)[clips]
        step = np.minimum(reach, np.minimum(middle, lengths - 1 - middle))
        return self._starts[clips] + middle - step, self._starts[clips] + middle + step

    def _draw(self, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw (B,) clips and (B, 2) frames of each."""
        clips = rng.integers(len(self.folder.clips), size=self.batch_size * self.world_size)
        pairs = [rng.choice(len(self.folder.clips[i].frames), size=2, replace=False) for i in clips]
        return clips[self._mine], np.stack(pairs)[self._mine]

    def _side(self, clips: list[Clip], indices: NDArray[np.int64]) -> tuple[ByteArray, ByteArray, NDArray[np.bool_]]:
        """Load one frame of each clip, its background, and where that is known."""
        wanted = list(zip(clips, indices.tolist(), strict=True))
        frames = [clip.frames[index] for clip, index in wanted]
        behind = [clip.behind(index) for clip, index in wanted]
        return np.stack(frames), np.stack([picture for picture, _ in behind]), np.stack([known for _, known in behind])


def wholly(known: NDArray[np.bool_]) -> bool:
    """True if each of (B, S, S) is True everywhere or nowhere."""
    return bool((known.all((1, 2)) | ~known.any((1, 2))).all())


def views_of(clips: Sequence[Clip], indices: Sequence[int]) -> Views | None:
    """Return the views of one frame per clip; None if the clips are not crops, or their surroundings are not stored."""
    rows = [(clip.close_up, index) for clip, index in zip(clips, indices, strict=True)]
    near = [one.near[index] for one, index in rows if one and one.near]
    far = [one.far[index] for one, index in rows if one and one.far]
    if len(near) < len(rows) or len(far) < len(rows):
        return None
    maps = stacked_maps([one for one, _ in rows], indices, len(clips[0].frames[indices[0]]))
    assert maps is not None
    return Views(np.stack(near), np.stack(far), maps, np.array([one.alone for one, _ in rows if one]))
