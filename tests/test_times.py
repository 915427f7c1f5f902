"""Wrong or missing times: a bad timestamp affects only its own frame, and a stream without a clock is reported."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from streamparts.errors import VideoError
from streamparts.sources import FileSource, open_source, trimmed
from streamparts.sources.base import FrameTimes
from streamparts.sources.clock import Arrivals
from streamparts.sources.network import open_address
from streamparts.sources.pipe import PipeSource
from streamparts.sources.rescale import Rescaler
from streamparts.sources.stamps import mended
from streamparts.sources.timed import TimedImage, timed_frames
from tests.media import numbered_video, picture, read_number, write_video
from tests.servers import access_units, rtsp, say, serving
from tests.test_live import PATIENCE_SECONDS

IMAGE = av.VideoFrame.from_ndarray(picture(0), "rgb24")
Change = Callable[[list[int]], object]


def late(stamps: list[int]) -> None:
    stamps[50] += 15


def early(stamps: list[int]) -> None:
    stamps[50] -= 15


def far(stamps: list[int]) -> None:
    stamps[50] += 3000


def far_back(stamps: list[int]) -> None:
    stamps[120] -= 100


def twice(stamps: list[int]) -> None:
    stamps[50] = stamps[49]


def swapped(stamps: list[int]) -> None:
    stamps[50], stamps[51] = stamps[51], stamps[50]


def two_in_a_row(stamps: list[int]) -> None:
    stamps[50] += 9
    stamps[51] += 12


def first_late(stamps: list[int]) -> None:
    stamps[0] += 12


def last_back(stamps: list[int]) -> None:
    stamps[-1] -= 5


GLITCHES: list[Change] = [late, early, far, far_back, twice, swapped, two_in_a_row, first_late, last_back]


def in_a_file(stamps: Sequence[int | None], time_base: Fraction = Fraction(1, 30)) -> tuple[list[tuple[int, int]], int]:
    """(segment, time) of every frame as a file's reader gives them, and how many times were repaired."""
    timeline = FrameTimes(time_base, Fraction(30))
    frames = timed_frames((TimedImage(IMAGE, stamp) for stamp in stamps), timeline)
    found = [(frame.segment, frame.pts) for frame in frames]
    return found, timeline.repaired_times


@pytest.mark.parametrize("change", GLITCHES)
@pytest.mark.parametrize("ticks", [1, 512])
def test_a_bad_stamp_costs_its_own_frames_time_and_no_other(change: Change, ticks: int) -> None:
    true = [ticks * n for n in range(200)]
    counts = list(range(200))
    change(counts)
    found, repaired = in_a_file([ticks * count for count in counts], Fraction(1, 30 * ticks))
    assert [segment for segment, _ in found] == [0] * 200
    assert [time for _, time in found] == true
    assert repaired <= 2


@pytest.mark.parametrize("change", [late, early, far, twice, swapped])
@pytest.mark.parametrize("ticks", [1, 3000])
def test_without_looking_ahead_the_stated_clock_is_taken_up_again(change: Change, ticks: int) -> None:
    counts = list(range(200))
    change(counts)
    timeline = FrameTimes(Fraction(1, 30 * ticks), Fraction(30))
    frames = [timeline.frame(IMAGE, ticks * count, decoded_at=0.0) for count in counts]
    times = [frame.pts for frame in frames]
    odd = [n for n in range(200) if times[n] != ticks * n]
    assert times[-1] == 199 * ticks
    assert len(odd) <= 3
    assert all(after > before for before, after in itertools.pairwise(times))
    assert {frame.segment for frame in frames} == {0}


def test_a_pause_is_no_bad_stamp() -> None:
    stamps = [*range(50), *range(200, 260), 400, *range(500, 520)]
    assert in_a_file(stamps) == ([(0, stamp) for stamp in stamps], 0)


def test_a_live_leap_is_believed_when_it_took_as_long_to_come_or_when_the_next_frame_confirms_it() -> None:
    timeline = FrameTimes(Fraction(1, 90_000), Fraction(30))
    sent = [(n * 3000, n / 30) for n in range(10)]
    slow = [(90_000 + n * 3000, 1 + n / 30) for n in range(10)]
    burst = [(540_000 + n * 3000, 1.4 + n / 1000) for n in range(10)]
    times = [timeline.frame(IMAGE, stamp, arrived).pts for stamp, arrived in sent + slow + burst]
    stated = [stamp for stamp, _ in sent + slow + burst]
    assert [n for n in range(30) if times[n] != stated[n]] == [20], "the first after a leap that nothing explains"
    assert times[20] == times[19] + 3000


