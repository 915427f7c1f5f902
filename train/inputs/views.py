"""Training views for a student that follows a subject: the subject in its crop, the search in a whole frame, and places
without it."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from streamparts.models.layers import invert

from ..frames.close_ups import FAR_REACH, NEAR_REACH
from ..frames.transforms import Draws, jitter_colour, similarity, to_images
from .pairs import Views

CLOSE, WIDE, EMPTY = 0, 1, 2
"""Kinds of views: the subject in its crop, small in its surroundings, and absent."""
WIDE_SHARE, EMPTY_SHARE = 0.2, 0.125
"""Shares of the kinds."""
PASTED = 0.3
"""Share of the views with a subject that is pasted before another clip's background."""
NEAR_SCALE, WIDE_SCALE = (0.7, 1.4), (0.26, 0.62)
"""Scale range of a crop, in close and in wide views."""
SHIFT = 0.3
"""Maximum shift in normalised units, twice the share of the crop's side."""
DEGREES = 20.0
MIN_PICTURE = 0.5
"""Minimum share of an empty view's pixels within the frame; otherwise it becomes a wide one."""
SPREAD = (3, 9, 21)
"""Sizes, in pixels, over which parts are spread to reach the subject's unassigned pixels; the nearest counts."""


def lesson_transforms(draws: Draws) -> tuple[Tensor, Tensor]:
    """(B, 2, 3) crop -> view in normalised coordinates, and (B,) kind of each."""
    uniform = draws.uniform(6)
    empty, other = uniform[:, 0] < EMPTY_SHARE, uniform[:, 0] >= EMPTY_SHARE + WIDE_SHARE
    kind = torch.where(empty, EMPTY, torch.where(other, CLOSE, WIDE))
    angle = (2 * uniform[:, 1] - 1) * math.radians(DEGREES)
    # scales are drawn evenly in their logarithm
    scale = torch.where(kind == WIDE, _between(WIDE_SCALE, uniform[:, 2]), _between(NEAR_SCALE, uniform[:, 2]))
    place = 2 * uniform[:, 3:5] - 1
    # a small subject may be anywhere in a wide view, a large one only near the middle
    shift = torch.where(kind[:, None] == WIDE, place * (1 - 0.8 * scale[:, None]), place * SHIFT)
    scale = torch.where(kind == EMPTY, 0.7 + 0.3 * uniform[:, 2], scale)
    beside = torch.stack([1 + 0.8 * scale, 0.5 * place[:, 1]], dim=-1)  # the subject just outside the view
    # (B,) one of four quarter turns: the subject is beside the view to the right, below, to the left or above
    quarter = (uniform[:, 5] * 4).floor() * (math.pi / 2)
    cos, sin = quarter.cos(), quarter.sin()
    away = torch.stack([cos * beside[:, 0] - sin * beside[:, 1], sin * beside[:, 0] + cos * beside[:, 1]], dim=-1)
    shift = torch.where(kind[:, None] == EMPTY, away, shift)
    return similarity(torch.where(kind == EMPTY, 0.0, angle), scale, shift), kind


def _between(limits: tuple[float, float], share: Tensor) -> Tensor:
    low, high = limits
    return low * (high / low) ** share


def seen_through(pictures: Tensor, transform: Tensor, reach: float, side: int) -> Tensor:
    """Views (B, C, side, side) of `pictures`, which are `reach` times as wide as the crops; 0 outside."""
    # view -> crop, in units of the wider image
    inverse = invert(transform) / reach
    grid = F.affine_grid(inverse, [len(pictures), pictures.shape[1], side, side], align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="zeros", align_corners=False)


