"""Examples of the second round: the network's answers for the key frames after the first one, refined by colour."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from streamparts.arrays import ByteArray, FloatArray

from ..frames.readers import letterboxed
from .boxes import COMPARABLE, components, union
from .colours import refined
from .cutting import cut, turned_square
from .evidence import BACKGROUND, UNKNOWN, ShotEvidence
from .footage import ClipShot
from .learning import Example
from .masking import Answers, wide_regions, without_rest
from .values import MASK_SIDE


def own_examples(shots: Sequence[ClipShot], evidence: Sequence[ShotEvidence], answers: Answers) -> list[Example]:
    """Return one example for each key frame in which the network finds something."""
    examples = []
    for clip, (shot, each) in enumerate(zip(shots, evidence, strict=True)):
        images = [key.image for key in each.keys]
        whole = without_rest(shot, answers(np.stack([letterboxed(image, MASK_SIDE) for image in images])))
        boxes = [subject_box(mask) for mask in whole]
        shown = [i for i, box in enumerate(boxes) if box is not None]
        if not shown:
            continue
        scale = max(images[0].shape[:2]) / MASK_SIDE
        offset = np.array(offsets(images[0].shape[:2]), np.float32)
        found = np.stack([box for box in boxes if box is not None])
        placed = np.concatenate([(found[:, :2] - offset) * scale, found[:, 2:] * scale], 1)
        regions = wide_regions(placed, images[0].shape[:2])
        crops = [cut(images[i], region, MASK_SIDE) for i, region in zip(shown, regions.tolist(), strict=True)]
        trimaps = refined(crops, list(answers(np.stack(crops))))
        for i, region, trimap in zip(shown, regions.tolist(), trimaps, strict=True):
            examples.append(Example(images[i], laid_back(images[i], whole[i], region, trimap), clip))
    return examples


def subject_box(mask: ByteArray) -> FloatArray | None:
    """Return the (4,) box around all components of comparable size."""
    found = components(mask)
    if not found:
        return None
    box = found[0]
    for other in found[1:]:
        if other[4] >= COMPARABLE * found[0][4]:
            box = union(box, other)
    return box[:4]


def offsets(hw: tuple[int, int]) -> tuple[int, int]:
    """Return left and top padding of a letterboxed image."""
    scale = MASK_SIDE / max(hw)
    return (MASK_SIDE - round(hw[1] * scale)) // 2, (MASK_SIDE - round(hw[0] * scale)) // 2


def laid_back(image: ByteArray, whole: ByteArray, region: Sequence[float], trimap: ByteArray) -> ByteArray:
    """Return the (H, W) trimap of a key frame: that of the crop within it; elsewhere background, if the whole view is
    sure."""
    height, width = image.shape[:2]
    left, top = offsets((height, width))
    inner = whole[top : MASK_SIDE - top or None, left : MASK_SIDE - left or None]
    large = cv2.resize(inner, (width, height), interpolation=cv2.INTER_LINEAR)
    out = np.where(large < 64, BACKGROUND, UNKNOWN).astype(np.uint8)
    to_picture = turned_square(region[0], region[1], region[2], MASK_SIDE, 0.0)
    flags, size = cv2.INTER_NEAREST, (width, height)
    there = cv2.warpAffine(trimap, to_picture, size, flags=flags, borderValue=(UNKNOWN,))
    covered = cv2.warpAffine(np.full_like(trimap, 255), to_picture, size, flags=flags) > 0
    out[covered] = there[covered]
    return out
