"""Sets the level of the background and the certainty of the masks after training, without labels.

A pixel's label is its most probable slot. Between two parts, or early in training, the subject's probability is
divided: background .4, two parts .3 each, and the background wins, though the pixel is more probably the subject.
Lowering the background's logit by one constant corrects this almost everywhere.

A short training leaves all probabilities low, also where the labels are right: a part of mean probability .25 would
never count as visible. One factor on all logits (temperature scaling, Guo et al. 2017) makes the mean probability of
the labels equal to the share of them on which the teacher agrees. No label changes.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor, nn
from torch.nn import functional as F

from streamparts.models.student import Student

from ..frames.clips import ClipFolder
from ..frames.spread import spread
from ..frames.transforms import to_images
from .student import Teaching

FRAMES = 192
"""Frames, of all clips together, on which both are measured."""
MOST = 4.0
"""Maximum decrease of the background's logit."""
FACTORS = (0.5, 16.0)
"""Limits of the factor on the logits."""
PIXELS = 200_000
"""Labelled pixels, of all frames, on which the factor is fitted."""


@torch.no_grad()
def calibrate_masks(student: Student, folder: ClipFolder, answers: Teaching, together: int = 16) -> tuple[float, float]:
    """Change the last layer of `student`, see above. Returns the decrease of the background's logit and the factor."""
    per_clip = max(1, FRAMES // len(folder.clips))
    starts = np.cumsum([0, *(len(clip.frames) for clip in folder.clips)]).tolist()
    # each frame with its index, counted over all clips
    wanted = [
        (clip.frames[i], start + i)
        for clip, start in zip(folder.clips, starts, strict=False)
        for i in spread(len(clip.frames), per_clip)
    ]
    logits, taught = [], []
    for first in range(0, len(wanted), together):
        frames, index = zip(*wanted[first : first + together], strict=True)
        images = to_images(torch.from_numpy(np.stack(frames)).to(answers.device))
        masks, _ = answers(images, np.array(index))
        masks = F.interpolate(masks, images.shape[-2:], mode="bilinear", align_corners=False)
        logits.append(student(images).logits.cpu())
        taught.append(masks.argmax(1).to(torch.uint8).cpu())
    decrease = level_background(student, logits)
    for some in logits:
        some[:, 0] -= decrease
    factor = fitted_factor(*labelled(logits, taught))
    head = last_layer(student)
    head.weight.mul_(factor)
    assert head.bias is not None
    head.bias.mul_(factor)
    return decrease, factor


def last_layer(student: Student) -> nn.Conv2d:
    """The convolution that gives the masks' logits."""
    head = student.mask[0]
    assert isinstance(head, nn.Conv2d)
    return head


@torch.no_grad()
def level_background(student: Student, logits: list[Tensor]) -> float:
    """Lower the background's logit until as many pixels have a part as are more probably the subject than not; `logits`
    are batches (B, 1 + K, S, S). Returns the decrease; 0 if there are enough already."""
    # a pixel has a part where this margin is negative
    margins = torch.cat([(some[:, 0] - some[:, 1:].amax(1)).flatten() for some in logits])
    subject = sum(int((some.softmax(1)[:, 0] < 0.5).sum()) for some in logits)
    decrease = needed(margins, subject)
    bias = last_layer(student).bias
    assert bias is not None
    bias[:4] -= decrease  # slot 0 of the four pixels of a cell at stride 2, see Student.quarters
    return decrease


def needed(margins: Tensor, pixels: int) -> float:
    """The smallest decrease with which `pixels` of the margins, background's logit minus the best part's, are below
    it."""
    if pixels <= int((margins < 0).sum()):
        return 0.0
    kth = float(torch.kthvalue(margins, min(pixels, len(margins))).values)
    return float(np.clip(kth + 1e-4, 0.0, MOST))


def labelled(logits: list[Tensor], taught: list[Tensor]) -> tuple[Tensor, float]:
    """Return the logits (N, 1 + K) of pixels with a part, at most PIXELS, and the share on which the teacher's labels
    `taught`, batches (B, S, S), agree."""
    rows, agreeing, count = [], 0.0, 0
    for some, theirs in zip(logits, taught, strict=True):
        own = some.argmax(1)
        here = own > 0
        rows.append(some.permute(0, 2, 3, 1)[here])
        agreeing, count = agreeing + float((own == theirs)[here].sum()), count + int(here.sum())
    every = torch.cat(rows)
    return every[:: 1 + len(every) // PIXELS], agreeing / max(count, 1)


def fitted_factor(logits: Tensor, agreement: float) -> float:
    """The factor, within FACTORS, with which the labels of `logits` (N, 1 + K) have mean probability `agreement`."""

    def excess(log_factor: float) -> float:
        scaled = logits * float(np.exp(log_factor))
        return float(scaled.softmax(1).amax(1).mean()) - agreement

    low, high = np.log(FACTORS)
    if not len(logits) or excess(low) >= 0:
        return FACTORS[0] if len(logits) else 1.0
    return FACTORS[1] if excess(high) <= 0 else float(np.exp(brentq(excess, low, high, xtol=1e-3)))
