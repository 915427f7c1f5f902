"""Anchors: a guess, before training, of which pixels of different frames show the same place of the subject.

Assembly finds pixels that move together, clip by clip, but motion does not connect the sleeve of one person with the
sleeve of another. Pretrained features do, coarsely, and so does the place within the subject's outline. The subject's
pixels are clustered by both (k-means), over all clips at once; the trainer draws its slots to these clusters.

The place is measured in units of the outline's own size, along the image's axes where the subject stays upright, and
along the subject's long axis where it turns (an animal seen from above). Which end of that axis is the front is one
hidden state of two values per frame, solved over each clip (Viterbi) from the features along the axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from streamparts.arrays import ByteArray, FloatArray
from streamparts.models.efficientnet import EfficientNetLite0

from ..frames.clips import ClipFolder
from ..frames.spread import spread
from ..frames.transforms import to_images, warp_images
from ..pretrained.lite0 import lite0_file, load_lite0
from .augment import Pair
from .pairs import PairBatch

SIDE = 32
"""Side G of the grid on which pixels are clustered."""
FEATURE_SIDE = 320
"""Side of the crops that the features are taken from."""
STAGE = 3
"""Index in EfficientNetLite0's features: stride 16, 112 channels. Coarser and finer ones find parts worse."""
FIT_FRAMES = 600
"""Frames, of all clips together, whose pixels are clustered."""
DIRECTIONS = 12
"""Directions of the features that are kept: those that tell a first round of clusters apart from within them (LDA), so
that clothes and light, which vary within a cluster, count less."""
SHRINKAGE = 0.01
"""Share of the identity in the covariance within clusters."""
UPRIGHT = 0.5
"""Minimum concentration of the long axis's direction, in [0, 1], of a subject that stays upright."""
SOFTNESS = 0.25
"""Temperature of the assignment to clusters, as a share of the mean squared distance to the nearest centre."""
MAX_KEPT = 1 << 29
"""Maximum bytes of assignments kept in memory."""


@dataclass(frozen=True)
class Outline:
    """Position, size and direction of the subject in each of F frames, in units of the crop's side."""

    centre: FloatArray
    """(F, 2)"""
    size: FloatArray
    """(F,) root of the mean variance of the subject's pixels along both axes."""
    angle: FloatArray
    """(F,) direction of the long axis in radians; its sign is arbitrary."""
    elongation: FloatArray
    """(F,) in [0, 1]: 0 for a disc, 1 for a line."""

    @property
    def concentration(self) -> float:
        """R of the doubled angles, weighted by elongation: 1 if the axis never turns, 0 if it has all directions."""
        total = float(self.elongation.sum())
        return float(np.abs((self.elongation * np.exp(2j * self.angle)).sum()) / total) if total else 1.0


def outline_of(masks: Sequence[ByteArray]) -> Outline:
    """Compute the moments of F masks (M, M), 255 is surely the subject."""
    rows = []
    for mask in masks:
        m, side = cv2.moments(np.ascontiguousarray(mask)), len(mask)
        mass = max(m["m00"], 1.0)
        # central moments per mass: the covariance in square mask pixels, whose eigenvalues are mean +- spread
        xx, yy, xy = (m[name] / mass for name in ("mu20", "mu02", "mu11"))
        spread_, mean = float(np.hypot((xx - yy) / 2, xy)), (xx + yy) / 2
        # OpenCV's pixel centres are whole numbers; here they are at .5
        centre = [(m["m10"] / mass + 0.5) / side, (m["m01"] / mass + 0.5) / side]
        angle = 0.5 * np.arctan2(2 * xy, xx - yy)
        rows.append([*centre, np.sqrt(max(mean, 1.0)) / side, angle, spread_ / max(mean, 1e-6)])
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Outline(table[:, :2], table[:, 2], table[:, 3], table[:, 4])


def fronts(outline: Outline, evidence: FloatArray, starts: Sequence[int]) -> NDArray[np.bool_]:
    """(F,) whether a frame's front is at the negative end of its long axis: the most likely states of each clip.

    `evidence` (F,) is positive for the positive end, 0 where nothing is known. Between neighbours, the front turns by
    the smaller angle, the more surely the longer the subject.
    """
    flipped = np.zeros(len(evidence), np.bool_)
    for first, end in pairwise(starts):
        # the sign of the cosine decides whether "the same end in front" is the smaller turn
        turn = np.cos(np.diff(outline.angle[first:end]))
        stay = turn * np.minimum(outline.elongation[first : end - 1], outline.elongation[first + 1 : end]) * 4
        # (2,) score of the best path to each state: front at the positive end, at the negative end
        best = np.array([evidence[first], -evidence[first]])
        came = []
        for gain, seen in zip(stay, evidence[first + 1 : end], strict=True):
            options = best[:, None] + np.array([[gain, -gain], [-gain, gain]])  # from state, to state
            came.append(options.argmax(0))
            best = options.max(0) + np.array([seen, -seen])
        state = int(best.argmax())
        flipped[end - 1] = bool(state)
        # back from the last frame's best state along the choices made
        for row in range(end - 2, first - 1, -1):
            state = int(came[row - first][state])
            flipped[row] = bool(state)
    return flipped


