"""Groups over-provisioned slots into parts: drops slots that are never visible, joins those that move together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamparts.arrays import FloatArray
from streamparts.geometry import CANONICAL_SIGMAS
from streamparts.models.assembly import PartNetwork
from streamparts.models.groups import PartGroups
from streamparts.models.layers import Affine, compose, warp

from ..frames.clips import ClipFolder
from ..frames.spread import spread
from ..frames.transforms import to_images
from ..terms import losses

MIN_AREA = 0.02
"""Minimum mean share of the subject of a slot that is a part."""
MIN_SEEN = 0.02
"""Minimum share of frames in which a part owns pixels; a thin limb is exempt."""
THIN_AREA, OFTEN_SEEN = 0.006, 0.3
"""Minimum share of the subject, and of frames with pixels, of a thin limb."""
WELD_RESIDUAL = 0.25
"""Two slots are one part if each predicts the other's centre to within this many of its own mean radii."""
WELD_DEGREES = 8.0
"""Two slots are one part if the angle between them varies by less than this."""
NEARLY = 2.0
"""Pairs of parts within these limits times this factor are suggested for merging."""
SHAPE_REACH = 1.6
"""Extent of the search for a part's whole shape around its slot's centre, in canonical units."""
SHAPE_SHARE = 0.1
"""A point belongs to the shape if it is the part's in this share of the frames, relative to the most certain point."""
QUANTILE = 0.8
"""Share of the frames in which both limits must hold: joints may rest for a while, and some poses are outliers."""


@dataclass(frozen=True)
class SlotPoses:
    """The teacher's output for F frames: hard areas and poses of its K slots."""

    areas: FloatArray
    """(F, K) pixels of each slot, as a share of the subject's mean area."""
    affines: FloatArray
    """(F, K, 2, 3)"""


