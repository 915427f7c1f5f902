"""Compares two runners of one network, which process the same frames in batches of several sizes.

The poses of method "scops" are computed from the labels, and their axes have no direction. For these, a part's pose is
compared up to half a turn, and only if both runners give the part exactly the same pixels: one more pixel in a part of
two is legitimately another pose, and the labels are compared separately.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray, FloatArray
from streamparts.bundle.agreement import Agreement, Tolerance
from streamparts.bundle.spec import ModelSpec
from streamparts.data import NetworkOutputs
from streamparts.errors import ModelError

HALF_SIDE = 64
"""From normalised coordinates to pixels of a 128 px image, the unit of poses for every model size."""
REFERENCE_BATCH = 8

Runner = Callable[[ByteArray], NetworkOutputs]
"""(N, H, W, 3) uint8 -> a network's output."""


@dataclass(frozen=True)
class Comparison:
    """Differences between two runners, frame by frame."""

    label_mismatch: NDArray[np.float64]
    """(F,) share of pixels."""
    pose_px: NDArray[np.float64]
    """(F, K) largest difference of any entry of an affine, at 128 pixels: infinity for nan or infinity, nan if there is
    nothing to compare."""
    score: NDArray[np.float64]
    """(F,) largest difference of scores and of evidence."""
    reference: ByteArray
    """(F, H, W) labels of the first runner."""
    candidate: ByteArray
    """(F, H, W) labels of the second, in the last batch that contains the frame."""

    def of(self, frames: slice) -> Comparison:
        """The comparison restricted to these frames."""
        return Comparison(*(getattr(self, name)[frames] for name in self.__dataclass_fields__))

    @property
    def mean_pose_px(self) -> NDArray[np.float64]:
        """(F,) mean over the parts compared; 0 without any."""
        # nan marks parts without anything to compare, infinity a broken output: np.where keeps infinity
        there = ~np.isnan(self.pose_px)
        mean: NDArray[np.float64] = np.where(there, self.pose_px, 0).sum(1) / np.maximum(there.sum(1), 1)
        return mean

    @property
    def max_pose_px(self) -> NDArray[np.float64]:
        """(F,) the largest of the parts compared; 0 without any."""
        largest: NDArray[np.float64] = np.where(np.isnan(self.pose_px), 0, self.pose_px).max(1, initial=0)
        return largest

    def worst(self, tolerance: Tolerance) -> int:
        """The frame that differs most, in units of the tolerance."""
        poses = self.mean_pose_px if tolerance.mean else self.max_pose_px / tolerance.far
        # (3, F): labels, poses and scores, each in units of its own tolerance
        excess = (self.label_mismatch / (1 - tolerance.labels), poses / tolerance.pose_px, self.score / tolerance.score)
        return int(np.max(excess, axis=0).argmax())

    def agreement(self) -> Agreement:
        """In a few numbers."""
        poses = self.pose_px[~np.isnan(self.pose_px)]
        finite = bool(np.isfinite(poses).all())
        return Agreement(
            num_frames=len(self.label_mismatch),
            labels=1 - float(self.label_mismatch.mean()),
            worst_labels=1 - float(self.label_mismatch.max()),
            worst_frame=int(self.label_mismatch.argmax()),
            pose_mean_px=float(self.mean_pose_px.mean()),
            pose_median_px=float(np.median(poses)) if poses.size else 0.0,
            pose_p99_px=float(np.quantile(poses, 0.99)) if poses.size and finite else float(poses.max(initial=0)),
            pose_px=float(poses.max(initial=0)),
            score_mean=float(self.score.mean()),
            score=float(self.score.max()),
        )


def compare(
    reference: Runner, candidate: Runner, frames: ByteArray, spec: ModelSpec, rows: Iterable[slice]
) -> Comparison:
    """Run (F, H, W, 3) uint8 frames through both, the candidate in the batches `rows`, see in_turn and in_each; for a
    frame in several batches, the largest differences count.

    Raises ModelError if one of them fails or returns outputs of another kind.
    """
    count = len(frames)
    truth = _run(reference, frames)
    mismatch, score = np.zeros(count), np.zeros(count)
    pose = np.full((count, spec.num_parts), np.nan)
    labels = truth.labels.copy()
    for batch in rows:
        evidence = None if truth.evidence is None else truth.evidence[batch]
        wanted = NetworkOutputs(truth.labels[batch], truth.affines[batch], truth.scores[batch], evidence)
        got = candidate(frames[batch])
        require_same_outputs(wanted, got)
        labels[batch] = got.labels
        mismatch[batch] = np.maximum(mismatch[batch], (wanted.labels != got.labels).mean((1, 2)))
        score[batch] = np.maximum(score[batch], score_differences(wanted, got))
        # fmax, because a part may be comparable in one batch only; maximum would keep the nan
        pose[batch] = np.fmax(pose[batch], pose_errors_px(wanted, got, spec))
    return Comparison(mismatch, pose, score, truth.labels, labels)


