"""Combines motion, background and saliency in a few key frames into trimaps: sure subject, sure background, unknown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray, FloatArray

from ..frames.camera import MEDIAN_FRAMES
from ..frames.spread import spread
from .footage import ClipShot, key_rows, read_key
from .motion import LOST, motion_evidence, spans_of
from .values import BoolArray

BACKGROUND, SUBJECT, UNKNOWN = 0, 255, 128
"""Values of a trimap."""
NOTHING_MOVES = 0.09
"""Minimum motion score, see motion.Evidence, of a frame whose subject moves. Flickering lamps reach .08; people who
hardly move have .14."""
SURE = 1.5
"""Minimum motion of pixels that surely show the subject, as a multiple of Otsu's threshold."""
STILL = 0.4
"""Maximum motion of pixels that are surely background, as a multiple of Otsu's threshold, if they are away from moving
ones."""
SALIENT, NOT_SALIENT = 0.6, 0.1
"""Minimum probability of a mask network for the sure subject, and maximum one for sure background."""
MOVING_SHARE = 0.12
"""Minimum share of a salient component that must move for it to be kept."""
LEAST_RECALL = 0.25
"""Minimum share of the surely moving pixels in the kept components for which the mask network is used in a clip."""
ALL_AROUND = 0.35
"""Minimum share of the image's border that moves for the motion to be parallax of the ground instead of the
subject's."""
TRAVELS = 3.0
"""Minimum area that the subject must cover over the clip, as a multiple of its own, for the clip's median to be its
background."""

MaskOf = Callable[[ByteArray], FloatArray]


@dataclass(frozen=True)
class Key:
    """A key frame and its trimap."""

    row: int
    """Row of the frame in its shot."""
    image: ByteArray
    """(H, W, 3) at full detail."""
    trimap: ByteArray
    """(h, w) BACKGROUND, UNKNOWN or SUBJECT, in the shot's small images."""
    moving: BoolArray
    """(h, w) True where the image moves."""
    strength: float
    """Otsu's threshold of the motion score: how clearly something moves."""


@dataclass(frozen=True)
class ShotEvidence:
    """Key frames of a shot, and properties of the whole shot."""

    keys: tuple[Key, ...]
    agreeing: float
    """Share of the image that moves with the camera."""
    moves: bool
    travels: bool
    """True if the camera is still and the subject covers much more than itself over time, so that the median is its
    background."""
    believed: bool
    """True if the mask network's components move."""


def gather(shot: ClipShot, most_keys: int, mask_of: MaskOf | None, gated: bool = True) -> ShotEvidence:
    """Examine `most_keys` frames of a shot by motion, background and, if given, a mask network; of the network's
    components, those that move are kept, or all if it is not `gated`."""
    rows = key_rows(shot, most_keys)
    images = read_key(shot, rows)
    spans = spans_of(shot, rows)
    found = [motion_evidence(shot, row, spans) for row in rows]
    scores = [np.where(shot.text, np.float32(0), each.score) for each in found]
    agreeing = float(np.mean([each.agreeing for each in found]))
    background = travelled(shot, rows, agreeing)
    maps = [motion_map(score) for score in scores]
    if background is not None:
        maps = [with_background(each, different, shot.text) for each, different in zip(maps, background, strict=True)]
    salient = [small_mask(shot, mask_of(image)) for image in images] if mask_of else []
    gated = gated and agreeing >= LOST  # with a lost camera, motion is no evidence about salient components
    kept = [moving_components(mask, each) if gated else mask > 0.5 for mask, each in zip(salient, maps, strict=False)]
    believed = bool(kept) and (not gated or ground_moves(maps) or recall(kept, maps) >= LEAST_RECALL)
    trimaps = [motion_trimap(each) for each in maps]
    if believed:
        by_motion = gated and not ground_moves(maps)
        trimaps = [joined(*args, by_motion) for args in zip(salient, kept, trimaps, strict=True)]
    for trimap in trimaps:
        trimap[shot.text] = BACKGROUND
    keys = tuple(
        Key(row, image, trimap, each.moving, each.threshold)
        for row, image, trimap, each in zip(rows, images, trimaps, maps, strict=True)
    )
    return ShotEvidence(keys, agreeing, any(e.moving.any() for e in maps), background is not None, believed)


@dataclass(frozen=True)
class MotionMap:
    """Motion of one frame relative to Otsu's threshold."""

    relative: FloatArray
    """(h, w) motion score; 1 at the threshold."""
    threshold: float

    @property
    def moving(self) -> BoolArray:
        return np.asarray((self.relative > 1) & (self.threshold > 0))


def motion_map(score: FloatArray) -> MotionMap:
    top = float(score.max())
    # Otsu's threshold needs 8-bit levels; it is scaled back to the score's unit
    levels = np.asarray(np.round(score * (255 / max(top, 1e-6))), np.uint8)
    threshold = cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)[0] / 255 * top
    if threshold < NOTHING_MOVES:
        return MotionMap(np.zeros_like(score), 0.0)
    return MotionMap(np.asarray(score / threshold, np.float32), float(threshold))


