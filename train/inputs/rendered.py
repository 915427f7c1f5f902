"""Augments rendered images for training: rotation, scaling, mirroring with sides swapped, and degradation to the
quality of real video."""

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
from .negatives import Negatives
from .unlabelled import Unlabelled

NONE, NO_CLIPS = Negatives(), Unlabelled()
CELLS = 4
"""Side of a cell of canonical coordinates, in pixels of the network's input."""


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
        return spoil(rng, moved(sample, draw_move(rng), self.size))


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


def _warp(image: Any, move: Array, size: int, how: int) -> Any:
    """Convert a normalised similarity to cv2's pixels, whose centres are whole numbers."""
    before, after = image.shape[0] / 2, size / 2
    linear = move[:, :2] * (after / before)
    # pixel index i is (i + 0.5) / (S / 2) - 1 in normalised coordinates
    shift = move[:, 2] * after + after - 0.5 - linear @ np.array([before - 0.5, before - 0.5])
    matrix = np.column_stack([linear, shift])
    return np.asarray(cv2.warpAffine(image, matrix, (size, size), flags=how))


def spoil(rng: Generator, sample: RenderedImage) -> RenderedImage:
    """Degrade an image: colour casts, wrong exposure, blur, low resolution, noise, compression, and holes."""
    image, labels, canonical = sample.image, sample.labels, sample.canonical
    if rng.random() < 0.2:
        image, labels, canonical = _cut_out(rng, image, labels, canonical)
    if rng.random() < 0.3:
        image = _blurred(rng, image)
    if rng.random() < 0.25:
        image = _made_small(rng, image)
    image = _recoloured(rng, image)
    if rng.random() < 0.2:
        image = _sharpened(image, rng.uniform(0.3, 1.5))
    if rng.random() < 0.4:
        image = _compressed(image, int(rng.uniform(15, 80)))
    return replace(sample, image=image, labels=labels, canonical=canonical)


def _sharpened(image: ByteArray, strength: float) -> ByteArray:
    """Exaggerate edges, as cameras do."""
    soft = cv2.GaussianBlur(image, (0, 0), 1.0)
    # x + a (x - blurred x)
    return np.asarray(cv2.addWeighted(image, 1 + strength, soft, -strength, 0), np.uint8)


def _made_small(rng: Generator, image: ByteArray) -> ByteArray:
    """Downscale and upscale again."""
    size = len(image)
    small = int(size * rng.uniform(0.3, 0.9))
    less = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
    how = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
    return np.asarray(cv2.resize(less, (size, size), interpolation=how), np.uint8)


def _compressed(image: ByteArray, quality: int) -> ByteArray:
    packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)


def _cut_out(
    rng: Generator, image: ByteArray, labels: ByteArray, canonical: Array
) -> tuple[ByteArray, ByteArray, Array]:
    """Paste a piece from elsewhere in the image, or of one colour, over it."""
    size = len(image)
    high, wide = (int(size * share) for share in rng.uniform(0.06, 0.35, 2))
    (top, left), (from_top, from_left) = rng.integers(0, (size - high, size - wide), (2, 2))
    image, labels, canonical = image.copy(), labels.copy(), canonical.copy()
    if rng.random() < 0.5:
        image[top : top + high, left : left + wide] = rng.integers(0, 256, 3)
        labels[top : top + high, left : left + wide] = 0
        canonical[top // CELLS : (top + high) // CELLS, left // CELLS : (left + wide) // CELLS] = 0
    elif not labels[from_top : from_top + high, from_left : from_left + wide].any():
        image[top : top + high, left : left + wide] = image[
            from_top : from_top + high, from_left : from_left + wide
        ].copy()
        labels[top : top + high, left : left + wide] = 0
        canonical[top // CELLS : (top + high) // CELLS, left // CELLS : (left + wide) // CELLS] = 0
    return image, labels, canonical


def _blurred(rng: Generator, image: ByteArray) -> ByteArray:
    if rng.random() < 0.5:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.6)), np.uint8)
    length = int(rng.integers(3, 9))
    kernel = np.zeros((length, length), np.float32)
    angle, half = rng.uniform(0, np.pi), (length - 1) / 2
    ends = [(round(half + s * half * np.cos(angle)), round(half + s * half * np.sin(angle))) for s in (-1, 1)]
    # motion blur: a mean along a line
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)


def _recoloured(rng: Generator, image: ByteArray) -> ByteArray:
    """Saturation, gains, contrast, gamma and noise in one pass over floats."""
    x = image.astype(np.float32) / 255
    grey = x.mean(2, keepdims=True)
    saturation = 0.0 if rng.random() < 0.06 else rng.uniform(0.5, 1.4)
    # distance from grey
    x = grey + saturation * (x - grey)
    gain = rng.uniform(0.7, 1.25) * (1 + rng.normal(0, 0.07, 3).astype(np.float32))
    middle = np.float32(rng.uniform(0.3, 0.6))
    x = (x * gain - middle) * rng.uniform(0.65, 1.35) + middle + rng.normal(0, 0.05)
    x = np.clip(x, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.2)))
    if rng.random() < 0.4:
        x = x + rng.standard_normal(x.shape, np.float32) * np.float32(rng.uniform(0, 0.06))
    return np.asarray(np.clip(x, 0, 1) * 255 + 0.5, np.uint8)


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