def in_turn(count: int, sizes: Sequence[int]) -> Iterator[slice]:
    """Batches that cover `count` frames with alternating sizes; small sets are repeated until each size was used, as
    far as there are enough frames."""
    start = turn = 0
    while start < count or turn < len(sizes):
        size = sizes[turn % len(sizes)]
        start = min(0 if start >= count else start, max(0, count - size))
        yield slice(start, min(start + size, count))
        start, turn = start + size, turn + 1


def in_each(count: int, sizes: Sequence[int]) -> Iterator[slice]:
    """Batches that cover `count` frames once per size."""
    for size in dict.fromkeys(sizes):
        yield from (slice(start, min(start + size, count)) for start in range(0, count, size))


def require_same_outputs(wanted: NetworkOutputs, got: NetworkOutputs) -> None:
    """Raise ModelError if the outputs differ in kind, not in value."""
    for name, one, other in zip(NetworkOutputs._fields, wanted, got, strict=True):
        shapes = ["absent" if x is None else str(x.shape) for x in (one, other)]
        if shapes[0] != shapes[1]:
            raise ModelError(f"the output {name} is {' and '.join(shapes)} in the two networks. Nothing was written")


def score_differences(wanted: NetworkOutputs, got: NetworkOutputs) -> FloatArray:
    """(B,) largest difference of scores and evidence over parts with the same pixels in both: they are sums over these,
    so one more pixel legitimately changes a score, and the labels are compared separately. Infinity for nan or
    infinity."""
    # (B, K)
    differences: FloatArray = np.abs(wanted.scores - got.scores)
    if wanted.evidence is not None and got.evidence is not None:
        differences = np.maximum(differences, np.abs(wanted.evidence - got.evidence).max(2))
    differences = np.where(np.isfinite(differences), differences, np.float32(np.inf))
    same = same_pixels(wanted.labels, got.labels, differences.shape[1])
    largest: FloatArray = np.where(same | np.isinf(differences), differences, 0).max(1)
    return largest


def pose_errors_px(wanted: NetworkOutputs, got: NetworkOutputs, spec: ModelSpec) -> NDArray[np.float64]:
    """(B, K) as Comparison.pose_px. A part without pixels in the reference has a meaningless pose."""
    undirected = spec.undirected
    # normalised coordinates span 2 over the image's side
    errors = HALF_SIDE * pose_differences(wanted.affines, got.affines, undirected).astype(np.float64)
    errors = np.where(np.isfinite(errors), errors, np.inf)
    # moments depend on every pixel, so poses computed from masks are comparable only for equal labels
    judged = same_pixels(wanted.labels, got.labels, spec.num_parts) if undirected else wanted.scores > 0
    return np.where(judged | np.isinf(errors), errors, np.nan)


def pose_differences(wanted: FloatArray, got: FloatArray, undirected: bool) -> FloatArray:
    """(B, K) largest difference of any entry of (B, K, 2, 3) affines or, if undirected, the smaller one with and
    without half a turn."""
    straight: FloatArray = np.abs(wanted - got).max((2, 3))
    if not undirected:
        return straight
    # half a turn negates both axes and keeps the centre
    turned = np.concatenate([-got[..., :2], got[..., 2:]], axis=-1)
    nearer: FloatArray = np.minimum(straight, np.abs(wanted - turned).max((2, 3)))
    return nearer


def same_pixels(wanted: ByteArray, got: ByteArray, num_parts: int) -> NDArray[np.bool_]:
    """(B, K) True if both labels (B, S, S) give a part the same pixels."""
    parts = np.arange(1, num_parts + 1)[:, None, None]
    # (B, K, S, S) reduced over the pixels
    same: NDArray[np.bool_] = ((wanted[:, None] == parts) == (got[:, None] == parts)).all((2, 3))
    return same


def _run(runner: Runner, frames: ByteArray) -> NetworkOutputs:
    """All frames."""
    batches = [runner(frames[rows]) for rows in in_each(len(frames), [REFERENCE_BATCH])]
    evidence = [said.evidence for said in batches if said.evidence is not None]
    return NetworkOutputs(
        np.concatenate([said.labels for said in batches]),
        np.concatenate([said.affines for said in batches]),
        np.concatenate([said.scores for said in batches]),
        np.concatenate(evidence) if evidence else None,
    )
