"""Converts a decoded frame for the network or the overlay: upright, scaled, in true colours."""

from __future__ import annotations

import numpy as np
from av import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter

from streamparts.arrays import ByteArray, require_shape
from streamparts.data import DeviceImage, Frame
from streamparts.geometry import Region
from streamparts.sources.heavy import to_bt709
from streamparts.sources.picture_window import PixelWindow, cut_out


class Rescaler:
    """Scales and converts in one step. It keeps the scaler between frames, so use one per user and thread.

    When the image shrinks, pixels are averaged over the area they cover: other methods alias.
    """

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def rgb(self, frame: Frame, size_hw: tuple[int, int] | None = None, crop: Region | None = None) -> ByteArray:
        """(h, w, 3) uint8 RGB of `frame` as displayed; `size_hw` None keeps the displayed size. With a `crop`, in whole
        displayed pixels inside the frame, no other pixel is touched.

        The array may be the frame's own memory: do not modify it.
        """
        window = None if crop is None else _window(crop)
        size_hw = size_hw or ((frame.height, frame.width) if window is None else window.size_hw)
        if min(size_hw) < 1:
            raise ValueError(f"size_hw must be positive, got {size_hw}")
        if isinstance(frame.image, DeviceImage):
            return frame.image.scaled(size_hw, crop)
        if isinstance(frame.image, np.ndarray):
            return _resize_array(frame.image if window is None else frame.image[window.slices], size_hw)
        if window is None:
            return self._convert(frame.image, size_hw, frame.rotation)
        stored = window.before_rotation(frame.rotation, frame.height, frame.width)
        cut = cut_out(frame.image, stored)
        if cut is None:  # a layout without a known cut
            whole = self._convert(frame.image, (frame.height, frame.width), frame.rotation)
            return _resize_array(whole[window.slices], size_hw)
        return self._convert(cut, size_hw, frame.rotation)

    def yuv(self, frame: Frame) -> VideoFrame:
        """A yuv420p image of `frame` as displayed, of limited range and with colour tags, to draw on.

        yuv420p input keeps its colour space, bit by bit; all else becomes BT.709. Odd sizes grow by one pixel, a copy
        of the last row or column, because H.264 needs even ones.
        """
        image = frame.image
        if isinstance(image, DeviceImage):
            image = image.scaled((frame.height, frame.width))
        if not isinstance(image, VideoFrame):
            image = VideoFrame.from_ndarray(image, "rgb24")
        plain = image.format.name == "yuv420p" and image.color_range != ColorRange.JPEG
        source = image if plain else to_bt709(image, self._reformatter)
        picture = VideoFrame(frame.width + frame.width % 2, frame.height + frame.height % 2, "yuv420p")
        for old, new in zip(plane_arrays(source), plane_arrays(picture), strict=True):
            upright = np.rot90(old, frame.rotation // 90)
            height, width = upright.shape
            new[:height, :width] = upright
            new[height:] = new[height - 1]
            new[:, width:] = new[:, width - 1 : width]
        picture.colorspace = image.colorspace if plain else int(Colorspace.ITU709)
        picture.color_primaries = image.color_primaries if plain else int(ColorPrimaries.BT709)
        picture.color_trc = image.color_trc if plain else int(ColorTrc.BT709)
        picture.color_range = int(ColorRange.MPEG)
        return picture

    def _convert(self, image: VideoFrame, size_hw: tuple[int, int], rotation: int) -> ByteArray:
        height, width = size_hw if rotation % 180 == 0 else size_hw[::-1]
        shrinks = height < image.height or width < image.width
        small = self._reformatter.reformat(
            image,
            width=width,
            height=height,
            format="rgb24",
            interpolation=Interpolation.AREA if shrinks else Interpolation.BILINEAR,
            src_color_range=int(image.color_range),  # without it, PyAV takes full range for limited
            threads=1,
        )
        upright = np.asarray(small.to_ndarray(), np.uint8)
        return np.ascontiguousarray(np.rot90(upright, rotation // 90)) if rotation else upright


def _window(crop: Region) -> PixelWindow:
    left, top, width, height = (round(value) for value in crop)
    return PixelWindow(left, top, left + width, top + height)


def plane_arrays(picture: VideoFrame) -> list[ByteArray]:
    """Each 8-bit plane as (h, w), sharing the frame's memory."""
    return [
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]  # type: ignore[call-overload]
        for plane in picture.planes
    ]


def _resize_array(image: ByteArray, size_hw: tuple[int, int]) -> ByteArray:
    require_shape("image", image, (None, None, 3))
    if image.shape[:2] == size_hw:
        return image
    import cv2

    shrinks = size_hw[0] < image.shape[0] or size_hw[1] < image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size_hw[::-1], interpolation=method), np.uint8)
