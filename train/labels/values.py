"""Values returned by every label reader, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray, FloatArray, require_shape
from streamparts.errors import StreampartsError

Truth = str
"""Origin of labels: TRUE, or `pseudo(...)`."""
TRUE: Truth = "true"
"""Exact, or annotated by people."""


def pseudo(whose: str) -> Truth:
    """Name the origin of another detector's output."""
    return f"pseudo: {whose}"


class LabelsError(StreampartsError):
    """Raised for labels or images that are missing, damaged, or not of the expected kind."""


@dataclass(frozen=True, slots=True)
class LabelledFrame:
    """An image and its ground truth; None for what the set lacks."""

    image: ByteArray
    """(H, W, 3) RGB."""
    clip: int
    """Frames of one clip share it, in temporal order; a still has its own."""
    landmarks: FloatArray | None = None
    """(L, 2) x, y in continuous pixels, nan where missing."""
    mask: NDArray[np.bool_] | None = None
    """(H, W) subject mask."""
    labels: ByteArray | None = None
    """(H, W) 0 is background, t + 1 is true part t."""
    affines: FloatArray | None = None
    """(T, 2, 3) canonical -> pixels, of whole parts."""
    visible_fraction: FloatArray | None = None
    """(T,) in [0, 1], with `affines`."""
    index: int = 0
    """Frame number in its clip, as counted by the runtime."""

    def __post_init__(self) -> None:
        require_shape("image", self.image, (None, None, 3))
        hw = self.image.shape[:2]
        wanted = {"landmarks": (None, 2), "mask": hw, "labels": hw, "affines": (None, 2, 3)}
        for name, shape in wanted.items():
            if (value := getattr(self, name)) is not None:
                require_shape(name, value, shape)

    @property
    def foreground(self) -> NDArray[np.bool_] | None:
        """(H, W) subject mask, from the mask or the parts."""
        if self.mask is None and self.labels is not None:
            return np.asarray(self.labels > 0)
        return self.mask


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """Labelled frames, read during iteration, which can be repeated."""

    name: str
    """Name in the report."""
    truth: Truth
    num_frames: int
    read: Callable[[], Iterator[LabelledFrame]]
    """All frames in order, clip by clip."""
    landmark_names: tuple[str, ...] = ()
    part_names: tuple[str, ...] = ()
    consecutive: bool = False
    """True if no frame is left out within a clip, so that metrics over time make sense."""
    sources: tuple[Path, ...] = ()
    """For each clip, its video, image or folder of images; () if there is no such file."""
    subjects: int = 1
    """Number of subjects; the landmarks list one subject after another, with equally many each."""


def set_name(kind: str, path: Path) -> str:
    """Kind and last two names of the path, enough to distinguish sets."""
    return f"{kind}:{'/'.join(path.absolute().parts[-2:])}"
