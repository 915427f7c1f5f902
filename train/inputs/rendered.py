"""Augments rendered images for training: rotation, scaling, mirroring with sides swapped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from streamparts.arrays import ByteArray
from streamparts.bundle.spec import pairs_by_name

from ..bodies.builds import Array
from ..bodies.shards import STEPS_PER_HEIGHT, Shard
from .backdrops import hard_background
from .degrading import CELLS, degraded
from .negatives import Negatives
from .unlabelled import Unlabelled

NONE, NO_CLIPS = Negatives(), Unlabelled()


def swapped(parts: Sequence[str]) -> NDArray[np.int64]:
    """(K,) the mirrored part of each part, itself if there is none."""
    order = np.arange(len(parts))
    for one, other in pairs_by_name(tuple(parts)):
        order[[one, other]] = other, one
    return order


def swapped_labels(swap: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(1 + K,) the same for labels, whose 0 is the background."""
    return np.asarray(np.concatenate([[0], 1 + swap]), np.uint8)


def mirrored_labels(labels: ByteArray, swap: NDArray[np.int64]) -> ByteArray:
    """(S, S) mirrored; labels that are no part's stay."""
    table = np.arange(256, dtype=np.uint8)
    table[: 1 + len(swap)] = swapped_labels(swap)
    return np.asarray(table[labels[:, ::-1]])


@dataclass(frozen=True)
class Truth:
    """A batch of B images and the ground truth for the student."""

    images: Tensor
    """(B, 3, S, S) in [0, 1]"""
    labels: Tensor
    """(B, S, S) int64; also SOME_PART and UNKNOWN, in images of real clips"""
    canonical: Tensor
    """(B, 3, S / CELLS, S / CELLS) in heights."""
    centres: Tensor
    """(B, K, 2) normalised."""
    shapes: Tensor
    """(B, K, 2, 2) A of the poses."""
    trust: Tensor
    """(B, K) in [0, 1]: 0 for a part that is hidden, outside, or belongs to one of several people."""
    facing: Tensor
    """(B, 3); 0 without a person or with several."""
    swapped: Tensor
    """(1 + K,) int64: the label of the same part on the other side; its own for the background and parts without
    sides."""