@dataclass(frozen=True)
class PixelSpace:
    """Scales features and place to one space, in which each of both has a total variance of 1."""

    directions: FloatArray | None
    """(C, D) the features are projected on; None keeps them all."""
    features: tuple[FloatArray, float]
    """Mean (D,) and deviation."""
    place: tuple[FloatArray, float]

    @classmethod
    def of(cls, features: FloatArray, place: FloatArray, directions: FloatArray | None = None) -> PixelSpace:
        """From pixels (N, C) and (N, 2)."""
        kept = features if directions is None else features @ directions
        return cls(directions, statistics(kept), statistics(place))

    def __call__(self, features: FloatArray, place: FloatArray) -> FloatArray:
        """(..., C) and (..., 2) -> (..., D + 2)"""
        kept = features if self.directions is None else features @ self.directions
        pairs = ((kept, self.features), (place, self.place))
        return np.concatenate([(values - mean) / unit for values, (mean, unit) in pairs], -1).astype(np.float32)


def statistics(values: FloatArray) -> tuple[FloatArray, float]:
    """Mean and the root of the total variance of (N, D) over its dimensions; a deviation of 1 if there are none."""
    unit = max(float(np.sqrt(values.var(0).sum())), 1e-6) if values.shape[1] else 1.0
    return np.asarray(values.mean(0), np.float32), unit


