"""One pass over labelled frames and what was found in them, and the sections of the report that follow from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamparts.data import FloatArray
from train.finding import Found
from train.labels.values import EvaluationSet, LabelledFrame
from train.landmarks import LandmarkScore, Normaliser, score_landmarks
from train.metrics import (
    Confusion,
    adjusted_rand_index,
    angle_errors,
    center_errors,
    identity_switches,
    log_scale_errors,
    normalised_mutual_information,
    rest_jitter,
    soft_iou,
    without_offset,
)

SEEN = 0.5
"""A true part counts in pose and identity where more than this share of it is visible."""
REST = 0.002
"""A part rests while its true centre moves by less than this share of the longer side from frame to frame."""

Section = dict[str, Any]
"""A part of the report: names and figures, as they go into JSON."""


@dataclass(frozen=True)
class Observed:
    """All that the metrics need of F frames; None is what the set does not know."""

    clips: NDArray[np.int64]
    """(F,)"""
    sizes_wh: NDArray[np.float64]
    """(F, 2) of the frames in pixels."""
    hard_centers: FloatArray
    """(F, K, 2) pixels, see Found."""
    soft_centers: FloatArray | None
    """The same from soft masks, where the network tells them."""
    found_affines: FloatArray
    """(F, K, 2, 3) pixels."""
    landmarks: FloatArray | None
    """(F, L, 2) pixels."""
    true_affines: FloatArray | None
    """(F, T, 2, 3) pixels."""
    seen: NDArray[np.bool_] | None
    """(F, T) with `true_affines`."""
    foreground: Confusion | None
    """The subject as one true part."""
    foreground_ious: tuple[tuple[float, float | None], ...]
    """(F,) of each frame, without and with the rule of 0.8."""
    parts: Confusion | None
    best_found: NDArray[np.int64] | None
    """(F, T) the found part that overlaps most, -1 without one."""


def observe(pairs: Iterable[tuple[LabelledFrame, Found]], num_true: int) -> Observed:
    """Reduce each frame as it comes; pictures are not kept. Raises ValueError without any frame."""
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
    true_affines: FloatArray | None
    seen: NDArray[np.bool_] | None
    foreground: Confusion | None
    foreground_iou: tuple[float, float | None] | None
    parts: Confusion | None

    @classmethod
    def of(cls, frame: LabelledFrame, found: Found, num_true: int) -> _Row:
        subject, num_found = frame.foreground, len(found.affines)
        counts: Confusion | None = None
        parts: Confusion | None = None
        if subject is not None:
            counts = Confusion.of(subject.astype(np.uint8), found.labels_at_frame(), 1, num_found)
        if frame.labels is not None:
            parts = Confusion.of(frame.labels, found.labels_at_frame(), num_true, num_found)
        return cls(
            clip=frame.clip,
            size_wh=(frame.image.shape[1], frame.image.shape[0]),
            hard_centers=found.hard_centers(),
            soft_centers=found.soft_centers(),
            found_affines=found.affines,
            landmarks=frame.landmarks,
            true_affines=frame.affines,
            seen=None if frame.visible_fraction is None else frame.visible_fraction > SEEN,
            foreground=counts,
            foreground_iou=None if subject is None else _foreground_iou(subject, found),
            parts=parts,
        )


def _foreground_iou(subject: NDArray[np.bool_], found: Found) -> tuple[float, float | None]:
    uncertain = found.uncertain_foreground()
    return soft_iou(subject, found.foreground()), None if uncertain is None else soft_iou(subject, uncertain)


def foreground_section(observed: Observed) -> Section | None:
    """`iou` counts the pixels of all frames together, from hard labels; `iou_mean` is the papers' mean over frames,
    from masks scaled up bilinearly (here to the frame's size, there to 256), without and with the rule of 0.8. `nmi`
    and `ari` compare subject and background with the union of the parts and what is left, over all pixels."""
    if observed.foreground is None:
        return None
    plain, certain = zip(*observed.foreground_ious, strict=True)
    counts = observed.foreground.counts
    union = Confusion(np.stack([counts[:, 0], counts[:, 1:].sum(axis=1)], axis=1))
    return {
        "iou": observed.foreground.foreground_iou(),
        "iou_mean": float(np.mean(plain)),
        "iou_mean_08": None if None in certain else float(np.mean(certain)),
        "nmi": union.nmi(),
        "ari": union.ari(),
    }


def parts_section(observed: Observed, names: tuple[str, ...]) -> Section | None:
    """Agreement of labels; `nmi` and `ari` over all pixels, the `foreground_` ones over those of the true subject."""
    if (confusion := observed.parts) is None:
        return None
    subject = confusion.counts[1:]
    ious, merged = confusion.part_ious(), confusion.merged_ious()
    return {
        "iou": float(ious.mean()),
        "merged_iou": float(merged.mean()),
        "nmi": confusion.nmi(),
        "ari": confusion.ari(),
        "foreground_nmi": normalised_mutual_information(subject),
        "foreground_ari": adjusted_rand_index(subject),
        "iou_each": dict(zip(names, ious.tolist(), strict=True)),
        "matched_part": dict(zip(names, confusion.match().tolist(), strict=True)),
    }


def pose_section(observed: Observed) -> Section | None:
    """Errors of the poses of matched parts, over frames in which they are seen: mean absolute values.

    `steady_angle_degrees` is what is left when each part's constant turn is taken away: what a part calls its first
    axis is its own choice.
    """
    truth, seen, confusion = observed.true_affines, observed.seen, observed.parts
    if truth is None or seen is None or confusion is None:
        return None
    match = confusion.match()
    matched = match >= 0
    true_matched, found_matched = truth[:, matched], observed.found_affines[:, match[matched]]
    seen_matched, longer = seen[:, matched], observed.sizes_wh.max(1)
    to_sides = (2 / longer).astype(np.float32)[:, None, None]
    errors = center_errors(truth[..., 2] * to_sides, observed.found_affines[..., 2] * to_sides, match, seen)
    px = np.linalg.norm(true_matched[..., 2] - found_matched[..., 2], axis=-1)[seen_matched]
    angles, scales = angle_errors(true_matched, found_matched), log_scale_errors(true_matched, found_matched)
    steady = [without_offset(angles[seen_matched[:, t], t]) for t in range(angles.shape[1])]
    return {
        "center_share": _mean(errors),
        "center_share_median": float(np.median(errors)) if len(errors) else None,
        "center_px": _mean(px),
        "angle_degrees": _mean(np.abs(angles[seen_matched])),
        "steady_angle_degrees": _mean(np.abs(np.concatenate(steady))) if steady else None,
        "log_scale": _mean(np.abs(scales[seen_matched])),
    }


def _mean(values: NDArray[np.floating]) -> float | None:
    return float(values.mean()) if values.size else None


def time_section(observed: Observed) -> Section | None:
    """Jitter of the poses' centres at rest, and switches of identity. For consecutive frames only."""
    truth, seen, confusion = observed.true_affines, observed.seen, observed.parts
    if truth is None or seen is None or confusion is None or observed.best_found is None:
        return None
    jitters: list[float] = []
    for t, k in enumerate(confusion.match().tolist()):
        for clip in np.unique(observed.clips) if k >= 0 else []:
            rows = observed.clips == clip
            true_centers = np.where(seen[rows, t, None], truth[rows, t, :, 2], np.float32(np.nan))
            threshold = REST * float(observed.sizes_wh[rows].max())
            jitters += rest_jitter(true_centers, observed.found_affines[rows, k, :, 2], threshold)
    best = np.where(seen, observed.best_found, -1)
    switches, chances = identity_switches(best, observed.clips)
    num_steps = int((observed.clips[1:] == observed.clips[:-1]).sum())
    return {
        "jitter_px": float(np.mean(jitters)) if jitters else None,
        "rest_stretches": len(jitters),
        "switches": switches,
        "switch_chances": chances,
        "switches_per_10000_frames": 10_000 * switches / num_steps if num_steps else None,
    }


def landmark_scores(
    observed: Observed, fit: NDArray[np.bool_], normaliser: Normaliser | None = None
) -> dict[str, LandmarkScore]:
    """From the centres of hard masks, of soft masks where there are any, from those of the poses, and from nothing."""
    if observed.landmarks is None:
        return {}
    soft = {} if observed.soft_centers is None else {"soft": observed.soft_centers}
    features = {"hard": observed.hard_centers, **soft, "affine": observed.found_affines[..., 2], "constant": None}
    landmarks = observed.landmarks.astype(np.float64)
    return {
        name: score_landmarks(
            None if x is None else x.astype(np.float64), landmarks, observed.sizes_wh, fit, normaliser
        )
        for name, x in features.items()
    }


def landmarks_section(observed: Observed, scores: dict[str, LandmarkScore], fit: NDArray[np.bool_]) -> Section | None:
    if observed.landmarks is None:
        return None
    split = {"fit_frames": int(fit.sum()), "test_frames": int((~fit).sum())}
    size = {"num_landmarks": observed.landmarks.shape[1], "num_features": 2 * observed.hard_centers.shape[1]}
    return {**split, **size, **{name: asdict(score.errors) for name, score in scores.items()}}


def report(
    labelled: EvaluationSet, observed: Observed, scores: dict[str, LandmarkScore], fit: NDArray[np.bool_]
) -> Section:
    """All sections of one set; those it has no truth for are None."""
    return {
        "truth": labelled.truth,
        "frames": len(observed.clips),
        "clips": len(np.unique(observed.clips)),
        "foreground": foreground_section(observed),
        "parts": parts_section(observed, labelled.part_names),
        "landmarks": landmarks_section(observed, scores, fit),
        "pose": pose_section(observed),
        "time": time_section(observed) if labelled.consecutive else None,
    }
