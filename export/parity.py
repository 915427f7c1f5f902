"""Does the exported graph say what the network says? Both run on the same real frames.

The poses of method "scops" are read from the labels, and their axes have no direction. So there a part's pose is
compared up to half a turn, and where both give the part the very same pixels: one pixel more in a part of two is
another pose by right, and MAX_LABEL_MISMATCH judges it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.bundle import Bundle
from streamparts.data import ByteArray, FloatArray
from streamparts.errors import ModelError, VideoError
from streamparts.segment import PartSegmenter
from streamparts.sources import open_source

MAX_LABEL_MISMATCH = 1e-3
"""Share of a frame's pixels that may carry another label."""
MAX_POSE_ERROR_PX = 0.05
"""Largest difference of any entry of an affine, in model pixels."""
MAX_SCORE_ERROR = 1e-3


@dataclass(frozen=True)
class Parity:
    """Worst differences between network and graph over F frames."""

    num_frames: int
    label_mismatch: float
    """Share of pixels, of the worst frame."""
    pose_error_px: float
    """Model pixels."""
    score_error: float
    worst_frame: int
    """The frame, counted from 0, that differs most in its labels."""

    def require(self) -> None:
        """Raises ModelError beyond the tolerances."""
        limits = (MAX_LABEL_MISMATCH, MAX_POSE_ERROR_PX, MAX_SCORE_ERROR)
        got = (self.label_mismatch, self.pose_error_px, self.score_error)
        if not all(value <= limit for value, limit in zip(got, limits, strict=True)):
            raise ModelError(
                f"the exported graph differs from the network (worst frame {self.worst_frame}): labels "
                f"{got[0]:.2e} of pixels, poses {got[1]:.2e} px, scores {got[2]:.2e}; allowed are {limits}. "
                "Nothing was written"
            )


def collect_frames(videos: Sequence[Path], bundle: Bundle, num_frames: int) -> NDArray[np.uint8]:
    """(F, H, W, 3) frames as the runtime prepares them, from the beginnings, middles and ends of videos, unreadable
    ones left out; all-black and all-white ones besides. Raises VideoError when no video can be read."""
    images: list[ByteArray] = []
    share = -(-num_frames // max(1, len(videos)))
    segmenter = PartSegmenter(bundle, OnnxRuntimeBackend(bundle))
    for video in videos:
        if len(images) >= num_frames:
            break
        with suppress(VideoError), open_source(str(video)) as source:
            every = max(1, (source.num_frames or share) // share)
            images += [segmenter.prepare(frame).image for frame in source if frame.index % every == 0][:share]
    if not images:
        raise VideoError("no frames to compare on; name a video or a folder of videos with --frames")
    plain = [np.full_like(images[0], value) for value in (0, 255)]
    return np.stack([*images[:num_frames], *plain])


@torch.no_grad()
def compare(network: nn.Module, bundle: Bundle, frames: NDArray[np.uint8], batches: Sequence[int] = (1, 3)) -> Parity:
    """Run `network` and the bundle's graph on (F, H, W, 3) frames, in batches of each of the given sizes."""
    backend = OnnxRuntimeBackend(bundle)
    height, width = bundle.spec.input_hw
    half = np.array([[width / 2], [height / 2]], np.float32)
    from_labels = bundle.spec.method == "scops"
    mismatch = np.zeros(len(frames))
    pose = score = 0.0
    for size in batches:
        for start in range(0, len(frames), size):
            rows = slice(start, start + size)
            wanted = [x.numpy() for x in network(torch.from_numpy(frames[rows]))]
            got = backend.run(frames[rows])
            mismatch[rows] = np.maximum(mismatch[rows], (wanted[0] != got[0]).mean((1, 2)))
            differences = pose_differences(wanted[1] * half, got[1] * half, from_labels)
            if from_labels:
                differences = differences[same_pixels(wanted[0], got[0], bundle.spec.num_parts)]
            pose = max(pose, float(differences.max(initial=0.0)))
            score = max(score, float(np.abs(wanted[2] - got[2]).max()))
    return Parity(len(frames), float(mismatch.max()), pose, score, int(mismatch.argmax()))


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