def test_a_clock_that_goes_back_for_good_begins_a_segment_and_is_kept() -> None:
    stamps = [*range(100), *range(60, 100)]
    found, repaired = in_a_file(stamps)
    assert [time for _, time in found] == stamps
    assert [segment for segment, _ in found] == [0] * 100 + [1] * 40
    assert repaired == 0


def test_a_short_recording_glued_to_itself_is_two_segments() -> None:
    stamps = [*range(10), *range(10)]
    found, repaired = in_a_file(stamps)
    assert found == [(0, n) for n in range(10)] + [(1, n) for n in range(10)]
    assert repaired == 0


def test_times_that_are_missing_are_spread_between_those_that_are_stated() -> None:
    assert in_a_file([0, None, None, 3, None, 5, None])[0] == [(0, n) for n in range(7)]
    found, _ = in_a_file([0, None, 100, None], Fraction(1, 300))
    assert [time for _, time in found] == [0, 50, 100, 110]


def test_any_stamps_at_all_give_times_that_increase_and_the_good_ones_among_them() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        stamps: list[int | None] = [512 * n for n in range(120)]
        for place in rng.choice(120, rng.integers(1, 8), replace=False):
            kind = rng.integers(4)
            stamp = 512 * int(place)
            stamps[place] = [None, stamp + int(rng.integers(-9000, 9000)), 512 * max(0, int(place) - 1), stamp + 1][
                kind
            ]
        found, repaired = in_a_file(stamps, Fraction(1, 15360))
        assert all(after > before for before, after in itertools.pairwise(found))
        assert sum(time != 512 * n for n, (_, time) in enumerate(found)) <= 20
        assert repaired <= 20


def test_mending_says_where_nothing_goes_on() -> None:
    assert mended(100, [60, 61, 62], 1) is None
    assert mended(100, [160, 102, 103], 1) == 101
    assert mended(None, [50, 1, 2, 3], 1) == 0
    assert mended(100, [102, 101, 103], 1) == 101