def view_images(views: Views, transform: Tensor, kind: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """(B, 3, side, side) images of the views, and (B,) True for close ones; wide ones are cut from the wider images."""
    near, far = (to_images(torch.from_numpy(x).to(transform.device)) for x in (views.near, views.far))
    shown_near, shown_far = (
        seen_through(near, transform, NEAR_REACH, side),
        seen_through(far, transform, FAR_REACH, side),
    )
    close = kind == CLOSE
    return torch.where(close[:, None, None, None], shown_near, shown_far), close


def instead_of_nothing(transform: Tensor, kind: Tensor, views: Views) -> tuple[Tensor, Tensor]:
    """Turn empty views that would show the black outside of the frame into wide ones."""
    far = (torch.from_numpy(views.far).amax(-1)[:, None] > 4).float()
    inside = seen_through(far, transform, FAR_REACH, 16).mean((1, 2, 3))
    black = (kind == EMPTY) & (inside < MIN_PICTURE)
    wide = torch.tensor([[0.4, 0.0, 0.0], [0.0, 0.4, 0.0]]).expand_as(transform)
    return torch.where(black[:, None, None], wide, transform), torch.where(black, WIDE, kind)


def sharpened(masks: Tensor, subject: Tensor, known: Tensor) -> Tensor:
    """Refine the teacher's masks (B, 1 + P, S, S) with the subject's (B, 1, S, S), which is finer: pixels that the
    teacher left to the background go to nearby parts, such as a thin arm to the part it is attached to. Pixels that are
    not `known` stay unchanged."""
    parts = masks[:, 1:]
    # each wider spread counts a hundredth of the one before: it decides only where nearer parts are absent
    spread = [1e-2**reach * box_mean(parts, side) for reach, side in enumerate(SPREAD, 1)]
    near = torch.stack([parts, *spread]).sum(0)
    shares = near / near.sum(1, keepdim=True).clamp(min=1e-12)
    within = torch.cat([1 - subject, subject * shares], dim=1)
    return torch.where(known > 0.5, within, masks)


def box_mean(pictures: Tensor, side: int) -> Tensor:
    """(B, C, h, w) means over squares of an odd `side`, within the image; from running sums, so the cost is independent
    of the side."""
    for axis in (-1, -2):
        length, reach = pictures.shape[axis], side // 2
        sums = F.pad(pictures.transpose(axis, -1).cumsum(-1), (1, 0))
        place = torch.arange(length, device=pictures.device)
        first, end = (place - reach).clamp(min=0), (place + reach + 1).clamp(max=length)
        pictures = ((sums[..., end] - sums[..., first]) / (end - first)).transpose(axis, -1)
    return pictures


def emptied(images: Tensor, subject: Tensor) -> Tensor:
    """(B, 3, S, S) with the subject (B, 1, S, S) painted over in the mean colour of the rest."""
    rest = 1 - subject
    colour = (images * rest).sum((2, 3), keepdim=True) / rest.sum((2, 3), keepdim=True).clamp(min=1.0)
    return rest * images + subject * colour


def pasted(images: Tensor, subject: Tensor, others: Tensor, draws: Draws) -> Tensor:
    """Paste the `subject` (B, 1, S, S) of some `images` (B, 3, S, S) before `others`, images of backgrounds."""
    chosen = (draws.uniform(1, 1, 1) < PASTED).to(images.device)
    return torch.where(chosen, subject * images + (1 - subject) * others, images)


def recoloured(images: Tensor, draws: Draws) -> Tensor:
    """Vary colours, sharpness and noise as between cameras; (B, 3, S, S), in place if possible."""
    out = jitter_colour(images[:, None], draws, 0.35)[:, 0]
    uniform = draws.uniform(3).to(images.device)
    grey = out.mean(1, keepdim=True)
    fade = (uniform[:, 0] * 0.8 - 0.3).clamp(min=0)[:, None, None, None]
    out = out + fade * (grey - out)
    # half the resolution, as from a camera that is out of focus, for a fifth of the views
    small = F.interpolate(F.avg_pool2d(out, 2), scale_factor=2.0, mode="bilinear", align_corners=False)
    out = torch.where((uniform[:, 1] < 0.2)[:, None, None, None], small, out)
    noise = draws.uniform(1, *out.shape[-2:]).to(images.device) - 0.5
    strength = (0.15 * uniform[:, 2] - 0.05).clamp(min=0)[:, None, None, None]
    return (out + strength * noise).clamp_(0, 1)
