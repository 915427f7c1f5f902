"""Losses of the supervised student: masks, sides, poses, positions on the body, facing direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from streamparts.models.layers import Affine
from streamparts.models.student import StudentOutput

from ..inputs.degrading import CELLS
from ..inputs.rendered import Truth
from ..inputs.unlabelled import SOME_PART


@dataclass(frozen=True)
class SupervisedLoss:
    """One weight per term."""

    joined: float = 3.0
    """Cross-entropy of the masks with left and right merged."""
    body: float = 3.0
    """Weight of a part's pixel in it, relative to the background."""
    side: float = 0.5
    """Cross-entropy of left against right, on pixels of limbs."""
    dice: float = 2.0
    """1 - the soft Dice of each part over the batch."""
    translation: float = 0.5
    """L1 between centres in normalised units, weighted by each part's visible share."""
    shape: float = 0.25
    """L1 between the first columns of A, which have a part's direction and length."""
    length: float = 0.06
    """L1 between the lengths of the first axes. Without it, those of parts with uncertain directions shrink: the median
    of vectors that point anywhere is 0. It is weaker than `shape`, since a wrong direction has to pass through 0."""
    breadth: float = 0.15
    """L1 between the logarithms of the second scales, which L1 between the second columns of A would shrink, too."""
    canonical: float = 1.0
    """L1 between positions on the body, in body heights."""
    facing: float = 0.2
    """1 - the cosine between the true and the predicted direction of the chest."""


class Predicted(NamedTuple):
    """Predictions of the student and the training heads."""

    output: StudentOutput
    canonical: Tensor
    """(B, 3, S/4, S/4)"""
    facing: Tensor
    """(B, 3)"""


def supervised_loss(predicted: Predicted, truth: Truth, weights: SupervisedLoss) -> dict[str, Tensor]:
    """The weighted terms by name."""
    log_masks = predicted.output.logits.log_softmax(dim=1)
    joined, side, dice = mask_terms(log_masks, truth.labels, truth.swapped, weights.body)
    # (B, S / CELLS, S / CELLS): the label in the middle of each cell of the canonical coordinates
    cells = truth.labels[:, CELLS // 2 :: CELLS, CELLS // 2 :: CELLS]
    body = ((cells > 0) & (cells < len(truth.swapped)))[:, None].float()
    # mean over the body's cells and the three coordinates
    places = ((predicted.canonical - truth.canonical).abs() * body).sum() / body.sum().clamp(min=1) / 3
    # (B,) 1 with one person in the image; the facing direction is 0 otherwise
    known = truth.facing.norm(dim=1)
    cosine = F.cosine_similarity(predicted.facing, truth.facing, dim=1)
    return {
        "joined": weights.joined * joined,
        "side": weights.side * side,
        "dice": weights.dice * dice,
        **pose_terms(predicted.output.affine, truth, weights),
        "canonical": weights.canonical * places,
        "facing": weights.facing * ((1 - cosine) * known).sum() / known.sum().clamp(min=1),
    }


def mask_terms(log_masks: Tensor, labels: Tensor, swapped: Tensor, body: float) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy with both sides of each pair merged, and with all parts merged where it is not known which it is;
    over the pixels of limbs, that of the side; and 1 - the soft Dice of each part over the batch. `swapped` is that of
    Truth."""
    swapped = swapped.to(labels.device)
    # (B, S, S) True where the part or the background is known; elsewhere `labels` is the background from here on
    some, known = labels == SOME_PART, labels < len(swapped)
    labels = torch.where(known, labels, 0)
    # (1 + K,) True for parts that have a side
    paired = torch.arange(len(swapped), device=labels.device) != swapped
    # (B, S, S) log probability of each pixel's true part, and of the same limb on the other side
    whole, other = (log_masks.gather(1, wanted[:, None])[:, 0] for wanted in (labels, swapped[labels]))
    limbs = paired[labels]
    # log (p_left + p_right): a limb on the wrong side costs nothing here
    together = torch.where(limbs, torch.logaddexp(whole, other), whole)
    # log of the sum over all parts
    together = torch.where(some, log_masks[:, 1:].logsumexp(1), together)
    # the difference of both is -log p(true side | limb), counted on limbs only
    side = (together - whole)[limbs].sum() / limbs.sum().clamp(min=1)
    joined = -(together * (1 + (body - 1) * ((labels > 0) | some)) * (known | some)).mean()
    return joined, side, dice_loss(log_masks.exp() * known[:, None], whole.exp() * known, labels)


def dice_loss(masks: Tensor, true_masks: Tensor, labels: Tensor) -> Tensor:
    """1 - Dice of every part in the batch, over the batch; `true_masks` (B, S, S) is the probability of each pixel's
    true part. Both are 0 where it is not known."""
    flat, slots = labels.flatten(), masks.shape[1]
    # (1 + K,) soft intersection and total over the whole batch, so that small parts count as much as large ones
    shared = masks.new_zeros(slots).index_add(0, flat, true_masks.flatten())
    count = torch.bincount(flat, minlength=slots)
    dice = (1 - 2 * shared / (masks.sum((0, 2, 3)) + count + 1))[1:]
    there = (count[1:] > 0).float()
    return (dice * there).sum() / there.sum().clamp(min=1)


def pose_terms(affine: Affine, truth: Truth, weights: SupervisedLoss) -> dict[str, Tensor]:
    """L1 of centres, first axes and sizes of parts with known poses."""
    trusted = truth.trust.sum().clamp(min=1)
    centres = (affine.translation - truth.centres).abs().sum(-1)
    # (B, K) A = R diag(s): its first column is s_x (cos, sin), and its columns' lengths are s
    axes = (affine.rotation * affine.scale[..., :1] - truth.shapes[..., 0]).abs().sum(-1)
    lengths, breadths = truth.shapes.norm(dim=-2).clamp(min=1e-3).unbind(-1)
    longer = (affine.scale[..., 0] - lengths).abs()
    broader = (affine.scale[..., 1].log() - breadths.log()).abs()
    return {
        "translation": weights.translation * (centres * truth.trust).sum() / trusted,
        "shape": weights.shape * (axes * truth.trust).sum() / trusted,
        "length": weights.length * (longer * truth.trust).sum() / trusted,
        "breadth": weights.breadth * (broader * truth.trust).sum() / trusted,
    }