class Anchors:
    """Soft clusters of the subject's pixels, for any frame of a folder of crops."""

    def __init__(self, folder: ClipFolder, count: int, seed: int, device: torch.device | None = None) -> None:
        """Fit `count` clusters to the crops of `folder`; features are computed on `device`."""
        self.count, self._device = count, device or torch.device("cpu")
        self._places = [(clip, i) for clip in folder.clips for i in range(len(clip.frames))]
        self._starts = np.cumsum([0, *(len(clip.frames) for clip in folder.clips)]).tolist()
        self._network = self._pretrained()
        self.outline = outline_of([self._mask(row) for row in range(len(self._places))])
        self.upright = self.outline.concentration > UPRIGHT
        self._kept: dict[int, ByteArray] = {}
        self._fit(seed)

    def _pretrained(self) -> EfficientNetLite0 | None:
        if lite0_file() is None:
            return None
        network = EfficientNetLite0((1, 2, 2, 3, 3))
        load_lite0(network)
        return network.eval().to(self._device)

    @property
    def words(self) -> str:
        """Names the features that are clustered."""
        place = "place in the outline" if self.upright else "place along the subject's long axis"
        return f"EfficientNet-lite0's features and {place}" if self._network else place

    def _mask(self, row: int) -> ByteArray:
        clip, index = self._places[row]
        assert clip.close_up is not None
        return np.asarray(clip.close_up.masks[index], np.uint8)

    @torch.no_grad()
    def _features(self, rows: Sequence[int]) -> FloatArray:
        """(N, G, G, C); C is 0 without the pretrained network."""
        if self._network is None:
            return np.zeros((len(rows), SIDE, SIDE, 0), np.float32)
        frames = [self._places[row][0].frames[self._places[row][1]] for row in rows]
        large = [cv2.resize(frame, (FEATURE_SIDE, FEATURE_SIDE), interpolation=cv2.INTER_LINEAR) for frame in frames]
        found = self._network(to_images(torch.from_numpy(np.stack(large)).to(self._device)))[STAGE]
        found = F.interpolate(found, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        return np.asarray(found.permute(0, 2, 3, 1).cpu().numpy(), np.float32)

    def _place(self, rows: Sequence[int], flipped: NDArray[np.bool_]) -> FloatArray:
        """(N, G, G, 2) of each grid point: distance from the centre in units of the outline's size, along the image's
        axes or the subject's."""
        line = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE
        grid = np.stack(np.meshgrid(line, line), -1)
        centre, size = self.outline.centre[rows], self.outline.size[rows]
        away = (grid[None] - centre[:, None, None]) / size[:, None, None, None]
        if self.upright:
            return np.asarray(away, np.float32)
        angle = self.outline.angle[rows] + np.pi * flipped
        cos, sin = (f(angle)[:, None, None] for f in (np.cos, np.sin))
        along, across = away[..., 0] * cos + away[..., 1] * sin, away[..., 1] * cos - away[..., 0] * sin
        return np.asarray(np.stack([along, across], -1), np.float32)

    def _fit(self, seed: int) -> None:
        rows = np.unique(np.concatenate([
            first + np.array(spread(end - first, max(1, FIT_FRAMES * (end - first) // self._starts[-1])))
            for first, end in pairwise(self._starts)
        ])).tolist()  # fmt: skip
        few = [rows[i : i + 16] for i in range(0, len(rows), 16)]
        features = np.concatenate([self._features(some) for some in tqdm(few, desc="anchors", disable=None)])
        masks = [cv2.resize(self._mask(row), (SIDE, SIDE), interpolation=cv2.INTER_AREA) for row in rows]
        inside = np.stack(masks) > 127
        if inside.sum() < self.count:  # a subject thinner than the grid
            inside = np.ones_like(inside)
        self._flipped = np.zeros(len(self._places), np.bool_)
        if not self.upright:
            self._flipped = self._find_fronts(rows, features, inside)
        place = self._place(rows, self._flipped[rows])
        pixels, where = features[inside], place[inside]
        self._space = PixelSpace.of(pixels, where)
        self._means = self._clusters(self._space(pixels, where), seed)
        if pixels.shape[1] and pixels.std(0).max() > 1e-3 and self.count > 2:
            telling = LinearDiscriminantAnalysis(solver="eigen", shrinkage=SHRINKAGE)
            telling.fit(pixels, self._means.labels_)
            kept = min(DIRECTIONS, self.count - 1)
            self._space = PixelSpace.of(pixels, where, np.asarray(telling.scalings_[:, :kept], np.float32))
            self._means = self._clusters(self._space(pixels, where), seed)
        self._unit = max(float(self._distances(self._space(pixels, where)).min(1).mean()) * SOFTNESS, 1e-6)

    def _clusters(self, pixels: FloatArray, seed: int) -> MiniBatchKMeans:
        return MiniBatchKMeans(self.count, random_state=seed, n_init=6, batch_size=4096).fit(pixels)

    def _find_fronts(self, rows: list[int], features: FloatArray, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Followed through a clip, the front is known but for one sign. The features' mean gradient along the axis has
        that sign, too: the gradients' first principal direction over all clips gives each clip its own."""
        along = self._place(rows, np.zeros(len(rows), np.bool_))[..., 0] * inside
        # (F, C): a feature's change per unit along the axis; it changes its sign with the axis
        gradients = np.einsum("fyx,fyxc->fc", along, features) / np.maximum(inside.sum((1, 2)), 1)[:, None]
        evidence = np.zeros(len(self._places), np.float32)
        followed = fronts(self.outline, evidence, self._starts)
        if not gradients.shape[1]:
            return followed
        signed = np.where(followed[rows, None], -gradients, gradients)
        clips = np.searchsorted(self._starts, rows, side="right")
        means = np.stack([signed[clips == clip].mean(0) for clip in np.unique(clips)])
        # (F,) along the first right singular vector of the clips' mean gradients (clips, C)
        seen = gradients @ np.linalg.svd(means, full_matrices=False)[2][0]
        evidence[rows] = seen / max(float(np.abs(seen).mean()), 1e-6)
        return fronts(self.outline, evidence, self._starts)

    def _distances(self, pixels: FloatArray) -> FloatArray:
        """(..., D) -> (..., K) squared."""
        centres = self._means.cluster_centers_
        # |p - c|^2 = |p|^2 - 2 p c + |c|^2, without an array of (..., K, D) differences
        return np.asarray((pixels**2).sum(-1)[..., None] - 2 * pixels @ centres.T + (centres**2).sum(-1), np.float32)

    def __call__(self, rows: NDArray[np.int64]) -> Tensor:
        """(B, K, G, G) of the frames `rows` (B,), counted over all clips: how much a point belongs to each cluster if
        it is the subject; sums to 1 over K."""
        missing = [row for row in dict.fromkeys(rows.tolist()) if row not in self._kept]
        if missing:
            distances = self._distances(
                self._space(self._features(missing), self._place(missing, self._flipped[missing]))
            )
            # softmax(-distance / unit) over the clusters, (F, G, G, K)
            shares = np.exp(-(distances - distances.min(-1, keepdims=True)) / self._unit)
            shares /= shares.sum(-1, keepdims=True)
            if len(self._kept) * shares[0].size > MAX_KEPT:
                self._kept.clear()
            self._kept |= dict(zip(missing, (shares * 255).round().astype(np.uint8), strict=True))
        chosen = torch.from_numpy(np.stack([self._kept[row] for row in rows.tolist()])).to(self._device)
        shares_ = chosen.permute(0, 3, 1, 2).float()
        return shares_ / shares_.sum(1, keepdim=True).clamp(min=1)


def anchored(pair: Pair, batch: PairBatch, anchors: Anchors | None) -> Pair:
    """Add the anchors of its frames to a pair, turned like them."""
    if anchors is None or batch.source_index is None or batch.target_index is None or pair.turn is None:
        return pair
    maps = anchors(np.concatenate([batch.source_index, batch.target_index]))
    # (2B, K, G, G), sources and targets of a pair turned alike
    maps = warp_images(maps, torch.cat([pair.turn, pair.turn]).to(maps.device))
    large = F.interpolate(maps, size=pair.source.shape[-2:], mode="bilinear", align_corners=False)
    return replace(pair, anchors=large.to(pair.source.device))
