"""Every n-th frame of a video whose packets are images of their own: the same frames, with fewer packets decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av import VideoFrame

from streamparts.sources import thinning
from streamparts.sources.files import FileSource
from streamparts.sources.rescale import Rescaler
from streamparts.sources.trim import trimmed
from tests.media import picture, read_number, write_video

INTRA = {"mjpeg": ("clip.avi", "yuvj420p"), "prores": ("clip.mov", "yuv422p10le")}


def clip(folder: Path, codec: str) -> Path:
    """23 numbered frames."""
    name, pix_fmt = INTRA.get(codec, ("clip.mp4", "yuv420p"))
    return write_video(folder / name, map(picture, range(23)), codec=codec, pix_fmt=pix_fmt)


def every_seventh(path: Path, start: float | None = None) -> list[tuple[int, int, int, int]]:
    """(index, pts, number in the image, sum of its pixels)"""
    found = []
    with trimmed(FileSource(path), start=start, every=7) as source:
        for frame in source:
            rgb = Rescaler().rgb(frame)
            found.append((frame.index, frame.pts, read_number(rgb), int(rgb.astype(np.int64).sum())))
    return found


@pytest.mark.parametrize("start", [None, 0.2])
@pytest.mark.parametrize("codec", [*INTRA, "libx264"])
def test_the_frames_are_those_of_a_reading_of_all(
    tmp_path: Path, codec: str, start: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clip(tmp_path, codec)
    thinned = every_seventh(path, start)
    monkeypatch.setattr(thinning, "_is_one_image", lambda packet: False)
    assert thinned == every_seventh(path, start)
    wanted = [0, 7, 14, 21] if start is None else [6, 13, 20]
    assert [(index, number) for index, _, number, _ in thinned] == [(number, number) for number in wanted]


@pytest.mark.parametrize(("codec", "wanted"), [("mjpeg", [0, 7, 14, 21]), ("libx264", list(range(23)))])
def test_only_packets_that_are_images_of_their_own_are_left_out(
    tmp_path: Path, codec: str, wanted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thinning, "VideoFrame", black)  # what is left out may have the pixels of any freed image
    with FileSource(clip(tmp_path, codec)) as source:
        source.thinning.every = 7
        decoded = [frame.index for frame in source if read_number(Rescaler().rgb(frame)) == frame.index]
    assert decoded == wanted


def black(width: int, height: int, pix_fmt: str) -> VideoFrame:
    frame = VideoFrame(width, height, pix_fmt)
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    return frame


class _Packet:
    """One with an image of its own, or a broken one."""

    def __init__(self, number: int, is_broken: bool) -> None:
        self.pts, self._is_broken = number, is_broken

    def decode(self) -> list[av.VideoFrame]:
        if self._is_broken:
            raise av.InvalidDataError(1, "broken")
        image = av.VideoFrame(2, 2, "rgb24")
        image.pts = 100 + self.pts
        return [image]


def test_the_packet_after_a_broken_one_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinning, "_is_one_image", lambda packet: True)
    reading, given = thinning.Thinning(), []
    reading.every = 2
    for number in range(6):
        packet: Any = _Packet(number, is_broken=number == 2)
        try:
            given += [image.pts for image in reading.images(packet)]
        except av.InvalidDataError:
            given.append(None)
    assert given == [100, 1, None, 103, 4, 105]
    assert [image.pts for image in thinning.Thinning(is_allowed=False).images(packet)] == [105]
