"""One small job, done cheaply: a decoded frame to an RGB array of a wanted size, upright and in true colours."""

from __future__ import annotations

import numpy as np
from av import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from streamparts.data import ByteArray, Frame, require_shape


class Rescaler:
    """Scales and converts in one step. Keeps the scaler between frames, so have one per user and thread.

    Pixels are averaged over the area they cover when the picture shrinks: other methods alias.
    """

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def rgb(self, frame: Frame, size_hw: tuple[int, int] | None = None) -> ByteArray:
        """(h, w, 3) uint8 RGB of `frame` as displayed; `size_hw` None keeps the displayed size.

        The array may be the frame's own memory: do not write into it.
        """
        size_hw = size_hw or (frame.height, frame.width)
        if min(size_hw) < 1:
            raise ValueError(f"size_hw must be positive, got {size_hw}")
        if isinstance(frame.image, np.ndarray):
            return _resize_array(frame.image, size_hw)
        return self._convert(frame.image, size_hw, frame.rotation)

    def _convert(self, image: VideoFrame, size_hw: tuple[int, int], rotation: int) -> ByteArray:
        height, width = size_hw if rotation % 180 == 0 else size_hw[::-1]
        shrinks = height < image.height or width < image.width
        small = self._reformatter.reformat(
            image,
            width=width,
            height=height,
            format="rgb24",
            interpolation=Interpolation.AREA if shrinks else Interpolation.BILINEAR,
            src_color_range=int(image.color_range),  # left out, PyAV takes full range for limited
            threads=1,
        )
        upright = np.asarray(small.to_ndarray(), np.uint8)
        return np.ascontiguousarray(np.rot90(upright, rotation // 90)) if rotation else upright


def _resize_array(image: ByteArray, size_hw: tuple[int, int]) -> ByteArray:
    require_shape("image", image, (None, None, 3))
    if image.shape[:2] == size_hw:
        return image
    import cv2

    shrinks = size_hw[0] < image.shape[0] or size_hw[1] < image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size_hw[::-1], interpolation=method), np.uint8)
