"""Sets the level of the mask network's outline by the images' edges, without labels.

Optical flow moves a rim of background with the subject, and this rim is uncertain: the network learns it as a halo. A
mask whose outline lies on edges of the image has no halo, so the network's logits are lowered by the constant for which
its outlines lie on the strongest edges. This holds for masks of crops; whole frames are searched without, because thin
limbs keep a subject's pieces together there.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from streamparts.arrays import ByteArray, FloatArray

from ..frames.transforms import to_images
from .cutting import cut
from .evidence import SUBJECT
from .learning import Example
from .masking import LOOK_SIDE, WIDE
from .network import SubjectNetwork

LEVELS = np.linspace(0, 8, 17)
"""Decreases of the logits that are tried; a halo only ever makes masks larger."""
LEAST_SURE = 0.93
"""Share of the surely moving pixels of the masks that must remain: smaller masks follow a pattern on the subject."""
FRAMES = 96
"""Maximum number of key frames on which the level is chosen."""
LEAST_OUTLINE = 20
"""Pixels of an outline from which it counts."""


@torch.no_grad()
def outline_level(network: SubjectNetwork, examples: Sequence[Example], batch_size: int = 16) -> float:
    """The decrease of the logits described above."""
    known = [example for example in examples if example.box is not None]
    known = known[:: 1 + len(known) // FRAMES]
    crops = [crop_of(example, example.image) for example in known]
    sure = [crop_of(example, (example.trimap == SUBJECT).astype(np.uint8)) > 0 for example in known]
    logits = []
    for start in range(0, len(crops), batch_size):
        images = to_images(torch.from_numpy(np.stack(crops[start : start + batch_size])))
        logits += list(network(images.contiguous(memory_format=torch.channels_last))[:, 0].numpy())
    return best_level(crops, logits, sure)


def crop_of(example: Example, image: ByteArray) -> ByteArray:
    """(S, S, ...) of the example's image or trimap, as the network's second look sees the subject."""
    assert example.box is not None
    left, top, width, height = example.box
    side = (1 + 2 * WIDE) * max(width, height)
    region = (left + width / 2 - side / 2, top + height / 2 - side / 2, side, side)
    return cut(image, region, LOOK_SIDE)


def best_level(crops: Sequence[ByteArray], logits: Sequence[FloatArray], sure: Sequence[NDArray[np.bool_]]) -> float:
    """The one of LEVELS at which the outlines of `logits` (S, S) lie on the strongest edges of the crops (S, S, 3), on
    average, and keep the `sure` pixels (S, S); 0 without any outline."""
    best, chosen = 0.0, 0.0
    edges = [edges_of(crop) for crop in crops]
    whole = sum(int(((values > 0) & there).sum()) for values, there in zip(logits, sure, strict=True))
    for level in LEVELS.tolist():
        masks = [(values > level).astype(np.uint8) for values in logits]
        if sum(int((mask * there).sum()) for mask, there in zip(masks, sure, strict=True)) < LEAST_SURE * whole:
            break
        rims = [rim_of(mask) for mask in masks]
        found = [edge[rim] for edge, rim in zip(edges, rims, strict=True) if rim.sum() >= LEAST_OUTLINE]
        strength = float(np.mean([values.mean() for values in found])) if found else 0.0
        if strength > best:
            best, chosen = strength, level
    return chosen


def edges_of(image: ByteArray) -> FloatArray:
    """(S, S) largest gradient of the channels, relative to the image's mean."""
    smooth = cv2.GaussianBlur(image, (0, 0), 1.0).astype(np.float32)
    slopes = [np.abs(cv2.Sobel(smooth, cv2.CV_32F, *axis)).max(2) for axis in ((1, 0), (0, 1))]
    edges = np.hypot(*slopes)
    return np.asarray(edges / max(float(edges.mean()), 1e-6), np.float32)


def rim_of(mask: ByteArray) -> NDArray[np.bool_]:
    """(S, S) True for the mask's outermost pixels; the image's border is no outline."""
    inner = cv2.erode(mask, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(mask != inner)