def spread_frames(folder: ClipFolder, num_frames: int) -> NDArray[np.uint8]:
    """Sample (F, S, S, 3) frames evenly over all clips, at least one of each."""
    per_clip = max(1, num_frames // len(folder.clips))
    return np.stack([clip.frames[int(i)] for clip in folder.clips for i in spread(len(clip.frames), per_clip)])


@torch.no_grad()
def observe(teacher: PartNetwork, frames: NDArray[np.uint8], gate: float, batch: int = 16) -> SlotPoses:
    """Run the teacher over frames (F, S, S, 3)."""
    areas, affines = [], []
    device = next(teacher.parameters()).device
    for start in range(0, len(frames), batch):
        masks, affine = teacher(to_images(torch.from_numpy(frames[start : start + batch]).to(device)), gate)
        # (B, S, S, 1 + K)
        owned = torch.nn.functional.one_hot(masks.argmax(1), masks.shape[1])
        areas.append(owned.float().mean((1, 2))[:, 1:].cpu().numpy())
        affines.append(affine.matrix().cpu().numpy())
    owned_pixels = np.concatenate(areas)
    subject = max(float(owned_pixels.sum(1).mean()), 1e-9)
    return SlotPoses((owned_pixels / subject).astype(np.float32), np.concatenate(affines))


def living_slots(poses: SlotPoses) -> list[int]:
    """Return the slots that own enough pixels in enough frames, or few pixels in many."""
    areas, seen = poses.areas.mean(0), (poses.areas > MIN_AREA / 4).mean(0)
    living = ((areas > MIN_AREA) & (seen > MIN_SEEN)) | ((areas > THIN_AREA) & (seen > OFTEN_SEEN))
    return np.flatnonzero(living).tolist()


def weld_residual(poses: SlotPoses, i: int, j: int) -> float:
    """Measure how far slots i and j are from being one rigid body; at most 1 counts as welded.

    The result is the larger of two values: the error with which either predicts the other's centre, in units of
    WELD_RESIDUAL mean radii, and the spread of the angle between them, in units of WELD_DEGREES, each at the QUANTILE
    of the frames that show both.
    """
    both = (poses.areas[:, i] > MIN_AREA / 4) & (poses.areas[:, j] > MIN_AREA / 4)
    if both.sum() < 8:
        return float("inf")
    one, other = poses.affines[both, i], poses.affines[both, j]
    # (F,) exp(i angle) between both first axes; its deviation from the circular mean
    turn = _first_axis(one) * _first_axis(other).conj()
    spread = np.degrees(np.quantile(np.abs(np.angle(turn * turn.mean().conj())), QUANTILE))
    error = max(_prediction_error(one, other), _prediction_error(other, one))
    return float(max(error / WELD_RESIDUAL, spread / WELD_DEGREES))


def _first_axis(affines: FloatArray) -> NDArray[np.complex64]:
    """(F,) unit complex numbers along the first canonical axis."""
    axis = affines[:, 0, 0] + 1j * affines[:, 1, 0]
    return np.asarray(axis / np.maximum(np.abs(axis), 1e-9), np.complex64)


def _prediction_error(body: FloatArray, other: FloatArray) -> float:
    """Distance of `other`'s centre from its usual position relative to `body`, with `body` rotated upright, divided by
    the mean radius of `body`."""
    linear = body[:, :, :2]
    # (F, 2, 2) columns are unit axes; the transposed product gives coordinates along them
    upright = linear / np.linalg.norm(linear, axis=1, keepdims=True)
    offset = np.einsum("fji,fj->fi", upright, other[:, :, 2] - body[:, :, 2])
    distance = np.linalg.norm(offset - np.median(offset, axis=0), axis=1)
    # sqrt |det A| is the geometric mean of both radii
    return float(np.quantile(distance, QUANTILE) / np.sqrt(np.abs(np.linalg.det(linear))).mean())


def weld(poses: SlotPoses, slots: list[int]) -> list[list[int]]:
    """Join slots greedily, closest first, as long as every pair inside a group passes."""
    residual = {(i, j): weld_residual(poses, i, j) for i, j in combinations(slots, 2)}
    groups = [[k] for k in slots]
    for i, j in sorted(residual, key=lambda pair: residual[pair]):
        first, second = (next(g for g in groups if k in g) for k in (i, j))
        # complete linkage: slots at both ends of a chain must fit, too
        pairs = [(min(a, b), max(a, b)) for a in first for b in second]
        if first is not second and all(residual[pair] <= 1 for pair in pairs):
            groups.remove(second)
            first.extend(second)
    return groups


def nearly_one(poses: SlotPoses, groups: list[list[int]]) -> list[tuple[int, int, float]]:
    """Return pairs of groups whose leading slots are within NEARLY times the welding limits, closest first."""
    residual = {
        (i, j): weld_residual(poses, groups[i][0], groups[j][0]) for i, j in combinations(range(len(groups)), 2)
    }
    near = [(i, j, round(value, 2)) for (i, j), value in residual.items() if value <= NEARLY]
    return sorted(near, key=lambda pair: pair[2])


@torch.no_grad()
def find_parts(
    teacher: PartNetwork, folder: ClipFolder, gate: float, num_frames: int = 512, *, merge: bool = True
) -> PartGroups:
    """Group the teacher's slots into parts by their motion in the training clips; the largest part first, no part if no
    slot owns any pixel. Without `merge`, each living slot is a part."""
    frames = spread_frames(folder, num_frames)
    poses = observe(teacher, frames, gate)
    areas = poses.areas.mean(0)
    living = living_slots(poses)
    welded = weld(poses, living) if merge else [[k] for k in living]
    groups = [sorted(group, key=lambda k: -areas[k]) for group in welded]
    groups.sort(key=lambda group: -areas[group].sum())
    shapes, scales = whole_shapes(teacher, frames, gate, groups) if groups else ((), ())
    fits = [fit_ellipse(shape, scale) for shape, scale in zip(shapes, scales, strict=True)]
    return PartGroups(
        tuple(tuple(group) for group in groups),
        tuple(fit.offset for fit in fits),
        tuple(fit.angle for fit in fits),
        tuple(fit.ratio for fit in fits),
        tuple(nearly_one(poses, groups)),
    )


class PartFit(NamedTuple):
    """A part's canonical frame within its leading slot's frame; see PartGroups."""

    offset: tuple[float, float] = (0.0, 0.0)
    angle: float = 0.0
    ratio: tuple[float, float] = (1.0, 1.0)


@torch.no_grad()
def whole_shapes(
    teacher: PartNetwork, frames: NDArray[np.uint8], gate: float, groups: list[list[int]], batch: int = 16
) -> tuple[Tensor, Tensor]:
    """(P, S, S) how often each point of the leading slot's canonical plane, x and y up to SHAPE_REACH, belongs to the
    part, over the frames that show the part; and (P, 2) that slot's mean scale. Different clips hide different ends of
    a part; over all of them it is complete."""
    device = next(teacher.parameters()).device
    window = torch.tensor([[SHAPE_REACH, 0.0, 0.0], [0.0, SHAPE_REACH, 0.0]], device=device)
    leaders = [group[0] for group in groups]
    owned, looked, scales, shown = (torch.zeros((), device=device) for _ in range(4))
    for start in range(0, len(frames), batch):
        masks, affine = teacher(to_images(torch.from_numpy(frames[start : start + batch]).to(device)), gate)
        lead = Affine(*(value[:, leaders] for value in affine))
        # (B, P, S, S)
        masks = torch.stack([masks[:, [k + 1 for k in group]].sum(1) for group in groups], dim=1)
        seen = (masks.sum((2, 3)) > 1.0).float()
        # (B, P, 2, S, S): the part's mask, and 1 wherever the image is; outside, sampling gives 0
        both = torch.stack([masks, torch.ones_like(masks)], dim=2)
        part, inside = (warp(both, compose(lead.matrix(), window)) * seen[:, :, None, None, None]).sum(0).unbind(1)
        owned, looked = owned + part, looked + inside
        scales, shown = scales + (lead.scale * seen[..., None]).sum(0), shown + seen.sum(0)[:, None]
    return (owned / looked.clamp(min=1.0)).cpu(), (scales / shown.clamp(min=1.0)).cpu()


def fit_ellipse(shape: Tensor, scale: Tensor) -> PartFit:
    """Fit an ellipse to the points of `shape` (S, S) that belong to the part in at least SHAPE_SHARE as many frames as
    the most certain point; `scale` (2,) is that of the slot whose canonical plane they are in. The first axis of the
    ellipse is the one nearer to the slot's first."""
    whole = (shape > SHAPE_SHARE * shape.max()).float()[None, None]
    mean, covariance, _ = losses.mask_moments(whole)
    # the window's normalised units -> the image's, so that lengths are compared undistorted
    upright = (CANONICAL_SIGMAS * SHAPE_REACH * scale).double().diag()
    values, vectors = torch.linalg.eigh(upright @ covariance[0, 0].double() @ upright)
    first = int(vectors[0].abs().argmax())
    # of the two directions of an axis, the one along the slot's own
    axis = vectors[:, first] * vectors[0, first].sign()
    lengths = values[[first, 1 - first]].clamp(min=1e-8).sqrt() / scale
    x, y = (SHAPE_REACH * mean[0, 0]).tolist()
    return PartFit((x, y), math.atan2(axis[1], axis[0]), (float(lengths[0]), float(lengths[1])))
