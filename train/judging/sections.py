"""Sections of the report, computed from the observations of a set."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..labels.values import EvaluationSet
from .keypoints import keypoints_section
from .landmarks import SIDE, LandmarkScore, Normaliser, score_landmarks
from .metrics import (
    Confusion,
    adjusted_rand_index,
    angle_errors,
    center_errors,
    identity_switches,
    log_scale_errors,
    normalised_mutual_information,
    rest_jitter,
    without_offset,
)
from .observation import Observed
from .ridge import ridge_section

REST = 0.002
"""A part is at rest while its true centre moves by less than this share of the longer side per frame."""

Section = dict[str, Any]
"""A section of the report: names and figures, as written to JSON."""


def foreground_section(observed: Observed) -> Section | None:
    """`iou` counts the pixels of all frames together, from hard labels; `iou_mean` is the papers' mean over frames,
    from masks upscaled bilinearly (here to the frame's size, there to 256), without and with the rule of 0.8. `nmi` and
    `ari` compare subject and background with the union of the parts and the rest, over all pixels."""
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
    """Errors of the poses of matched parts, over frames in which they are visible: mean absolute values.

    `steady_angle_degrees` excludes each part's constant rotation, because the choice of a part's first axis is
    arbitrary.
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
    """Jitter of the poses' centres at rest, and identity switches; only for consecutive frames."""
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
    """Scores from the centres of hard masks, of soft masks if available, of the poses, and from the constant."""
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


def ridge_of(observed: Observed) -> Section | None:
    """The same landmarks by ridge regression, see ridge.py; with the silhouettes as baselines."""
    if observed.landmarks is None:
        return None
    to_256 = SIDE / observed.sizes_wh[:, None]
    centers = {"hard": observed.hard_centers, "soft": observed.soft_centers, "affine": observed.found_affines[..., 2]}
    features = {
        name: None if x is None else (x * to_256).reshape(len(x), -1).astype(np.float64) for name, x in centers.items()
    }
    features |= {f"silhouette_{whose}": values for whose, values in observed.silhouettes.items()}
    return ridge_section(features, observed.landmarks.astype(np.float64), observed.sizes_wh, observed.clips)


def report(
    labelled: EvaluationSet,
    observed: Observed,
    scores: dict[str, LandmarkScore],
    fit: NDArray[np.bool_],
    found_names: tuple[str, ...],
) -> Section:
    """Return all sections of a set; those without ground truth are None. `found_names` (K,) are the model's parts."""
    names = labelled.landmark_names
    if observed.landmarks is not None and not names:
        names = tuple(str(number) for number in range(observed.landmarks.shape[1]))
    return {
        "truth": labelled.truth,
        "frames": len(observed.clips),
        "clips": len(np.unique(observed.clips)),
        "foreground": foreground_section(observed),
        "parts": parts_section(observed, labelled.part_names),
        "keypoints": None
        if observed.under is None
        else keypoints_section(observed.under, observed.clips, names, found_names),
        "ridge": ridge_of(observed),
        "landmarks": landmarks_section(observed, scores, fit),
        "pose": pose_section(observed),
        "time": time_section(observed) if labelled.consecutive else None,
    }
