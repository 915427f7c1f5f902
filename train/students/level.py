"""Sets the level of the background after training, without labels.

A pixel's label is its most probable slot. Between two parts, or early in training, the subject's probability is
divided: background .4, two parts .3 each, and the background wins, though the pixel is more probably the subject.
Lowering the background's logit by one constant corrects this almost everywhere.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from streamparts.models.student import Student

from ..frames.clips import ClipFolder
from ..frames.transforms import to_images
from .merge import spread_frames

FRAMES = 192
"""Frames, of all clips together, on which the level is measured."""
MOST = 4.0
"""Maximum decrease of the logit."""


@torch.no_grad()
def level_background(student: Student, folder: ClipFolder, together: int = 16) -> float:
    """Lower the background's logit until as many pixels have a part as are more probably the subject than not. Returns
    the decrease; 0 if there are enough already."""
    device = next(student.parameters()).device
    frames = spread_frames(folder, FRAMES)
    margins, subject = [], 0.0
    for start in range(0, len(frames), together):
        logits = student(to_images(torch.from_numpy(frames[start : start + together]).to(device))).logits
        # (B, S, S): a pixel has a part where this margin is negative
        margins.append((logits[:, 0] - logits[:, 1:].amax(1)).flatten().cpu())
        subject += float((logits.softmax(1)[:, 0] < 0.5).sum())
    decrease = needed(torch.cat(margins), round(subject))
    head = student.mask[0]
    assert isinstance(head, nn.Conv2d) and head.bias is not None
    head.bias[:4] -= decrease  # slot 0 of the four pixels of a cell at stride 2, see Student.quarters
    return decrease


def needed(margins: Tensor, pixels: int) -> float:
    """The smallest decrease with which `pixels` of the margins, background's logit minus the best part's, are below
    it."""
    if pixels <= int((margins < 0).sum()):
        return 0.0
    kth = float(torch.kthvalue(margins, min(pixels, len(margins))).values)
    return float(np.clip(kth + 1e-4, 0.0, MOST))
