"""Unusual files: bit depths, grey, transparency, odd sizes, edit lists, several streams. They are generated, so their
content is known."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from streamparts.sources import FileSource, trimmed
from streamparts.sources.base import FrameTimes
from streamparts.sources.rescale import Rescaler
from tests.media import numbered_video, picture, read_number, write_video


def read(path: Path) -> list[tuple[int, Fraction]]:
    rescaler = Rescaler()
    with FileSource(path) as source:
        return [(read_number(rescaler.rgb(frame)), frame.pts * frame.time_base) for frame in source]


@pytest.mark.parametrize(
    ("codec", "pix_fmt"),
    [
        ("ffv1", "gray"),
        ("ffv1", "gray10le"),
        ("ffv1", "bgra"),
        ("ffv1", "yuva444p"),
        ("ffv1", "yuv422p12le"),
        ("libx264", "yuv420p10le"),
        ("libx264", "yuv444p"),
        ("libx264", "gray"),
        ("libx265", "yuv420p10le"),
        ("prores_ks", "yuva444p10le"),
        ("mjpeg", "yuvj422p"),
    ],
)
@pytest.mark.parametrize("hw", [(96, 128), (171, 333)])
def test_every_depth_and_layout_of_pixels_keeps_its_pictures(
    tmp_path: Path, codec: str, pix_fmt: str, hw: tuple[int, int]
) -> None:
    if codec == "libx265" or (codec == "libx264" and pix_fmt == "yuv420p10le") or codec == "prores_ks":
        hw = (hw[0] + hw[0] % 2, hw[1] + hw[1] % 2)  # the encoder takes only even sizes
    path = write_video(tmp_path / "a.mkv", [picture(n, *hw) for n in range(5)], codec=codec, pix_fmt=pix_fmt)
    rescaler = Rescaler()
    with FileSource(path) as source:
        assert (source.height, source.width) == hw
        for number, frame in enumerate(source):
            image = rescaler.rgb(frame)
            assert read_number(image) == number
            grey = np.abs(image.mean(axis=2) - picture(number, *hw).mean(axis=2)).mean()
            assert grey < 25, "transparency and depth must not change the brightness"


def shifted(path: Path, video: Path, ticks: int, suffix_options: dict[str, str]) -> Path:
    """The same packets, their times changed by `ticks` frames."""
    with av.open(str(video)) as source, av.open(str(path), "w", options=suffix_options) as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        one = round(Fraction(1, 30) / stream.time_base)
        for packet in source.demux(stream):
            if packet.dts is not None and packet.pts is not None:
                packet.pts, packet.dts = packet.pts + ticks * one, packet.dts + ticks * one
                packet.stream = copy
                target.mux(packet)
    return path


def test_what_an_edit_list_cuts_away_is_not_shown(tmp_path: Path) -> None:
    whole = numbered_video(tmp_path / "whole.mp4", 40, options={"g": "40", "bf": "2", "x264-params": "b-adapt=0"})
    cut = shifted(tmp_path / "cut.mp4", whole, -10, {"avoid_negative_ts": "disabled"})
    found = read(cut)
    assert [number for number, _ in found] == list(range(10, 40))
    assert [seconds for _, seconds in found] == [Fraction(n, 30) for n in range(30)]
    rescaler = Rescaler()
    with trimmed(FileSource(cut), start=0.5) as source:
        frames = list(source)
    assert [(frame.index, read_number(rescaler.rgb(frame))) for frame in frames] == [(n, n + 10) for n in range(15, 30)]


def test_times_before_zero_are_kept_and_only_bad_ones_are_continued() -> None:
    timeline = FrameTimes(Fraction(1, 30), Fraction(30))
    image = av.VideoFrame.from_ndarray(picture(0), "rgb24")
    times = [timeline.frame(image, pts).pts for pts in (-5, -4, None, -2, -2, 0, 100, 99, 101)]
    assert times == [-5, -4, -3, -2, -1, 0, 100, 101, 102]
    assert timeline.repaired_times == 4
    frame = timeline.frame(image, 50)
    assert (frame.pts, frame.segment) == (50, 1), "more than a second back is a new beginning"


def test_the_default_video_stream_is_taken_and_a_cover_picture_never(tmp_path: Path) -> None:
    path = tmp_path / "several.mp4"
    with av.open(str(path), "w") as container:
        streams = []
        for kind in (Disposition.attached_pic, Disposition(0), Disposition.default):
            stream = container.add_stream("mjpeg" if kind == Disposition.attached_pic else "libx264", rate=30)
            stream.height, stream.width = 96, 128
            stream.pix_fmt = "yuvj420p" if kind == Disposition.attached_pic else "yuv420p"
            stream.disposition = kind
            streams.append(stream)
        for number in range(10):
            for offset, stream in zip((1000, 100, 200), streams, strict=True):
                if offset == 1000 and number:
                    continue
                frame = av.VideoFrame.from_ndarray(picture(offset + number), "rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 30)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    with FileSource(path) as source:
        assert source.stream_index == 1
        assert "video stream 2 of 2" in source.description
    assert [number for number, _ in read(path)] == list(range(200, 210))
