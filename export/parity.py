"""Do two runners of one network say the same? Both see the same frames, in batches of several sizes.

The poses of method "scops" are read from the labels, and their axes have no direction. So there a part's pose is
compared up to half a turn, and where both give the part the very same pixels: one pixel more in a part of two is
another pose by right, and the labels are judged by themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from export.parity_frames import FrameSet
from streamparts.backends import Outputs
from streamparts.bundle import Bundle, check_model
from streamparts.data import ByteArray, FloatArray
from streamparts.errors import ModelError
from streamparts.spec import ModelSpec, Precision

BATCHES = (8, 1, 3, 2)
"""Sizes that take turns."""
HALF_SIDE = 64
"""From normalised coordinates to pixels of a picture of 128: what poses are told in, whatever the model's size."""

Runner = Callable[[ByteArray], Outputs]
"""(N, H, W, 3) uint8 -> what a network says."""


@dataclass(frozen=True)
class Tolerance:
    """What may differ."""

    label_mismatch: float
    """Share of a frame's pixels with another label."""
    pose_error_px: float
    """Difference of an affine's entries at 128 pixels: the largest of any part, or, with `mean`, the mean of parts."""
    score_error: float
    """Largest difference of a score or of evidence."""
    mean: bool = False
    """The mean over the frames is judged, not the worst one."""
    odd: bool = False
    """Odd frames are judged too. Where arithmetic is coarser they are not: on noise, a coin's toss gives the label."""

    @classmethod
    def of(cls, precision: Precision) -> Tolerance:
        """What a model of this precision may differ from fp32, and a graph in fp32 from the network. Raises ModelError
        for what cannot be run here, so not be compared."""
        if precision not in TOLERANCES:
            raise ModelError(f"{precision} does not run on a CPU, so it cannot be compared here; use streamparts build")
        return TOLERANCES[precision]


TOLERANCES: dict[Precision, Tolerance] = {
    "fp32": Tolerance(1e-3, 0.05, 1e-3, odd=True),
    "fp16": Tolerance(5e-3, 0.3, 0.05),
    "int8": Tolerance(1e-2, 0.5, 0.1, mean=True),
}


@dataclass(frozen=True)
class Comparison:
    """Differences between two runners over F frames, (F,) each."""

    names: tuple[str, ...]
    """Where each frame comes from."""
    num_real: int
    """Frames from videos or pictures; the rest is made up."""
    label_mismatch: NDArray[np.float64]
    """Share of pixels."""
    pose_error_px: NDArray[np.float64]
    """Largest entry of any part that the reference shows, at 128 pixels; of method scops see above."""
    mean_pose_error_px: NDArray[np.float64]
    """The same, mean over those parts."""
    score_error: NDArray[np.float64]
    """Largest difference of scores and of evidence."""
    reference: ByteArray
    """(F, H, W) labels of the first runner."""
    candidate: ByteArray
    """(F, H, W) labels of the second."""

    @property
    def label_agreement(self) -> float:
        """Share of the pixels of all real frames with equal labels."""
        return 1 - float(self.label_mismatch[: self.num_real].mean())

    def excess(self, tolerance: Tolerance) -> NDArray[np.float64]:
        """(J, 3) labels, poses and scores of each judged frame, in units of what may differ; infinity for nan."""
        poses = self.mean_pose_error_px if tolerance.mean else self.pose_error_px
        limits = (tolerance.label_mismatch, tolerance.pose_error_px, tolerance.score_error)
        rows = np.stack([self.label_mismatch, poses, self.score_error], axis=1) / np.array(limits)
        judged: NDArray[np.float64] = np.nan_to_num(rows[: None if tolerance.odd else self.num_real], nan=np.inf)
        return judged

    def passes(self, tolerance: Tolerance) -> bool:
        """Whether all judged frames, or their mean, stay within what may differ."""
        excess = self.excess(tolerance)
        return bool((excess.mean(0) if tolerance.mean else excess).max() <= 1)

    def worst(self, tolerance: Tolerance) -> int:
        """The judged frame that differs most."""
        return int(self.excess(tolerance).max(1).argmax())

    def summary(self) -> str:
        """One line: what was compared, and the differences."""
        real = slice(self.num_real)
        return (
            f"{self.num_real} real and {len(self.names) - self.num_real} odd frames: labels equal on "
            f"{100 * self.label_agreement:.3f} % of real pixels, {100 - 100 * self.label_mismatch.max():.2f} % of the "
            f"worst frame; poses differ by {self.mean_pose_error_px[real].mean():.2g} px@128 in the mean, "
            f"{self.pose_error_px[real].max():.2g} at most; scores by {self.score_error[real].max():.1e}"
        )


