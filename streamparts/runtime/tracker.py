"""Tracker: for programs that already have the frames; one call per frame, no threads, no files."""

from __future__ import annotations

import math
import time
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from streamparts.arrays import ByteArray, require_shape
from streamparts.backends.choice import AUTO
from streamparts.bundle.load import Bundle
from streamparts.data import Backend, DeviceImage, Frame, Tracks
from streamparts.meter import StageClock
from streamparts.runtime.options import Network
from streamparts.runtime.pipeline import part_tracker
from streamparts.tracking.looking import FixedTracks, FollowedTracks
from streamparts.tracking.roi import Following, Roi
from streamparts.tracking.segment import PartSegmenter
from streamparts.tracking.skeleton import Skeleton
from streamparts.tracking.skeleton_file import skeleton_for
from streamparts.tracking.smoothing import Smoothing

TIME_BASE = Fraction(1, 1_000_000)
"""Time base of the frames: microseconds."""

_DLPACK_HOST = (1, 3, 11)
"""DLPack's numbers of memory that the host reads: its own, and page-locked for CUDA or ROCm."""
_DLPACK_GPU = (2, 13)
"""DLPack's numbers of CUDA's memory, and of its managed memory."""


@runtime_checkable
class SupportsDlpack(Protocol):
    """An array or tensor that another library can read without a copy."""

    def __dlpack__(self, *, stream: Any = ...) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...


class Tracker:
    """Tracks parts in frames given one by one; use one tracker per camera or video.

    tracker = streamparts.Tracker("arm.onnx")
    tracks = tracker.update(rgb, time.monotonic())
    """

    def __init__(
        self,
        model: str | Path | Bundle | None = None,
        *,
        backend: Backend | str = AUTO,
        threads: int | None = None,
        smoothing: Smoothing | None = None,
        skeleton: Skeleton | str | Path | None = None,
        roi: Roi | None = None,
        subjects: int = 1,
        trust_engine: bool = False,
    ) -> None:
        """Load the model and open its backend.

        Args:
            model: path or name of a model, or a bundle; None is the default model.
            backend: an open Backend, which may serve several trackers, one after the other, or its name; "auto" takes
                the fastest available one.
            threads: threads of a CPU backend given by name.
            smoothing: filters the poses over time and keeps mirrored parts apart; None leaves them unfiltered.
            skeleton: a Skeleton or its file; adds joints and places hidden parts.
            roi: "auto" (as None) follows the subject if the model has one; "off" is the whole frame; left, top, width
                and height in pixels are a fixed region.
            subjects: number of subjects to follow.
            trust_engine: load a TensorRT engine that was not built here: it can run any code.

        Raises ModelError, SkeletonError, BackendError or MissingExtraError.
        """
        network = Network(model, backend, threads, trust_engine)
        bundle = network.load()
        self.names = bundle.spec.parts
        """(K,) names of the parts, in the order of every array."""
        found = skeleton_for(bundle.spec.parts, skeleton)
        following = Following.of(bundle.spec, roi, subjects)
        self._segmenter, self._region = PartSegmenter(bundle, network.open(bundle).backend), following.region
        new_tracker, clock = partial(part_tracker, bundle.spec, smoothing, found), StageClock()
        self._fixed = FixedTracks(self._segmenter, bundle.spec, self._region is not None, new_tracker(), clock)
        self._followed: FollowedTracks | None = None
        if following.num_subjects:
            self._followed = FollowedTracks(self._segmenter, bundle.spec, following.num_subjects, new_tracker, clock)
        self._before: Frame | None = None

    def update(self, image: ByteArray | SupportsDlpack, pts_seconds: float) -> Tracks:
        """Return the tracks of the next frame: (H, W, 3) uint8 RGB as displayed, with its time in seconds on any clock.

        `image` is a numpy array, or a tensor of torch, CuPy or any library with DLPack. One in a GPU's memory is
        resized there, and stays there if the backend is torch's on that GPU and at most one subject is followed; work
        on it must be on the GPU's default stream, or done.

        A frame of another size starts a new segment. Raises ValueError for an invalid array, a time that is not finite
        or not at least a microsecond after the last one, or a region outside the frame; ModelError if the network
        fails: then the next frame may follow as if this one had not been given.
        """
        picture = _as_image(image)
        if isinstance(picture, np.ndarray):
            require_shape("image", picture, (None, None, 3))
        if not math.isfinite(pts_seconds):
            raise ValueError(f"pts_seconds must be finite, got {pts_seconds}")
        if min(picture.shape) < 1:
            raise ValueError(f"image must have pixels, got {picture.shape}")
        if isinstance(picture, np.ndarray) and picture.dtype != "uint8":
            raise ValueError(f"image must be uint8 RGB, got {picture.dtype}")
        before, pts, (height, width) = self._before, round(pts_seconds / TIME_BASE), picture.shape[:2]
        if before and pts <= before.pts:
            raise ValueError(f"times must increase, got {pts_seconds} s after {before.pts_seconds} s")
        segment = 0 if before is None else before.segment + ((before.height, before.width) != (height, width))
        index = 0 if before is None else before.index + 1
        now = time.perf_counter()
        frame = Frame(index, pts, TIME_BASE, picture, 0, height, width, decoded_at=now, segment=segment)
        if self._followed:
            tracks = self._followed.update(frame)
        else:
            tracks = self._fixed.update(self._segmenter.prepare(frame, self._region))
        self._before = frame
        return tracks


def _as_image(image: object) -> ByteArray | DeviceImage:
    """The image as an array, or where it is if that is a GPU. Raises ValueError for anything else."""
    if isinstance(image, np.ndarray):
        return image
    if not isinstance(image, SupportsDlpack):
        raise ValueError(f"image must be an (H, W, 3) uint8 array, got {type(image).__name__}")
    device = int(image.__dlpack_device__()[0])
    if device in _DLPACK_HOST:
        array: ByteArray = np.from_dlpack(image)  # type: ignore[assignment, arg-type, unused-ignore]
        return array
    if device not in _DLPACK_GPU:
        raise ValueError(f"image must be in the memory of the host or of an NVIDIA GPU, got DLPack's device {device}")
    from streamparts.devices import torch_images

    return torch_images.on_device(image)
