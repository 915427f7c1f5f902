"""Maps masks of tracks files, which have the model's resolution, to the displayed frame."""

from __future__ import annotations

from streamparts.errors import TracksError
from streamparts.geometry import Mask
from streamparts.tracksfile.records import MaskRecord, RleRecord
from streamparts.tracksfile.rle import decode_mask


def model_mask(rle: RleRecord, frame: int) -> Mask:
    """(h, w) at model resolution. Raises TracksError, with the frame number, if the text is damaged."""
    try:
        return decode_mask(rle.size, rle.counts)
    except ValueError as error:
        raise TracksError(f"frame {frame}: a part's mask is damaged ({error})") from error


def inside(mask: Mask, lie: MaskRecord, height: int, width: int) -> Mask:
    """Crop a mask to the frame, without letterbox borders."""
    left, top = round(lie.offset_xy[0]), round(lie.offset_xy[1])
    return mask[top : top + round(height / lie.scale_xy[1]), left : left + round(width / lie.scale_xy[0])]