def disc(diameter: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter)), np.uint8)


def motion_trimap(motion: MotionMap) -> ByteArray:
    """If nothing moves at all, every pixel is unknown: the subject may stand still."""
    trimap = np.full(motion.relative.shape, UNKNOWN, np.uint8)
    if not motion.moving.any():
        return trimap
    # pixels beside moving ones stay unknown: optical flow blurs the subject's outline by a few pixels
    near = cv2.dilate((motion.relative > 0.8).astype(np.uint8), disc(9)) > 0
    trimap[(motion.relative < STILL) & ~near] = BACKGROUND
    trimap[motion.relative > SURE] = SUBJECT
    return trimap


def travelled(shot: ClipShot, rows: list[int], agreeing: float) -> list[FloatArray] | None:
    """Return, for each frame, the (h, w) difference from the clip's median in units of the threshold; None if the
    median is not the background."""
    sample = np.stack([shot.picture(i) for i in spread(len(shot.rows), MEDIAN_FRAMES)])
    median = np.median(sample, axis=0).astype(np.uint8)
    # (N, h, w) largest difference over the channels, averaged over 3 x 3 pixels against noise
    apart = np.stack([cv2.absdiff(shot.picture(row), median).max(2) for row in rows])
    apart = np.stack([cv2.blur(each, (3, 3)) for each in apart])
    threshold = max(12.0, cv2.threshold(apart.reshape(len(apart), -1), 0, 255, cv2.THRESH_OTSU)[0])
    subject = np.stack([opened(each > threshold) for each in apart])
    area = subject.mean((1, 2))
    mostly = float(np.median(area))
    # a difference that is tiny, huge, or sometimes much larger than usual is light or camera motion, not a subject
    if not 0.0005 < mostly < 0.2 or agreeing < 0.7 or area.max() > 4 * mostly + 0.01:
        return None
    # a subject that covers one place most of the time is in the median itself
    if subject.any(0).mean() < min(TRAVELS, 0.35 * len(rows)) * mostly or subject.mean(0).max() > 0.6:
        return None
    return [np.asarray(each / threshold, np.float32) for each in apart.astype(np.float32)]


def opened(mask: BoolArray) -> BoolArray:
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc(3)) > 0)


def with_background(motion: MotionMap, different: FloatArray, text: BoolArray) -> MotionMap:
    """If the median is the background, the subject is what differs from it; this excludes the halo of optical flow."""
    return MotionMap(np.where(text, 0, different), max(motion.threshold, NOTHING_MOVES))


def small_mask(shot: ClipShot, mask: FloatArray) -> FloatArray:
    """Map (H, W) of the displayed frame to (h, w) of the shot's small image."""
    box = shot.letterbox
    inner = np.asarray(cv2.resize(mask, box.inner_hw[::-1], interpolation=cv2.INTER_AREA), np.float32)
    whole = np.zeros(box.model_hw, np.float32)
    whole[box.inner_slices] = inner
    return whole[shot.box.top : shot.box.bottom, shot.box.left : shot.box.right]


def moving_components(mask: FloatArray, motion: MotionMap) -> BoolArray:
    """Keep the components of a mask that move."""
    count, labels = cv2.connectedComponents((mask > 0.5).astype(np.uint8))
    # (count,) pixels of each component, and how many of them move; component 0 is the background
    area = np.bincount(labels.ravel(), minlength=count)
    moving = np.bincount(labels[motion.moving], minlength=count)
    keep = moving >= MOVING_SHARE * area
    keep[0] = False
    return np.asarray(keep[labels])


def recall(kept: list[BoolArray], maps: list[MotionMap]) -> float:
    """Return the share of the surely moving pixels in the kept components."""
    sure = [each.relative > SURE for each in maps]
    inside = sum(int((k & s).sum()) for k, s in zip(kept, sure, strict=True))
    return inside / max(1, sum(int(s.sum()) for s in sure))


def ground_moves(maps: list[MotionMap]) -> bool:
    """Return whether so much of the image's border moves, on average, that the camera must see at least two depths."""
    # each frame's outermost pixels: a subject rarely covers many of them, a moving ground does
    rings = [np.concatenate([m[0], m[-1], m[1:-1, 0], m[1:-1, -1]]) for m in (each.moving for each in maps)]
    return float(np.mean([ring.mean() for ring in rings])) > ALL_AROUND


def joined(mask: FloatArray, kept: BoolArray, motion: ByteArray, gated: bool) -> ByteArray:
    """Take a mask network's kept components as the subject and the rest as background; if it is `gated`, pixels that
    surely move outside the components stay unknown, and a frame without components uses motion alone."""
    trimap = np.full(mask.shape, UNKNOWN, np.uint8)
    if gated and not kept.any():
        return motion.copy()
    # one pixel around the components stays unknown, because masks are inexact there
    near = cv2.dilate(kept.astype(np.uint8), disc(3)) > 0
    beside = (motion == SUBJECT) & gated
    trimap[(~near | (mask < NOT_SALIENT)) & ~beside] = BACKGROUND
    trimap[kept & (mask > SALIENT)] = SUBJECT
    return trimap
