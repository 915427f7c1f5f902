"""Does one backend say what another says? Both run on the same frames, in batches of several sizes.

The poses of method "scops" are read from the labels, and their axes have no direction: there a pose is compared up to
half a turn, and where both give the part the very same pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamparts.backends import Backend, Outputs
from streamparts.bundle import ModelSpec
from streamparts.data import ByteArray, FloatArray
from streamparts.errors import ModelError

FAR = 5
"""How many times the tolerance the very worst pose may be off: the edge of a part that is hardly there can flip."""


class Tolerance(msgspec.Struct, frozen=True, kw_only=True):
    """What two backends may differ by."""

    labels: float
    """Share of the worst frame's pixels that must carry the same label."""
    pose_px: float
    """Largest difference of any entry of an affine, of 99 % of the parts seen, in model pixels at an input of 128."""
    score: float


TOLERANCES = {
    "fp32": Tolerance(labels=0.999, pose_px=0.05, score=1e-3),
    "fp16": Tolerance(labels=0.995, pose_px=0.3, score=1e-2),
    "bf16": Tolerance(labels=0.995, pose_px=0.3, score=1e-2),
    "int8": Tolerance(labels=0.98, pose_px=1.0, score=0.2),
}
"""By precision, against ONNX Runtime in fp32, on real frames."""

MADE_UP_TOLERANCES = {**TOLERANCES, "int8": Tolerance(labels=0.85, pose_px=6.0, score=0.2)}
"""The same on patterns, which int8 was not calibrated for: they show a broken engine, not how good a sound one is."""


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """Differences of two backends over F frames."""

    num_frames: int
    batches: tuple[int, ...]
    """Sizes in which the frames were run."""
    labels: float
    """Share of all pixels with the same label."""
    worst_labels: float
    """The same of the worst frame."""
    worst_frame: int
    """That frame's number, from 0."""
    pose_median_px: float
    """Largest difference of any entry of an affine, in model pixels: the median over the parts seen."""
    pose_p99_px: float
    """The same of the 99th percentile."""
    pose_px: float
    """The largest."""
    score: float
    """The largest."""

    def problem(self, tolerance: Tolerance, input_hw: tuple[int, int]) -> str | None:
        """What is beyond the tolerance, in one line; None if nothing is. nan is beyond any."""
        allowed_px = tolerance.pose_px * max(input_hw) / 128
        poses_agree = self.pose_p99_px <= allowed_px and self.pose_px <= FAR * allowed_px
        if self.worst_labels >= tolerance.labels and poses_agree and self.score <= tolerance.score:
            return None
        return (
            f"{self.describe()}; allowed are {tolerance.labels:.1%} of pixels, "
            f"{allowed_px:.3g} px ({FAR * allowed_px:.3g} at worst) and {tolerance.score:g}"
        )

    def describe(self) -> str:
        return (
            f"on {self.num_frames} frames labels agree on {self.labels:.3%} of pixels "
            f"(of frame {self.worst_frame}, the worst, {self.worst_labels:.3%}), "
            f"99 % of poses within {self.pose_p99_px:.2g} px "
            f"(median {self.pose_median_px:.2g}, worst {self.pose_px:.3g}), scores within {self.score:.2g}"
        )


def compare(
    wanted: Backend, got: Backend, spec: ModelSpec, frames: ByteArray, batches: Sequence[int] = (1,)
) -> Agreement:
    """Run (F, H, W, 3) uint8 frames through both; `got` in batches of each of the sizes, `wanted` one by one.

    Raises ModelError when one of them fails or gives other shapes.
    """
    truth = _run(wanted, frames, 1)
    equal = np.ones(len(frames))
    poses: list[FloatArray] = []
    score = 0.0
    for size in dict.fromkeys(batches):
        said = _run(got, frames, size)
        if [x.shape for x in said[:3]] != [x.shape for x in truth[:3]]:
            raise ModelError(f"{spec.name}: in batches of {size} the outputs have other shapes")
        equal = np.minimum(equal, (truth.labels == said.labels).mean((1, 2)))
        poses.append(pose_errors(truth, said, spec))
        score = max(score, float(np.abs(truth.scores - said.scores).max()))
    errors = np.concatenate(poses)
    return Agreement(
        num_frames=len(frames),
        batches=tuple(dict.fromkeys(batches)),
        labels=float(equal.mean()),
        worst_labels=float(equal.min()),
        worst_frame=int(equal.argmin()),
        pose_median_px=float(np.median(errors)) if errors.size else 0.0,
        pose_p99_px=float(np.quantile(errors, 0.99)) if errors.size else 0.0,
        pose_px=float(errors.max(initial=0.0)),
        score=score,
    )


def pose_errors(wanted: Outputs, got: Outputs, spec: ModelSpec) -> FloatArray:
    """(P,) largest difference of any entry of the affines, in model pixels, of each part that both see; where a
    part owns no pixel its pose means nothing, and its score tells."""
    height, width = spec.input_hw
    half = np.array([[width / 2], [height / 2]], np.float32)
    one, other = wanted.affines * half, got.affines * half
    straight: FloatArray = np.abs(one - other).max((2, 3))
    there = (wanted.scores > 0) & (got.scores > 0)
    if spec.method != "scops":
        return straight[there]
    turned = np.concatenate([-other[..., :2], other[..., 2:]], axis=-1)
    nearer: FloatArray = np.minimum(straight, np.abs(one - turned).max((2, 3)))
    return nearer[there & _same_pixels(wanted, got, spec.num_parts)]


def _same_pixels(wanted: Outputs, got: Outputs, num_parts: int) -> NDArray[np.bool_]:
    """(N, K) whether both give a part the same pixels."""
    parts = np.arange(1, num_parts + 1)[:, None, None]
    same: NDArray[np.bool_] = ((wanted.labels[:, None] == parts) == (got.labels[:, None] == parts)).all((2, 3))
    return same


def _run(backend: Backend, frames: ByteArray, size: int) -> Outputs:
    batches = [backend.run(frames[start : start + size]) for start in range(0, len(frames), size)]
    labels, affines, scores = (np.concatenate([batch[index] for batch in batches]) for index in range(3))
    if not (np.isfinite(affines).all() and np.isfinite(scores).all()):
        raise ModelError(f"{backend.name} gave numbers that are not finite")
    return Outputs(labels, affines, scores)
