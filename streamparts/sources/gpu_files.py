"""Video files whose frames are decoded by an NVIDIA GPU and stay in its memory; without one, as any other file."""

from __future__ import annotations

import logging
import time
from bisect import bisect_left
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from streamparts.data import DeviceImage, Frame
from streamparts.errors import VideoError
from streamparts.sources.base import BROKEN, MAX_PIXELS, reason_of
from streamparts.sources.container import open_container, ticks_at
from streamparts.sources.files import FileSource
from streamparts.sources.gpu_decoders import GpuDecoder, open_decoder

_FORMATS = ("yuv420p", "yuvj420p", "nv12")
"""Pixel formats for which both ways of decoding give equal colours."""

_log = logging.getLogger(__name__)


class GpuFileSource(FileSource):
    """A file. If the GPU can decode it, its frames' images are DeviceImages; else they come from software, and
    `description` gives the reason. If the GPU fails in the middle, software decodes the rest.

    Frames, times and sizes are those of FileSource. Damage that the GPU conceals is not noticed."""

    def __init__(self, path: str | Path, rate: Fraction | None = None, max_pixels: int = MAX_PIXELS) -> None:
        """As FileSource."""
        super().__init__(path, "none", rate, max_pixels)
        self._begin_index = 0
        self._times: list[int] = []
        self._on_gpu: GpuDecoder | None = None
        try:
            self._on_gpu = self._opened_on_gpu()
        except VideoError as error:
            self.description += f", decoding in software: gpu: {error}"
        else:
            self.description += f", decoded by the GPU ({self._on_gpu.name}), where its frames stay"

    def start_at(self, seconds: float) -> None:
        """See FileSource.start_at."""
        if self._on_gpu is None:
            super().start_at(seconds)
            return
        self._begin_index = bisect_left(self._times, ticks_at(seconds, self.time_base))
        if self._begin_index == len(self._times):
            raise VideoError(f"{self.name}: has no frame at or after {seconds:g} s; start earlier")

    def close(self) -> None:
        self._on_gpu = None
        super().close()

    def __iter__(self) -> Iterator[Frame]:
        """As FileSource's."""
        in_software = super().__iter__()
        return in_software if self._on_gpu is None else self._from_gpu(self._on_gpu, in_software)

    def _from_gpu(self, decoder: GpuDecoder, in_software: Iterator[Frame]) -> Iterator[Frame]:
        for index in range(self._begin_index, len(self._times)):
            try:
                image = self._image(decoder, index)
            except Exception as error:  # of a library, or of CUDA
                _log.warning("%s: frame %d: %s; decoding in software from here", self.name, index, reason_of(error))
                yield from (frame for frame in in_software if frame.index >= index)
                return
            yield self._frame(index, image)
            del image  # otherwise this generator would keep it alive while it waits

    def _image(self, decoder: GpuDecoder, index: int) -> DeviceImage:
        """Raises any error of the decoder; VideoError for an image of another time, or of another size, which would
        start a segment."""
        image, seconds = decoder.frame(index)
        if seconds is not None and round(seconds / self.time_base) != self._times[index]:
            wanted = float(self._times[index] * self.time_base)
            raise VideoError(f"{decoder.name} gives the frame of {seconds:.6g} s for that of {wanted:.6g} s")
        if not decoder.is_upright:
            image = image.turned(self.rotation)
        if image.shape[:2] != (self.height, self.width):
            raise VideoError(f"it is {image.shape[1]}x{image.shape[0]}, not {self.width}x{self.height}")
        return image

    def _frame(self, index: int, image: DeviceImage) -> Frame:
        return Frame(
            index=index,
            pts=self._times[index],
            time_base=self.time_base,
            image=image,
            rotation=0,
            height=self.height,
            width=self.width,
            decoded_at=time.perf_counter(),
        )

    def _opened_on_gpu(self) -> GpuDecoder:
        """Raises VideoError with the reason why not."""
        first = self._first[0]
        if first.format.name not in _FORMATS:
            raise VideoError(f"its pixel format is {first.format.name}, not {' or '.join(_FORMATS)}")
        if first.interlaced_frame:
            raise VideoError("it is interlaced")
        if self._counted:
            raise VideoError("it has no timestamps")
        decoder = open_decoder(self.path, self.stream_index)
        self._times = self._plain_times()
        if len(decoder) != len(self._times):
            raise VideoError(f"{decoder.name} finds {len(decoder)} frames, its packets {len(self._times)}")
        try:
            self._image(decoder, 0)
        except Exception as error:
            raise VideoError(reason_of(error)) from error
        return decoder

    def _plain_times(self) -> list[int]:
        """Times of all frames, in display order, from the packets, without decoding. Raises VideoError unless they are
        all there and different: others are repaired image by image."""
        times = []
        with open_container(self.path, max_pixels=self._max_pixels) as container:
            try:
                for packet in container.demux(container.streams[self.stream_index]):
                    if packet.size and packet.is_discard:
                        raise VideoError("it has frames that are not shown")
                    if packet.size:
                        times.append(packet.pts)
            except BROKEN as error:
                raise VideoError(f"reading failed: {reason_of(error)}") from error
        stated = sorted(pts for pts in times if pts is not None)
        if len(stated) < len(times) or any(one == other for one, other in pairwise(stated)):
            raise VideoError("its timestamps are missing or equal")
        return stated