def restamped(path: Path, change: Change, gop: int = 25, bf: int = 0) -> Path:
    """150 numbered frames, 30 a second, some of whose times were changed after encoding."""
    options = {"g": str(gop), "bf": str(bf), "x264-params": "b-adapt=0"}
    sound = numbered_video(path.with_name("sound.mkv"), 150, options=options)
    counts = list(range(150))
    change(counts)
    with av.open(str(sound)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for number, packet in enumerate(packet for packet in source.demux(stream) if packet.size):
            assert packet.pts is not None
            count = round(packet.pts * stream.time_base * 30)
            packet.pts, packet.dts = (200 + counts[count]) * 1000 // 30, number * 1000 // 30
            packet.time_base, packet.stream = Fraction(1, 1000), copy
            target.mux(packet)
    return path


@pytest.mark.parametrize("change", [late, early, twice, swapped, far_back])
@pytest.mark.parametrize("bf", [0, 2])
def test_the_whole_run_and_a_later_start_agree_frame_by_frame(tmp_path: Path, change: Change, bf: int) -> None:
    path = restamped(tmp_path / "a.mkv", change, bf=bf)
    rescaler = Rescaler()
    with FileSource(path) as source:
        whole = [(frame.index, frame.pts, read_number(rescaler.rgb(frame))) for frame in source]
        assert source.repaired_times <= 2
    assert [number for _, _, number in whole] == list(range(150))
    for first in (1, 49, 50, 51, 66, 120):
        start = whole[first][1] / 1000
        with trimmed(FileSource(path), start=start) as source:
            found = [(frame.index, frame.pts, read_number(rescaler.rgb(frame))) for frame in source]
        assert found == whole[first:], f"from frame {first}"


def damaged(path: Path) -> tuple[Path, list[int]]:
    """A copy of a film with B-frames in which ten packets are noise, and the times that the sound one has."""
    sound = numbered_video(path.with_name(f"sound{path.suffix}"), 300, options={"g": "50", "bf": "3"})
    with av.open(str(sound)) as container:
        stream = container.streams.video[0]
        places = [(packet.pos, packet.size) for packet in container.demux(stream) if packet.size]
    with av.open(str(sound)) as container:
        times = [frame.pts for frame in container.decode(video=0)]
    data, rng = bytearray(sound.read_bytes()), np.random.default_rng(0)
    for number in rng.choice(np.arange(5, 300), 10, replace=False):
        start, size = places[number]
        data[start + 5 : start + size] = rng.integers(0, 256, size - 5, np.uint8).tobytes()
    path.write_bytes(data)
    return path, times


def test_ten_damaged_packets_move_no_other_frame(tmp_path: Path) -> None:
    path, times = damaged(tmp_path / "damaged.mp4")
    with FileSource(path) as source:
        found = [frame.pts for frame in source]
        assert source.decode_errors > 0
    assert len(set(found) - set(times)) <= 2
    assert found[-1] == times[-1]


def test_over_tcp_damaged_packets_move_no_other_frame_either(tmp_path: Path) -> None:
    sound = numbered_video(tmp_path / "sound.ts", 300, options={"g": "50", "bf": "3"})
    with av.open(str(sound)) as container:
        times = {frame.pts for frame in container.decode(video=0)}
    data, rng = bytearray(sound.read_bytes()), np.random.default_rng(3)
    for packet in rng.choice(np.arange(40, len(data) // 188 - 5), 10, replace=False):
        data[188 * packet + 60 : 188 * packet + 180] = rng.integers(0, 256, 120, np.uint8).tobytes()
    with serving(say(bytes(data))) as server:
        source = open_address(f"tcp://127.0.0.1:{server.port}", connect_seconds=PATIENCE_SECONDS, max_retries=0)
        found = []
        with source, pytest.raises(VideoError, match="lost"):
            found.extend(frame.pts for frame in source)
    assert len(found) > 200
    assert sum(pts not in times for pts in found) <= 12
    assert found[-1] == max(times)


@pytest.mark.parametrize(("rate", "seconds"), [(None, 1 / 30), (12, 1 / 12)])
def test_raw_video_is_counted_at_the_rate_that_it_names_or_that_is_asked_for(
    tmp_path: Path, rate: int | None, seconds: float
) -> None:
    path = numbered_video(tmp_path / "raw.h264", 20)
    with open_source(path, fps=rate) as source:
        assert f"counted at {1 / seconds:g} fps" in source.description
        assert source.rate == round(1 / seconds)
        assert [frame.pts_seconds for frame in source] == pytest.approx([n * seconds for n in range(20)])


def test_a_rate_for_a_file_that_states_its_times_is_refused(video: Path) -> None:
    with pytest.raises(VideoError, match="leave --fps out"):
        open_source(video, fps=10)


@pytest.fixture(scope="module")
def jpeg(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small JPEG image with a comment of 256 kB: FFmpeg probes only a few of them, and they decode quickly."""
    path = tmp_path_factory.mktemp("jpeg") / "a.jpg"
    data = write_video(path, [picture(0)], codec="mjpeg", pix_fmt="yuvj420p").read_bytes()
    return data[:2] + 4 * (b"\xff\xfe\xff\xff" + bytes(65533)) + data[2:]


EXAMINED, SLOW = 24, 14
"""Images sent at once, more than FFmpeg probes before it returns the first one, and images sent slowly."""


def camera(jpeg: bytes, send: Callable[[bytes], object]) -> None:
    """MJPEG as sent by a camera that has been running for a while: ten images per second."""
    send(EXAMINED * jpeg)
    for _ in range(SLOW):
        time.sleep(0.1)
        send(jpeg)


def check_arrivals(seconds: Sequence[float], rate: Fraction | None) -> None:
    """How long the steps are depends on how busy this machine is."""
    assert rate is not None
    assert seconds[0] == 0
    assert np.diff(seconds).min() > 0


def test_pictures_that_came_before_the_first_that_was_waited_for_precede_it_at_the_interval_of_those_after_it() -> None:
    arrivals = Arrivals(Fraction(25))
    assert all(arrivals.note(10.0, 0.0) for _ in range(5)), "examined together"
    assert [arrivals.note(10.1 + n / 10, 0.1) for n in range(8)] == [*[True] * 7, False]
    settled = arrivals.settle(live=False)
    assert settled is not None
    times, rate = settled
    assert rate == 10
    assert times == pytest.approx([n * 9000 for n in range(13)], abs=1)
    assert arrivals.ticks(10.9) == pytest.approx(13 * 9000, abs=1)
    assert arrivals.ticks(10.9) == arrivals.ticks(10.8) - 1, "increases though the clock did not"


@pytest.mark.parametrize("live", [False, True])
def test_pictures_that_all_come_at_once_are_no_measure(live: bool) -> None:
    arrivals = Arrivals(Fraction(25))
    for _ in range(20):
        arrivals.note(10.0, 0.0)
    assert arrivals.settle(live) is None


def test_a_wait_that_is_this_machine_s_own_begins_no_measure() -> None:
    arrivals = Arrivals(Fraction(30))
    for number in range(20):
        arrivals.note(10 + number / 1000, 0.02 * (number == 3))
    assert arrivals.left(10.02) > 4, "a slow camera may still follow"
    for number in range(8):
        arrivals.note(10.2 + number / 5, 0.2)
    settled = arrivals.settle(live=False)
    assert settled is not None
    assert settled[1] == 5
    assert settled[0] == pytest.approx([n * 18000 for n in range(28)], abs=1)


def test_of_a_live_stream_one_picture_is_enough_and_a_slow_machine_counts_none() -> None:
    slow_camera = Arrivals(Fraction(25))
    slow_camera.note(10.0, 0.0)
    slow_camera.note(14.0, 4.0)
    assert slow_camera.settle(live=False) is None
    settled = slow_camera.settle(live=True)
    assert settled is not None
    assert settled[0] == [0, 3600], "at the header's rate before what was waited for"
    slow_machine = Arrivals(Fraction(30))
    for number in range(64):
        slow_machine.note(10 + number / 10, 0.0)
    assert slow_machine.settle(live=False) is None, "a file in a pipe"
    settled = slow_machine.settle(live=True)
    assert settled is not None
    assert settled[1] == 10


def test_what_comes_three_times_as_fast_as_its_header_says_comes_from_a_file() -> None:
    for announced, expected in ((Fraction(30), None), (Fraction(25), 100), (Fraction(60), 100)):
        arrivals = Arrivals(announced)
        for number in range(8):
            arrivals.note(10 + number / 100, 0.01)
        settled = arrivals.settle(live=True)
        assert (settled and settled[1]) == expected, "FFmpeg says 25 where no header says anything"


class SlowCamera:
    """Sends pieces at 20 a second until it is `opened`, or there are no more."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.opened = threading.Event()
        self._pieces = pieces

    def send(self, send: Callable[[bytes], object]) -> None:
        for piece in self._pieces:
            send(piece)
            time.sleep(0.05)
        self.opened.wait(PATIENCE_SECONDS)


def check_tcp_arrivals(camera: SlowCamera) -> None:
    with serving(lambda connection: camera.send(connection.sendall)) as server:
        word = f"tcp://127.0.0.1:{server.port}"
        source = open_address(word, connect_seconds=PATIENCE_SECONDS, max_retries=0)
        camera.opened.set()
        with source, pytest.raises(VideoError, match="lost"):
            seconds = []
            for frame in source:
                seconds.append(frame.pts_seconds)
    assert "arrival times" in source.notes[0]
    assert len(seconds) >= 39
    check_arrivals(seconds, source.rate)


def test_a_slow_camera_without_a_clock_is_opened_after_a_few_pictures() -> None:
    camera = SlowCamera(access_units(range(40), 240, 320))  # FFmpeg alone waits for 50
    check_tcp_arrivals(camera)


def test_a_slow_rtsp_camera_is_opened_after_a_few_pictures() -> None:
    opened = threading.Event()
    script = rtsp(access_units(range(5)), after=lambda: opened.wait(PATIENCE_SECONDS))  # FFmpeg alone waits for 20
    with serving(script) as server:
        word = f"rtsp://127.0.0.1:{server.port}/x"
        with open_address(word, connect_seconds=PATIENCE_SECONDS, max_retries=0) as source:
            opened.set()
            assert source.rate == 30


def test_raw_video_that_is_no_live_one_is_counted(tmp_path: Path) -> None:
    path = numbered_video(tmp_path / "raw.h264", 20)
    with open_address(f"file://{path}") as source:
        assert "counted at 30 fps" in source.notes[0]
        assert [frame.pts_seconds for frame in source] == pytest.approx([n / 30 for n in range(20)])


@pytest.fixture(scope="module")
def small_jpeg(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("small") / "a.jpg"
    return write_video(path, [picture(0)], codec="mjpeg", pix_fmt="yuvj420p").read_bytes()


def test_small_jpegs_through_a_pipe_are_known_by_their_first_bytes(small_jpeg: bytes) -> None:
    camera = SlowCamera([small_jpeg] * 40)
    reading, writing = os.pipe()

    def write() -> None:
        camera.send(lambda data: os.write(writing, data))
        os.close(writing)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    with PipeSource(reading) as source:
        camera.opened.set()
        seconds = [frame.pts_seconds for frame in source]
    thread.join(60)
    os.close(reading)
    assert "arrival times" in source.notes[0]
    assert len(seconds) == 40
    check_arrivals(seconds, source.rate)


def test_small_jpegs_over_tcp_are_known_by_their_first_bytes(small_jpeg: bytes) -> None:
    camera = SlowCamera([small_jpeg] * 40)  # 45 kB, of which FFmpeg alone wants 256
    check_tcp_arrivals(camera)


def test_a_stream_without_a_clock_gets_the_times_of_arrival_and_says_so(jpeg: bytes) -> None:
    with serving(lambda connection: camera(jpeg, connection.sendall)) as server:
        source = open_address(f"tcp://127.0.0.1:{server.port}", connect_seconds=PATIENCE_SECONDS, max_retries=0)
        seconds: list[float] = []
        with source, pytest.raises(VideoError, match="lost"):
            for frame in source:
                seconds.append(frame.pts_seconds)
    assert source.notes == ("has no timestamps: using arrival times; --fps counts frames instead",)
    assert len(seconds) >= EXAMINED + SLOW - 1
    check_arrivals(seconds, source.rate)


def test_a_stream_without_a_clock_is_counted_where_a_rate_is_asked_for(jpeg: bytes) -> None:
    with serving(say(12 * jpeg)) as server:
        word = f"tcp://127.0.0.1:{server.port}"
        source = open_address(word, connect_seconds=PATIENCE_SECONDS, max_retries=0, frame_rate=Fraction(5))
        seconds: list[float] = []
        with source, pytest.raises(VideoError, match="lost"):
            seconds.extend(frame.pts_seconds for frame in source)
    assert "counted at 5 fps" in source.notes[0]
    assert seconds == [n / 5 for n in range(len(seconds))]
    assert len(seconds) >= 11


def piped(jpeg: bytes, rate: Fraction | None) -> tuple[list[float], PipeSource]:
    """Times of what comes through a pipe."""
    reading, writing = os.pipe()

    def write() -> None:
        camera(jpeg, lambda data: [os.write(writing, data[n : n + 65536]) for n in range(0, len(data), 65536)])
        os.close(writing)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    with PipeSource(reading, rate) as source:
        seconds = [frame.pts_seconds for frame in source]
    thread.join(60)
    os.close(reading)
    return seconds, source


def test_a_pipe_without_a_clock_gets_the_times_of_arrival_or_a_rate(jpeg: bytes) -> None:
    seconds, source = piped(jpeg, Fraction(5))
    assert "counted at 5 fps" in source.notes[0]
    assert seconds == [n / 5 for n in range(len(seconds))]
    seconds, source = piped(jpeg, None)
    assert "arrival times" in source.notes[0]
    check_arrivals(seconds, source.rate)


def test_the_length_of_a_matroska_file_whose_clock_is_the_time_of_day_counts_from_its_beginning(tmp_path: Path) -> None:
    stamps = [1_700_000_000_000 + 33 * n for n in range(30)]
    path = tmp_path / "clock.mkv"
    write_video(path, map(picture, range(30)), pts=stamps, time_base=Fraction(1, 1000), options={"tune": "zerolatency"})
    with open_source(path) as source:
        assert source.num_frames == 30
        assert [frame.pts for frame in source] == stamps


@pytest.mark.parametrize("bad", [50, 60, 149])
def test_one_late_timestamp_does_not_lengthen_a_matroska_file(tmp_path: Path, bad: int) -> None:
    def far_off(stamps: list[int]) -> None:
        stamps[bad] += 4000

    with open_source(restamped(tmp_path / "late.mkv", far_off)) as source:
        assert source.num_frames == pytest.approx(150, abs=2)
