"""Masks every used frame of a shot: the whole frame to find the subject, then a crop around it for detail."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import cv2
import numpy as np

from streamparts.arrays import ByteArray, FloatArray

from .boxes import LEVEL, Followed, follow, smoothed
from .crops import each_crop
from .cutting import cut
from .footage import SMALL_SIDE, ClipShot
from .values import MASK_SIDE, BoolArray, square_around

WIDE = 0.4
"""Margin of the crop of the second look; larger than that of the final crop, to include what the first look missed."""
NO_GAIN = 0.7
"""Share of the image's longer side from which a crop gains nothing over the whole image (IoU on people .615 and
.670)."""
LOOK_SIDE = 160
"""Side of the second look's crops in pixels; better than 128 (IoU on people .81 and .79)."""
AT_ONCE = 64
"""Number of frames that are decoded and masked together."""
CONFIDENT = (0.25, 0.75)
"""Probabilities up to which, and from which, a mask is trusted."""
BELONGS = 0.15
"""Distance up to which a component of the crop's mask belongs to the subject, as a share of the box's longer side."""

Answers = Callable[[ByteArray], ByteArray]
"""Maps (N, S, S, 3) images to (N, S, S) probabilities of the subject, 255 for 1."""


def find_in_shot(shot: ClipShot, answers: Answers, stride: int = 1) -> list[Followed]:
    """Find the subjects of a shot in every `stride`th whole frame; boxes are in displayed pixels."""
    rows = np.unique([*range(0, len(shot.rows), stride), len(shot.rows) - 1])
    masks = []
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        small = [cv2.resize(shot.frames[i], (MASK_SIDE, MASK_SIDE), interpolation=cv2.INTER_AREA) for i in some]
        masks.append(without_rest(shot, answers(np.stack(small))))
    return [in_all_frames(shot, rows, each) for each in follow(np.concatenate(masks), shot.rows[rows].astype(float))]


def without_rest(shot: ClipShot, masks: ByteArray) -> ByteArray:
    """Clear letterbox, bars and text from (N, S, S) masks of whole frames."""
    allowed = np.zeros((SMALL_SIDE, SMALL_SIDE), np.uint8)
    shot.box.crop(allowed)[~shot.text] = 1
    shown = np.asarray(cv2.resize(allowed, (MASK_SIDE, MASK_SIDE), interpolation=cv2.INTER_NEAREST), np.uint8)
    return masks * shown


def in_all_frames(shot: ClipShot, rows: np.ndarray[tuple[int], np.dtype[np.int64]], subject: Followed) -> Followed:
    """Interpolate boxes of some rows, in the network's pixels, to boxes of all rows, in displayed pixels."""
    times, known = shot.rows.astype(float), shot.rows[rows].astype(float)
    # (F, 4), in the rows' own times: frames may be far apart
    boxes = np.stack([np.interp(times, known, column) for column in subject.boxes.T], 1).astype(np.float32)
    nearest = np.abs(times[:, None] - known[None]).argmin(1)
    return Followed(shot.to_frame(boxes * (SMALL_SIDE / MASK_SIDE)), subject.found[nearest])


