"""Masks of tracks files, which lie at model resolution, on the displayed picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamparts.errors import TracksError
from streamparts.tracksfile.records import MaskRecord, RleRecord
from streamparts.tracksfile.rle import decode_mask

Mask = NDArray[np.bool_]


def model_mask(rle: RleRecord, frame: int) -> Mask:
    """(h, w) at model resolution. Raises TracksError, with the number of the frame, where the text is damaged."""
    try:
        return decode_mask(rle.size, rle.counts)
    except ValueError as error:
        raise TracksError(f"frame {frame}: a part's mask is damaged ({error})") from error


def displayed(mask: Mask, lie: MaskRecord, height: int, width: int) -> Mask:
    """(height, width): every displayed pixel takes the mask pixel that its centre falls into; outside there is none."""
    (left, top), (scale_x, scale_y) = lie.offset_xy, lie.scale_xy
    columns = np.floor((np.arange(width) + 0.5) / scale_x + left).astype(np.int64)
    rows = np.floor((np.arange(height) + 0.5) / scale_y + top).astype(np.int64)
    bordered = np.pad(mask, 1)  # what lies outside takes the border
    columns, rows = np.clip(columns, -1, mask.shape[1]) + 1, np.clip(rows, -1, mask.shape[0]) + 1
    out: Mask = bordered.take(columns, axis=1).take(rows, axis=0)
    return out


def inside(mask: Mask, lie: MaskRecord, height: int, width: int) -> Mask:
    """What of a mask lies on the picture, without the letterbox's border."""
    left, top = round(lie.offset_xy[0]), round(lie.offset_xy[1])
    return mask[top : top + round(height / lie.scale_xy[1]), left : left + round(width / lie.scale_xy[0])]


def box_of(mask: Mask) -> tuple[float, float, float, float] | None:
    """x0, y0, x1, y1 around the pixels of a mask; None without any."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(columns):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
