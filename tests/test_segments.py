"""Sources that break off, change their size, or go back in time: overlay and tracks."""

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

import streamparts
from streamparts.bundle.load import Bundle
from streamparts.data import Frame, Gap
from streamparts.errors import VideoError
from streamparts.geometry import Letterbox
from streamparts.runtime.stream import run
from streamparts.sinks.overlay.followers import existing_followers, following_names, numbered
from streamparts.tracksfile.records import FrameRecord, GapRecord, SegmentRecord
from streamparts.tracksfile.timeline import OverlayTimes
from tests.media import ArraySource, decode, picture, read_number


class BrokenUpSource(ArraySource):
    """Segments of frames: (number of frames, height, width, first pts, gap before)."""

    def __init__(self, *segments: tuple[int, int, int, int, Gap | None]) -> None:
        super().__init__(sum(segment[0] for segment in segments), *segments[0][1:3])
        self._segments = segments

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        for number, (count, height, width, first, gap) in enumerate(self._segments):
            for step in range(count):
                image, time = picture(index, height, width), (first + step, Fraction(1, 30))
                yield Frame(
                    index, *time, image, 0, height, width, 0.0, number, dropped=step % 2, gap=None if step else gap
                )
                index += 1


LOST = Gap("the connection was closed", 5.2)
SOURCE = BrokenUpSource((10, 96, 128, 0, None), (10, 96, 128, 3, LOST), (10, 64, 160, 13, None), (5, 96, 128, 0, LOST))


def test_another_size_goes_on_in_another_file(tmp_path: Path, bundle: Bundle) -> None:
    summary = run(SOURCE, bundle, overlay=tmp_path / "o.mp4")
    names = [tmp_path / name for name in ("o.mp4", "o.001.mp4", "o.002.mp4")]
    assert summary.outputs == tuple(names)
    frames = [list(decode(name)) for name in names]
    assert [{image.shape[:2] for image, _ in part} for part in frames] == [{(96, 128)}, {(64, 160)}, {(96, 128)}]
    numbers = [[read_number(image) for image, _ in part] for part in frames]
    assert numbers == [list(range(20)), list(range(20, 30)), list(range(30, 35))]


def test_after_a_gap_the_overlay_goes_on_by_the_time_that_was_lost(tmp_path: Path, bundle: Bundle) -> None:
    run(SOURCE, bundle, overlay=tmp_path / "o.mp4")
    first = [seconds * 30 for _, seconds in decode(tmp_path / "o.mp4")]
    assert first == [*range(10), *range(9 + 156, 19 + 156)], "5.2 s are 156 frames"
    second = [seconds * 30 for _, seconds in decode(tmp_path / "o.001.mp4")]
    assert second == list(range(175, 185)), "a new size alone changes no time"
    third = [seconds * 30 for _, seconds in decode(tmp_path / "o.002.mp4")]
    assert third == list(range(5)), "184 + 156 is later than ten seconds, so that this file starts at 0"


def frame_at(pts: int, segment: int, gap: Gap | None = None, time_base: Fraction = Fraction(1, 30)) -> Frame:
    image = picture(0)
    return Frame(0, pts, time_base, image, 0, *image.shape[:2], 0.0, segment, gap=gap)


def test_times_never_go_back() -> None:
    line = OverlayTimes(Fraction(25))
    frames = [
        frame_at(100, 0),
        frame_at(101, 0),
        frame_at(0, 1),
        frame_at(9, 2),
        frame_at(0, 3, Gap("x", 0.0)),
        frame_at(7, 4, Gap("x", 2.0), Fraction(1, 1000)),
    ]
    times = [line.seconds(frame) for frame in frames]
    assert times[:2] == [Fraction(100, 30), Fraction(101, 30)]
    assert times[2] == times[1] + Fraction(1, 25), "goes back: one average frame later"
    assert times[3] == times[2] + Fraction(9, 30), "goes on: nothing changes"
    assert times[4] == times[3] + Fraction(1, 30), "a gap of no time is one tick"
    assert times[5] == times[4] + 2


def test_the_tracks_tell_gaps_segments_and_drops(tmp_path: Path, bundle: Bundle) -> None:
    run(SOURCE, bundle, tracks=tmp_path / "t.jsonl", masks=True)
    records = list(streamparts.read_tracks(tmp_path / "t.jsonl"))
    kinds = "".join({FrameRecord: "f", GapRecord: "g", SegmentRecord: "s"}[type(record)] for record in records)
    assert kinds == 10 * "f" + "gs" + 10 * "f" + "s" + 10 * "f" + "gs" + 5 * "f"
    frames = [record for record in records if isinstance(record, FrameRecord)]
    assert [record.frame for record in frames] == list(range(35))
    assert [record.pts for record in frames] == [*range(10), *range(3, 13), *range(13, 23), *range(5)]
    assert [record.segment for record in frames] == [0] * 10 + [1] * 10 + [2] * 10 + [3] * 5
    assert [record.dropped for record in frames] == [0, 1] * 15 + [0, 1, 0, 1, 0]
    gap = records[10]
    assert gap == GapRecord(10, 3, 0.1, 5.2, "the connection was closed")
    segment = records[22]
    assert isinstance(segment, SegmentRecord)
    assert (segment.segment, segment.frame, segment.height, segment.width) == (2, 20, 64, 160)
    assert segment.time_base == (1, 30)
    box = Letterbox.fit((64, 160), (64, 64))
    assert segment.masks is not None
    assert segment.masks.offset_xy == box.offset_xy
    assert segment.masks.scale_xy == pytest.approx(box.scale_xy.tolist())


def test_what_is_nothing_is_left_out_of_a_frames_line(tmp_path: Path, bundle: Bundle) -> None:
    run(ArraySource(1), bundle, tracks=tmp_path / "t.jsonl")
    line = json.loads((tmp_path / "t.jsonl").read_bytes().splitlines()[1])
    assert set(line) == {"type", "frame", "pts", "pts_seconds", "parts"}


def test_names_that_follow(tmp_path: Path) -> None:
    path = tmp_path / "a.b.mp4"
    assert [numbered(path, n).name for n in (0, 1, 12, 1234)] == [
        "a.b.mp4", "a.b.001.mp4", "a.b.012.mp4", "a.b.1234.mp4",
    ]  # fmt: skip
    for name in ("a.b.001.mp4", "a.b.003.mp4", "a.b.01.mp4", "xa.b.002.mp4", "a.b.002.mp4.txt"):
        (tmp_path / name).touch()
    assert [item.name for item in existing_followers(path)] == ["a.b.001.mp4", "a.b.003.mp4"]
    names = following_names(path, replace=False)
    assert [next(names).name, next(names).name] == ["a.b.002.mp4", "a.b.004.mp4"]
    assert next(following_names(path, replace=True)).name == "a.b.001.mp4"


def test_files_that_the_overlay_may_go_on_in_are_kept_unless_forced(tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / "o.001.mp4").write_text("precious")
    with pytest.raises(VideoError, match=r"o\.001\.mp4: exists already"):
        run(SOURCE, bundle, overlay=tmp_path / "o.mp4")
    assert not (tmp_path / "o.mp4").exists()
    assert (tmp_path / "o.001.mp4").read_text() == "precious"
    run(SOURCE, bundle, overlay=tmp_path / "o.mp4", force=True)
    assert len(list(decode(tmp_path / "o.001.mp4"))) == 10