def look_again(shot: ClipShot, subject: Followed, answers: Answers) -> tuple[Followed, ByteArray, FloatArray]:
    """Return the subject with boxes from masks of crops, those masks (F, M, M), and the crops' regions (F, 4)."""
    wide = wide_regions(subject.boxes, shot.hw)
    crops = each_crop(shot.clip, shot.rows, wide, LOOK_SIDE)
    masks = np.zeros((len(shot.rows), MASK_SIDE, MASK_SIDE), np.uint8)
    for start in range(0, len(masks), AT_ONCE):
        some = np.stack(list(islice(crops, AT_ONCE)))
        masks[start : start + len(some)] = [shrunk(mask) for mask in answers(some)]
    boxes, allowed = np.full_like(subject.boxes, np.nan), picture_area(shot)
    for i, (region, box) in enumerate(zip(wide, subject.boxes, strict=True)):
        shown = cut(allowed, region.tolist(), MASK_SIDE)
        # the box in the crop's mask pixels: shifted by the region's corner, scaled by its side
        masks[i] = pieces(masks[i] * (shown > LEVEL), (box - [*region[:2], 0, 0]) * (MASK_SIDE / region[2]))
        solid = cv2.morphologyEx((masks[i] > LEVEL).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        x, y, width, height = cv2.boundingRect(solid)
        if width and subject.found[i]:
            # and back to displayed pixels
            boxes[i] = np.array([x, y, width, height]) * (region[2] / MASK_SIDE) + [*region[:2], 0, 0]
    found = ~np.isnan(boxes[:, 0])
    if not found.any():
        return subject, masks, wide
    return smoothed(boxes, shot.rows.astype(float)), masks, wide


def shrunk(mask: ByteArray) -> ByteArray:
    """Reduce an (S, S) mask to (M, M)."""
    return np.asarray(cv2.resize(mask, (MASK_SIDE, MASK_SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def wide_regions(boxes: FloatArray, hw: tuple[int, int]) -> FloatArray:
    """Return (F, 4) squares around the boxes; the whole image if a box is so large that a crop shows no more detail."""
    side = float(max(hw))
    whole = np.array([(hw[1] - side) / 2, (hw[0] - side) / 2, side, side], np.float32)
    wide = square_around(boxes, WIDE)
    return np.where(wide[:, 2:3] > NO_GAIN * side, whole, wide)


def picture_area(shot: ClipShot) -> ByteArray:
    """Return (H, W) of the displayed frame: 255 except for bars and text."""
    small = np.zeros((SMALL_SIDE, SMALL_SIDE), np.uint8)
    shot.box.crop(small)[~shot.text] = 255
    inner = small[shot.letterbox.inner_slices]
    return np.asarray(cv2.resize(inner, shot.hw[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)


def pieces(mask: ByteArray, box: FloatArray) -> ByteArray:
    """Remove the components of a mask that lie away from the box (left, top, width, height in its pixels)."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((mask > LEVEL).astype(np.uint8))
    reach = BELONGS * max(box[2:])
    # two boxes intersect if each begins before the other ends, along x and y
    low, high = box[:2] - reach, box[:2] + box[2:] + reach
    keep = np.array([bool((row[:2] <= high).all() and (row[:2] + row[2:4] >= low).all()) for row in stats])
    keep[0] = True
    apart = ~keep[labels]
    # with their blurred rims
    apart = cv2.dilate(apart.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return np.where(apart & ~(keep[labels] & (labels > 0)), 0, mask).astype(np.uint8)


def moved(masks: ByteArray, before: FloatArray, after: FloatArray) -> ByteArray:
    """Resample (F, M, M) masks of the regions `before` (F, 4) to the regions `after`; 0 outside of the former."""
    out = np.empty_like(masks)
    for i, (mask, old, new) in enumerate(zip(masks, before, after, strict=True)):
        scale = MASK_SIDE / old[2]
        region = ((new[0] - old[0]) * scale, (new[1] - old[1]) * scale, new[2] * scale, new[3] * scale)
        out[i] = cut(mask, region, MASK_SIDE)
    return out


def trusted(masks: ByteArray) -> BoolArray:
    """Return where a mask is confident, for or against."""
    low, high = CONFIDENT
    return np.asarray((masks <= low * 255) | (masks >= high * 255))


def of_others(subjects: list[Followed], index: int, regions: FloatArray) -> BoolArray:
    """Return (F, M, M) True for the pixels of subject `index`'s regions that are nearer to another subject."""
    grid = (np.arange(MASK_SIDE) + 0.5) / MASK_SIDE
    out = np.zeros((len(regions), MASK_SIDE, MASK_SIDE), bool)
    if len(subjects) == 1:
        return out
    for i, (left, top, width, height) in enumerate(regions.tolist()):
        x, y = left + grid * width, top + grid * height
        around = [centred(subject, i) for subject in subjects]
        # (M, M) distance from each subject's centre, in units of its own box
        away = [np.hypot(*np.meshgrid((x - cx) / w, (y - cy) / h)) for cx, cy, w, h in around]
        out[i] = np.stack(away).argmin(0) != index
    return out


def centred(subject: Followed, index: int) -> tuple[float, float, float, float]:
    """Return centre, width and height of the box; if it is not found, sizes near 0, so that no pixel is near it."""
    left, top, width, height = subject.boxes[index].tolist()
    size = (max(width, 1.0), max(height, 1.0)) if subject.found[index] else (1e-6, 1e-6)
    return left + width / 2, top + height / 2, *size
