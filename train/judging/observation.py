"""One pass over labelled frames and the parts found in them, which gives the input of all metrics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import FloatArray

from ..labels.values import LabelledFrame
from .found import FoundParts
from .keypoints import labels_under
from .metrics import Confusion, soft_iou
from .ridge import silhouette_features

SEEN = 0.5
"""A true part counts for pose and identity if more than this share of it is visible."""


@dataclass(frozen=True)
class Observed:
    """Input of all metrics for F frames; None for what the set lacks."""

    clips: NDArray[np.int64]
    """(F,)"""
    sizes_wh: NDArray[np.float64]
    """(F, 2) sizes of the frames in pixels."""
    hard_centers: FloatArray
    """(F, K, 2) pixels, see FoundParts."""
    soft_centers: FloatArray | None
    """The same from soft masks, if available."""
    found_affines: FloatArray
    """(F, K, 2, 3) pixels."""
    landmarks: FloatArray | None
    """(F, L, 2) pixels."""
    under: NDArray[np.int64] | None
    """(F, L) the found label under each landmark, see `labels_under`."""
    silhouettes: dict[str, NDArray[np.float64] | None]
    """(F, 5) features of the true subject and of all found parts together, see `silhouette_features`."""
    true_affines: FloatArray | None
    """(F, T, 2, 3) pixels."""
    seen: NDArray[np.bool_] | None
    """(F, T) with `true_affines`."""
    foreground: Confusion | None
    """The subject as a single true part."""
    foreground_ious: tuple[tuple[float, float | None], ...]
    """(F,) foreground IoU of each frame, without and with the rule of 0.8."""
    parts: Confusion | None
    best_found: NDArray[np.int64] | None
    """(F, T) the found part with the largest overlap, -1 if none."""


def observe(pairs: Iterable[tuple[LabelledFrame, FoundParts]], num_true: int) -> Observed:
    """Evaluate each frame as it comes; images are not kept. Raises ValueError without any frame."""
    rows = [_Row.of(frame, found, num_true) for frame, found in pairs]
    if not rows:
        raise ValueError("no frame to evaluate")
    parts = [row.parts for row in rows if row.parts]
    foreground = [row.foreground for row in rows if row.foreground]
    return Observed(
        clips=np.array([row.clip for row in rows]),
        sizes_wh=np.array([row.size_wh for row in rows], np.float64),
        hard_centers=np.stack([row.hard_centers for row in rows]),
        soft_centers=_stacked([row.soft_centers for row in rows]),
        found_affines=np.stack([row.found_affines for row in rows]),
        landmarks=_stacked([row.landmarks for row in rows]),
        under=_stacked([row.under for row in rows]),
        silhouettes={
            "true": _stacked([row.true_silhouette for row in rows]),
            "found": _stacked([row.found_silhouette for row in rows]),
        },
        true_affines=_stacked([row.true_affines for row in rows]),
        seen=_stacked([row.seen for row in rows]),
        foreground=reduce(add, foreground) if foreground else None,
        foreground_ious=tuple(row.foreground_iou for row in rows if row.foreground_iou),
        parts=reduce(add, parts) if parts else None,
        best_found=np.stack([counts.best_found() for counts in parts]) if parts else None,
    )


def _stacked(values: list[Any]) -> Any:
    return None if any(value is None for value in values) else np.stack(values)


@dataclass(frozen=True, slots=True)
class _Row:
    """One frame of Observed."""

    clip: int
    size_wh: tuple[int, int]
    hard_centers: FloatArray
    soft_centers: FloatArray | None
    found_affines: FloatArray
    landmarks: FloatArray | None
    under: NDArray[np.int64] | None
    true_silhouette: NDArray[np.float64] | None
    found_silhouette: NDArray[np.float64]
    true_affines: FloatArray | None
    seen: NDArray[np.bool_] | None
    foreground: Confusion | None
    foreground_iou: tuple[float, float | None] | None
    parts: Confusion | None

    @classmethod
    def of(cls, frame: LabelledFrame, found: FoundParts, num_true: int) -> _Row:
        subject, num_found, labels = frame.foreground, len(found.affines), found.labels_at_frame()
        counts: Confusion | None = None
        parts: Confusion | None = None
        if subject is not None:
            counts = Confusion.of(subject.astype(np.uint8), labels, 1, num_found)
        if frame.labels is not None:
            parts = Confusion.of(frame.labels, labels, num_true, num_found)
        return cls(
            clip=frame.clip,
            size_wh=(frame.image.shape[1], frame.image.shape[0]),
            hard_centers=found.hard_centers(),
            soft_centers=found.soft_centers(),
            found_affines=found.affines,
            landmarks=frame.landmarks,
            under=None if frame.landmarks is None else labels_under(labels, frame.landmarks),
            true_silhouette=None if subject is None else silhouette_features(subject),
            found_silhouette=silhouette_features(found.labels > 0),
            true_affines=frame.affines,
            seen=None if frame.visible_fraction is None else frame.visible_fraction > SEEN,
            foreground=counts,
            foreground_iou=None if subject is None else _foreground_iou(subject, found),
            parts=parts,
        )


def _foreground_iou(subject: NDArray[np.bool_], found: FoundParts) -> tuple[float, float | None]:
    uncertain = found.uncertain_foreground()
    return soft_iou(subject, found.foreground()), None if uncertain is None else soft_iou(subject, uncertain)
