"""--start, --end, --every, --max-fps, checked by the numbers in the images."""

from fractions import Fraction
from pathlib import Path

import pytest

from streamparts.data import Frame, Gap
from streamparts.errors import VideoError
from streamparts.sources import FileSource, OpenedSource, open_source, parse_seconds, trimmed
from streamparts.sources.rescale import Rescaler
from tests.media import ArraySource, numbered_video, picture, read_number, write_video

LONG_GOPS = {"g": "20", "bf": "3", "x264-params": "b-adapt=0"}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """100 numbered frames, 30 a second, with B-frames and a key frame every 20, in several containers."""
    folder = tmp_path_factory.mktemp("trim")
    made = {suffix: numbered_video(folder / f"a.{suffix}", 100, options=LONG_GOPS) for suffix in ("mp4", "mkv", "ts")}
    made["h264"] = numbered_video(folder / "a.h264", 100, options=LONG_GOPS)
    made["avi"] = numbered_video(folder / "a.avi", 100, codec="mpeg4")
    made["open.mkv"] = numbered_video(folder / "open.mkv", 100, options={**LONG_GOPS, "flags": "-cgop"})
    made["refresh.mp4"] = numbered_video(folder / "refresh.mp4", 100, options={"x264-params": "intra-refresh=1"})
    return made


def read(source: OpenedSource) -> list[tuple[int, Frame]]:
    rescaler = Rescaler()
    with source:
        return [(read_number(rescaler.rgb(frame)), frame) for frame in source]


@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts", "h264", "avi", "open.mkv", "refresh.mp4"])
@pytest.mark.parametrize("first", [0, 1, 19, 20, 21, 57, 99])
def test_starting_at_a_frames_time_gives_exactly_what_a_whole_reading_has_from_there(
    videos: dict[str, Path], kind: str, first: int
) -> None:
    whole = read(open_source(videos[kind]))
    assert [number for number, _ in whole] == list(range(100))
    start = whole[first][1].pts_seconds
    found = read(trimmed(FileSource(videos[kind]), start=start))
    assert [number for number, _ in found] == list(range(first, 100))
    assert [frame.index for _, frame in found] == list(range(first, 100))
    assert [frame.pts for _, frame in found] == [frame.pts for _, frame in whole[first:]]


def test_the_end_is_not_part_of_it_and_steps_count_from_the_start(videos: dict[str, Path]) -> None:
    source = trimmed(FileSource(videos["mp4"]), start=1.0, end=2.0, every=7)
    assert source.num_frames == 5
    assert source.rate == Fraction(30, 7)
    assert source.description.endswith("from 1 s, to 2 s, one frame in 7")
    found = read(source)
    assert [number for number, _ in found] == [30, 37, 44, 51, 58]
    assert [frame.index for _, frame in found] == [30, 37, 44, 51, 58]


def test_a_start_between_two_frames_takes_the_next(tmp_path: Path) -> None:
    pts = [1000, 1040, 1100, 1500, 1501, 2777]
    path = write_video(
        tmp_path / "vfr.mkv", (picture(number) for number in range(6)), pts=pts, time_base=Fraction(1, 1000)
    )
    assert [number for number, _ in read(trimmed(FileSource(path), start=1.041, end=1.501))] == [2, 3]
    assert [number for number, _ in read(trimmed(FileSource(path), start=0.2))] == list(range(6))


@pytest.mark.parametrize("word", ["test://?seconds=2", "pictures"])
def test_what_is_no_file_is_trimmed_the_same_way(tmp_path: Path, word: str) -> None:
    if word == "pictures":
        for number in range(60):
            write_video(tmp_path / f"{number}.png", [picture(number)], codec="png", pix_fmt="rgb24")
        word = str(tmp_path)
    found = read(trimmed(open_source(word, fps=30), start=0.5, end=1.5, every=10))
    assert [(number, frame.index) for number, frame in found] == [(15, 15), (25, 25), (35, 35)]


def test_a_start_after_the_end_of_the_video_says_so(videos: dict[str, Path]) -> None:
    for kind in ("mp4", "ts", "h264"):
        with FileSource(videos[kind]) as source, pytest.raises(VideoError, match="50 s"):
            trimmed(source, start=50)


@pytest.mark.parametrize("wrong", [{"start": -1}, {"start": 2, "end": 2}, {"end": 0}, {"every": 0}])
def test_times_and_steps_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="give 0 <= start < end"):
        trimmed(ArraySource(3), **wrong)


class LiveSource(ArraySource):
    """A stream that is at hour 5 of its own clock and breaks off at frame 45."""

    live = True

    def __iter__(self):  # type: ignore[no-untyped-def]
        for index in range(self.num_frames):
            broke = index >= 45
            pts = 540_000 + index if not broke else 3 * index
            gap = Gap("the stream ended", 1.5) if index == 45 else None
            image = picture(index, self.height, self.width)
            yield Frame(index, pts, self.time_base, image, 0, self.height, self.width, index / 30, int(broke), 0, gap)


def test_a_live_source_cannot_start_later_and_ends_by_the_clock() -> None:
    with pytest.raises(VideoError, match="is live"):
        trimmed(LiveSource(60), start=1.0)
    assert [frame.index for frame in trimmed(LiveSource(60), end=1.0)] == list(range(30))


def test_a_gap_before_a_frame_that_is_left_out_is_told_with_the_next_one() -> None:
    frames = list(trimmed(LiveSource(60), every=10))
    assert [frame.index for frame in frames] == [0, 10, 20, 30, 40, 50]
    assert [frame.gap is not None for frame in frames] == [False] * 5 + [True]
    assert [frame.segment for frame in frames] == [0] * 5 + [1]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1:30", 90), ("0:01:30.5", 90.5), ("1:00:00", 3600), ("0.04", 0.04)]
)
def test_times_are_written_in_seconds_or_with_colons(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "a", "1:2:3:4", "1:60", "-3", "1:-2", "1.5:10", "nan", "inf", "0:nan"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_seconds(text)
