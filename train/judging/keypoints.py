"""Keypoint metrics of the later literature (Choudhury et al. 2021): do the found parts distinguish keypoints, and with
named parts, is each keypoint on its own part?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray, require_shape

from ..labels.body_points import COCO_17, LIMBS, body_groups, joint_of, own_parts
from .metrics import adjusted_rand_index, normalised_mutual_information

Section = dict[str, Any]
Indices = NDArray[np.int64]

NOTHING = -1
"""Value for a keypoint that is not labelled, or outside the image."""


def labels_under(labels: ByteArray, points: NDArray[np.floating]) -> Indices:
    """Return (L,) the values of `labels` (H, W) at `points` (L, 2), continuous pixels of the same image."""
    require_shape("points", points, (None, 2))
    height, width = labels.shape
    known = np.isfinite(points).all(1)
    x, y = np.floor(np.where(known[:, None], points, -1)).astype(np.int64).T
    inside = known & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    under = labels[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)].astype(np.int64)
    return np.where(inside, under, NOTHING)


def keypoint_table(under: Indices, identities: Indices, num_found: int) -> Indices:
    """Count (I, 1 + K) how often a keypoint of each identity lies on each label; `under` (F, L) is from `labels_under`,
    `identities` (L,) start at 0."""
    counts = np.zeros((int(identities.max(initial=-1)) + 1, num_found + 1), np.int64)
    counted = under != NOTHING
    np.add.at(counts, (np.broadcast_to(identities, under.shape)[counted], under[counted]), 1)
    return counts


def agreement(counts: Indices) -> Section:
    """Compute NMI and ARI of keypoint identities and labels: over keypoints on the found foreground, and over all, with
    the background as another label. None if no keypoint is left; never nan."""
    inside = counts[:, 1:]
    return {
        "nmi": normalised_mutual_information(inside) if inside.sum() else None,
        "ari": adjusted_rand_index(inside) if inside.sum() > 1 else None,
        "nmi_all": normalised_mutual_information(counts) if counts.sum() else None,
        "ari_all": adjusted_rand_index(counts) if counts.sum() > 1 else None,
    }


def keypoints_section(under: Indices, clips: Indices, points: Sequence[str], parts: Sequence[str]) -> Section | None:
    """Compute all figures of `under` (F, L); `points` (L,) and `parts` (K,) are names. None without a keypoint in any
    image.

    `inside` is the share of keypoints on the found foreground. For body keypoints, `groups` and `joined` are the same
    figures for 13 groups, and for 7 without sides; with a person's parts, `own` is the share of all keypoints on their
    own part, see `own_section`.
    """
    if not (under != NOTHING).any():
        return None
    counts = keypoint_table(under, np.arange(under.shape[1]), len(parts))
    grouped = {
        name: agreement(keypoint_table(under, numbered(groups), len(parts)))
        for name, sides in (("groups", True), ("joined", False))
        if (groups := body_groups(points, sides=sides)) is not None
    }
    return {
        "count": int(counts.sum()),
        "inside": float(counts[:, 1:].sum() / counts.sum()),
        **agreement(counts),
        **grouped,
        "own": own_section(under, clips, points, parts),
    }


def numbered(names: Sequence[str]) -> Indices:
    """Return (L,) a number for each name, equal for equal names, from 0 in order of appearance."""
    order = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([order[name] for name in names], np.int64)


def own_section(under: Indices, clips: Indices, points: Sequence[str], parts: Sequence[str]) -> Section | None:
    """Compute the share of keypoints on their own part, with left and right merged and separate: of all, of arms and
    legs only, and by joint. Only COCO's seventeen keypoints count, which all detectors have, so that the five of a hand
    do not outweigh its elbow. A keypoint on the background counts as wrong.

    `sides_right` is the share with the right side, among the keypoints of arms and legs that are right apart from their
    side; `sides_right_clipwise` allows left and right to be swapped for each clip as a whole. None for other parts.
    """
    apart, joined = (own_parts(points, parts, sides=sides) for sides in (True, False))
    if apart is None or joined is None:
        return None
    column = np.arange(under.shape[1])
    right = {"joined": joined[column, under], "apart": apart[column, under]}
    counted = (under != NOTHING) & np.isin(points, COCO_17)
    joints = np.array([str(joint_of(point)) for point in points])
    limbs = counted & np.isin(joints, LIMBS)
    halves = limbs & right["joined"]
    return {
        **{name: _share(hit, counted) for name, hit in right.items()},
        "limbs": {name: _share(hit, limbs) for name, hit in right.items()},
        "joints": {
            joint: {name: _share(hit, counted & (joints == joint)) for name, hit in right.items()}
            for joint in dict.fromkeys(joints.tolist())
        },
        "sides_right": _share(right["apart"], halves),
        "sides_right_clipwise": _clipwise(right["apart"], halves, clips),
    }


def _share(hit: NDArray[np.bool_], counted: NDArray[np.bool_]) -> float | None:
    total = int(counted.sum())
    return float((hit & counted).sum() / total) if total else None


def _clipwise(hit: NDArray[np.bool_], counted: NDArray[np.bool_], clips: Indices) -> float | None:
    """As `_share`, but each clip counts its hits or its misses, whichever are more."""
    total = int(counted.sum())
    if not total:
        return None
    hits = [int((hit & counted)[clips == clip].sum()) for clip in np.unique(clips)]
    sizes = [int(counted[clips == clip].sum()) for clip in np.unique(clips)]
    return sum(max(n, size - n) for n, size in zip(hits, sizes, strict=True)) / total
