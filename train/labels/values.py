"""What every label reader gives, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray, FloatArray, require_shape
from streamparts.errors import StreampartsError

Truth = str
"""TRUE, or `pseudo(...)`: where the labels come from."""
TRUE: Truth = "true"
"""Exact, or drawn by people."""


def pseudo(whose: str) -> Truth:
    """Another detector's output."""
    return f"pseudo: {whose}"


class LabelsError(StreampartsError):
    """Labels or their pictures are missing, damaged, or of another form than their kind says."""


@dataclass(frozen=True, slots=True)
class LabelledFrame:
    """A picture and what is known of it; None is what the set does not know."""

    image: ByteArray
    """(H, W, 3) RGB."""
    clip: int
    """Frames of one clip share it, in order of time; a still has one of its own."""
    landmarks: FloatArray | None = None
    """(L, 2) x, y in continuous pixels, nan where missing."""
    mask: NDArray[np.bool_] | None = None
    """(H, W) the subject."""
    labels: ByteArray | None = None
    """(H, W) 0 is background, t + 1 is true part t."""
    affines: FloatArray | None = None
    """(T, 2, 3) canonical -> pixels, of whole parts."""
    visible_fraction: FloatArray | None = None
    """(T,) in [0, 1], with `affines`."""
    index: int = 0
    """Number of the frame in its clip, as the runtime counts it."""

    def __post_init__(self) -> None:
        require_shape("image", self.image, (None, None, 3))
        hw = self.image.shape[:2]
        wanted = {"landmarks": (None, 2), "mask": hw, "labels": hw, "affines": (None, 2, 3)}
        for name, shape in wanted.items():
            if (value := getattr(self, name)) is not None:
                require_shape(name, value, shape)

    @property
    def foreground(self) -> NDArray[np.bool_] | None:
        """(H, W) the subject, from the mask or the parts."""
        if self.mask is None and self.labels is not None:
            return np.asarray(self.labels > 0)
        return self.mask


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """Labelled frames, read when they are iterated; as often as one likes."""

    name: str
    """As in the report."""
    truth: Truth
    num_frames: int
    read: Callable[[], Iterator[LabelledFrame]]
    """All frames in order, clip by clip."""
    landmark_names: tuple[str, ...] = ()
    part_names: tuple[str, ...] = ()
    consecutive: bool = False
    """Whether no frame is left out within a clip, so that metrics over time make sense."""
    sources: tuple[Path, ...] = ()
    """By clip, the video, picture or folder of pictures that it is; () where there is no such file."""
    subjects: int = 1
    """The landmarks are of so many subjects, one after another, with equally many each."""


def set_name(kind: str, path: Path) -> str:
    """The kind and the last two names of the path, enough to tell sets apart."""
    return f"{kind}:{'/'.join(path.absolute().parts[-2:])}"