class Lessons:
    """Draws batches from shards; a share `without` of the images comes from `negatives`, and a share `real` from
    `clips`, if there are any."""

    def __init__(
        self,
        shards: list[Shard],
        size: int,
        seed: int,
        negatives: Negatives = NONE,
        without: float = 0.1,
        clips: Unlabelled = NO_CLIPS,
        real: float = 0.1,
    ) -> None:
        self.shards, self.size, self.seed = shards, size, seed
        self.negatives, self.without = negatives, without if negatives else 0.0
        self.clips, self.real = clips, real if clips else 0.0
        self.parts = shards[0].parts
        self.swap = swapped(self.parts)
        self.starts = np.cumsum([0, *(len(shard) for shard in shards)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def batch(self, step: int, count: int) -> Truth:
        """The same for equal steps, seeds and shards."""
        rng = np.random.default_rng([self.seed, step])
        return stack([self._one(rng, int(rng.integers(len(self)))) for _ in range(count)], self.swap)

    def _one(self, rng: Generator, index: int) -> RenderedImage:
        shard = int(np.searchsorted(self.starts, index, side="right")) - 1
        sample = take(self.shards[shard], index - int(self.starts[shard]))
        if self.real and rng.random() < self.real:
            image, labels = self.clips.draw(rng, self.negatives)
            sample = replace(emptied(sample, image), labels=labels)
        elif self.without and rng.random() < self.without:
            sample = emptied(sample, self.negatives.draw(rng, len(sample.image)))
        else:
            harder = hard_background(rng, sample.image, sample.labels, self.negatives)
            sample = replace(sample, image=harder)
        if rng.random() < 0.5:
            sample = mirrored(sample, self.swap)
        return spoiled(rng, moved(sample, draw_move(rng), self.size))


@dataclass(frozen=True)
class RenderedImage:
    """One image: as Truth but not yet tensors; `image` is (S, S, 3) uint8, canonical (S', S', 3)."""

    image: ByteArray
    labels: ByteArray
    canonical: Array
    affines: Array
    seen: Array
    facing: Array
    people: int


def emptied(sample: RenderedImage, image: ByteArray) -> RenderedImage:
    """The ground truth of an image of the same size that shows no body."""
    return RenderedImage(
        image,
        np.zeros_like(sample.labels),
        np.zeros_like(sample.canonical),
        sample.affines,
        np.zeros_like(sample.seen),
        np.zeros_like(sample.facing),
        0,
    )


def take(shard: Shard, row: int) -> RenderedImage:
    """Read an image from a shard."""
    canonical = shard.canonical[row].astype(np.float32) / STEPS_PER_HEIGHT
    affines, seen, facing = (np.array(values[row]) for values in (shard.affines, shard.seen, shard.facing))
    image, labels = np.array(shard.images[row]), np.array(shard.labels[row])
    return RenderedImage(image, labels, canonical, affines, seen, facing, int(shard.people[row]))


def mirrored(sample: RenderedImage, swap: NDArray[np.int64]) -> RenderedImage:
    """Mirror the image and swap the sides of the body; `swap` as of `swapped`."""
    affines = sample.affines[swap].copy()
    # x -> -x mirrors positions
    affines[:, 0] *= -1
    affines[:, :, 1] *= -1  # A stays a rotation times a scaling; the second axis has no direction of its own
    flip = np.array([-1, 1, 1], np.float32)
    return RenderedImage(
        np.ascontiguousarray(sample.image[:, ::-1]),
        mirrored_labels(sample.labels, swap),
        sample.canonical[:, ::-1] * flip,
        affines,
        sample.seen[swap],
        sample.facing * flip,
        sample.people,
    )


def draw_move(rng: Generator) -> Array:
    """(2, 3) similarity in normalised coordinates: a small, sometimes large rotation, scale and shift."""
    kind = rng.random()
    # cameras on tripods are level, those on walls and ceilings are not
    angle = rng.normal(0, 10) if kind < 0.85 else rng.uniform(-45, 45) if kind < 0.93 else rng.uniform(-180, 180)
    # evenly in the logarithm
    scale = np.exp(rng.uniform(np.log(0.75), np.log(1.3)))
    cos, sin = scale * np.cos(np.radians(angle)), scale * np.sin(np.radians(angle))
    return np.array([[cos, -sin, rng.normal(0, 0.08)], [sin, cos, rng.normal(0, 0.08)]], np.float32)


def moved(sample: RenderedImage, move: Array, size: int) -> RenderedImage:
    """Transform truth and image together, to a side of `size`; pixels outside are black, as in a tracker's crop."""
    image = _warp(sample.image, move, size, cv2.INTER_LINEAR)
    labels = _warp(sample.labels, move, size, cv2.INTER_NEAREST)
    canonical = _warp(sample.canonical, move, size // CELLS, cv2.INTER_NEAREST)
    # A' = M A and t' = M t + m
    affines = np.concatenate([move[:, :2] @ sample.affines[:, :, :2], sample.affines[:, :, 2:]], -1)
    affines[:, :, 2] = sample.affines[:, :, 2] @ move[:, :2].T + move[:, 2]
    facing = sample.facing.copy()
    # only the rotation: the direction has no size
    facing[:2] = move[:, :2] @ facing[:2] / np.hypot(move[0, 0], move[1, 0])
    return RenderedImage(image, labels, canonical, affines, sample.seen, facing, sample.people)


def spoiled(rng: Generator, sample: RenderedImage) -> RenderedImage:
    """Degrade an image; holes are background."""
    image, labels, canonical = degraded(rng, sample.image, sample.labels, sample.canonical)
    return replace(sample, image=image, labels=labels, canonical=canonical)


def _warp(image: Any, move: Array, size: int, how: int) -> Any:
    """Convert a normalised similarity to cv2's pixels, whose centres are whole numbers."""
    before, after = image.shape[0] / 2, size / 2
    linear = move[:, :2] * (after / before)
    # pixel index i is (i + 0.5) / (S / 2) - 1 in normalised coordinates
    shift = move[:, 2] * after + after - 0.5 - linear @ np.array([before - 0.5, before - 0.5])
    matrix = np.column_stack([linear, shift])
    return np.asarray(cv2.warpAffine(image, matrix, (size, size), flags=how))


def stack(samples: list[RenderedImage], swap: NDArray[np.int64]) -> Truth:
    """Stack equal samples into tensors; `swap` as of `swapped`."""
    images = torch.from_numpy(np.stack([s.image for s in samples])).permute(0, 3, 1, 2)
    affines = torch.from_numpy(np.stack([s.affines for s in samples]).astype(np.float32))
    alone = torch.tensor([float(s.people == 1) for s in samples])[:, None]
    seen = torch.from_numpy(np.stack([s.seen for s in samples]).astype(np.float32))
    centres = affines[..., 2]
    # (B, K) 1 if the centre is in the image
    inside = (centres.abs().amax(-1) < 1).float()
    return Truth(
        images=images.contiguous(memory_format=torch.channels_last).float().div_(255),
        labels=torch.from_numpy(np.stack([s.labels for s in samples]).astype(np.int64)),
        canonical=torch.from_numpy(np.stack([s.canonical for s in samples])).permute(0, 3, 1, 2).float(),
        centres=centres,
        shapes=affines[..., :2],
        trust=alone * inside * (seen / (seen + 0.15)),
        facing=alone * torch.from_numpy(np.stack([s.facing for s in samples]).astype(np.float32)),
        swapped=torch.from_numpy(swapped_labels(swap).astype(np.int64)),
    )