def bundle_of(data: bytes, path: Path) -> Bundle:
    """A model that is not written yet. Raises ModelError unless it is sound."""
    return Bundle(check_model(data), path, hashlib.sha256(data).hexdigest(), data)


def network_runner(network: nn.Module) -> Runner:
    """A network that gives a Readout, as a runner."""

    @torch.no_grad()
    def run(images: ByteArray) -> Outputs:
        labels, affines, scores, evidence = network(torch.from_numpy(images))
        return Outputs(labels.numpy(), affines.numpy(), scores.numpy(), None if evidence is None else evidence.numpy())

    return run


def compare(reference: Runner, candidate: Runner, frames: FrameSet, spec: ModelSpec) -> Comparison:
    """Run both on all frames, in batches whose sizes take turns, each size at least once."""
    count, from_labels = len(frames.names), spec.method == "scops"
    mismatch, pose, mean_pose, score = (np.zeros(count) for _ in range(4))
    labels = np.zeros((2, count, *spec.input_hw), np.uint8)
    for rows in batches(count):
        wanted, got = reference(frames.images[rows]), candidate(frames.images[rows])
        require_same_outputs(wanted, got)
        labels[0, rows], labels[1, rows] = wanted.labels, got.labels
        mismatch[rows] = np.maximum(mismatch[rows], (wanted.labels != got.labels).mean((1, 2)))
        poses = HALF_SIDE * pose_differences(wanted.affines, got.affines, from_labels)
        judged = same_pixels(wanted.labels, got.labels, spec.num_parts) if from_labels else wanted.scores > 0
        poses = np.where(judged | ~np.isfinite(poses), poses, 0)
        pose[rows] = np.maximum(pose[rows], poses.max(1))
        mean_pose[rows] = np.maximum(mean_pose[rows], poses.sum(1) / np.maximum(judged.sum(1), 1))
        score[rows] = np.maximum(score[rows], score_differences(wanted, got))
    return Comparison(frames.names, frames.num_real, mismatch, pose, mean_pose, score, labels[0], labels[1])


def batches(count: int, sizes: Sequence[int] = BATCHES) -> Iterator[slice]:
    """Slices that cover `count` frames, of each size in turn; small sets are gone through until each size was had."""
    start = turn = 0
    while start < count or turn < len(sizes):
        start = 0 if start >= count else start
        yield slice(start, min(start + sizes[turn % len(sizes)], count))
        start += sizes[turn % len(sizes)]
        turn += 1


def require_same_outputs(wanted: Outputs, got: Outputs) -> None:
    """Raises ModelError when the outputs differ in kind, not in value."""
    for name, one, other in zip(Outputs._fields, wanted, got, strict=True):
        shapes = ["absent" if x is None else str(x.shape) for x in (one, other)]
        if shapes[0] != shapes[1]:
            raise ModelError(f"the output {name} is {' and '.join(shapes)} in what is compared. Nothing was written")


def score_differences(wanted: Outputs, got: Outputs) -> FloatArray:
    """(B,) largest difference of scores and evidence."""
    largest: FloatArray = np.abs(wanted.scores - got.scores).max(1)
    if wanted.evidence is not None and got.evidence is not None:
        largest = np.maximum(largest, np.abs(wanted.evidence - got.evidence).max((1, 2)))
    return largest


def pose_differences(wanted: FloatArray, got: FloatArray, undirected: bool) -> FloatArray:
    """(B, K) largest difference of any entry of (B, K, 2, 3) affines, or, undirected, of one and the nearer turn of the
    other."""
    straight: FloatArray = np.abs(wanted - got).max((2, 3))
    if not undirected:
        return straight
    turned = np.concatenate([-got[..., :2], got[..., 2:]], axis=-1)
    nearer: FloatArray = np.minimum(straight, np.abs(wanted - turned).max((2, 3)))
    return nearer


def same_pixels(wanted: ByteArray, got: ByteArray, num_parts: int) -> NDArray[np.bool_]:
    """(B, K) whether both labels (B, S, S) give a part the same pixels."""
    parts = np.arange(1, num_parts + 1)[:, None, None]
    same: NDArray[np.bool_] = ((wanted[:, None] == parts) == (got[:, None] == parts)).all((2, 3))
    return same
