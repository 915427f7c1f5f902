"""Sources on real sockets that break off, in each possible way."""

import contextlib
import gc
import io
import itertools
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import pytest

from streamparts.data import Frame
from streamparts.errors import VideoError
from streamparts.sources.live import LiveSource
from streamparts.sources.network import open_address
from streamparts.sources.reader import Reader
from streamparts.sources.rescale import Rescaler
from tests import servers
from tests.conftest import ROOT, environment
from tests.media import numbered_video, read_number

pytestmark = pytest.mark.usefixtures("no_threads_left")

PATIENCE_SECONDS = 60.0
IDLE_SECONDS = 2.0
Numbered = tuple[int, Frame]


@pytest.fixture
def no_threads_left() -> Iterator[None]:
    """Fails the test if a reading thread outlives it by more than the timeout that it waits in."""
    yield
    deadline = time.monotonic() + PATIENCE_SECONDS
    while left := [thread.name for thread in threading.enumerate() if thread.name.startswith("streamparts")]:
        assert time.monotonic() < deadline, f"these threads never ended: {left}"
        time.sleep(0.05)


def in_time(work: Callable[[], object]) -> None:
    """Run `work` in a thread; fail if it takes for ever; raise what it raises."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="test-work", daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive(), "it hangs"
    if errors:
        raise errors[0]


def read(source: LiveSource, enough: int | None = None) -> list[Numbered]:
    """Return the first `enough` frames, or all up to the first gap and the one after it, with the numbers in their
    images; then close the source."""
    seen: list[Numbered] = []
    rescaler = Rescaler()

    def work() -> None:
        with source:
            for frame in source:
                seen.append((read_number(rescaler.rgb(frame)), frame))
                if len(seen) == enough or (enough is None and frame.gap):
                    return

    in_time(work)
    return seen


def numbers(seen: list[Numbered], segment: int) -> list[int]:
    return [number for number, frame in seen if frame.segment == segment]


def check_times(seen: list[Numbered]) -> None:
    """Within a segment times are those that were sent: a thirtieth of a second a number."""
    for (number, frame), (next_number, after) in itertools.pairwise(seen):
        if frame.segment == after.segment:
            assert (after.pts - frame.pts) * frame.time_base == Fraction(next_number - number, 30)
    assert [frame.index for _, frame in seen] == list(range(len(seen)))


@pytest.fixture
def first(tmp_path: Path) -> bytes:
    return servers.mpegts(tmp_path / "first.ts", range(30))


@pytest.fixture
def second(tmp_path: Path) -> bytes:
    return servers.mpegts(tmp_path / "second.ts", range(100, 130))


def open_tcp(port: int, **options: float) -> LiveSource:
    options = {"idle_seconds": IDLE_SECONDS, "connect_seconds": PATIENCE_SECONDS} | options
    return open_address(f"tcp://127.0.0.1:{port}", **options)  # type: ignore[arg-type]


def test_a_sender_that_closes_and_comes_back_leaves_a_gap_and_a_new_segment(first: bytes, second: bytes) -> None:
    with servers.serving(servers.say(first), servers.say(second)) as server:
        source = open_tcp(server.port)
        assert source.live
        assert source.description == "128x96 h264, 30 fps, live"
        seen = read(source, 60)
    assert numbers(seen, 0) == list(range(30))
    assert numbers(seen, 1) == list(range(100, 130))
    check_times(seen)
    gaps = [frame.gap for _, frame in seen if frame.gap]
    assert len(gaps) == 1
    assert seen[30][1].gap is gaps[0]
    assert gaps[0].reason == "the stream ended"
    assert gaps[0].seconds > 0


def test_a_sender_that_stalls_is_left_for_a_new_connection(first: bytes, second: bytes) -> None:
    with servers.serving(hang_up_waiting(first), servers.say(second)) as server:
        seen = read(open_tcp(server.port), 58)
    assert numbers(seen, 0) == list(range(len(numbers(seen, 0))))
    assert len(numbers(seen, 0)) >= 29, "all but the one whose end was never sent"
    assert numbers(seen, 1) == list(range(100, 100 + len(numbers(seen, 1))))
    check_times(seen)
    assert [frame.gap.reason for _, frame in seen if frame.gap] == ["no frame for 2 s"]


def hang_up_waiting(data: bytes) -> servers.Script:
    """Send, then wait for the other side to close."""

    def script(connection: socket.socket) -> None:
        connection.sendall(data)
        connection.recv(1)

    return script


def test_a_sender_that_comes_back_at_another_size_is_followed(tmp_path: Path, first: bytes) -> None:
    small = servers.mpegts(tmp_path / "small.ts", range(30), 64, 160)
    with servers.serving(servers.say(first), servers.say(small)) as server:
        seen = read(open_tcp(server.port), 60)
    assert [(frame.height, frame.width) for _, frame in seen] == [(96, 128)] * 30 + [(64, 160)] * 30
    assert [number for number, _ in seen] == 2 * list(range(30))
    assert [frame.segment for _, frame in seen] == [0] * 30 + [1] * 30


def test_a_sender_that_changes_size_without_a_break_begins_a_segment_without_a_gap(
    tmp_path: Path, first: bytes
) -> None:
    small = servers.mpegts(tmp_path / "small.ts", range(30), 64, 160)
    with servers.serving(servers.say(first + small)) as server:
        seen = read(open_tcp(server.port), 60)
    assert [(frame.height, frame.width) for _, frame in seen] == [(96, 128)] * 30 + [(64, 160)] * 30
    assert all(frame.gap is None for _, frame in seen)


def test_garbage_invents_no_frame_and_the_sender_is_asked_again(first: bytes, second: bytes) -> None:
    noise = servers.garbage(300_000)
    with servers.serving(servers.say(first + noise), servers.say(noise), servers.say(second)) as server:
        seen = read(open_tcp(server.port), 60)
        assert server.num_connections == 3
    assert numbers(seen, 0) == list(range(30))
    assert numbers(seen, 1) == list(range(100, 130))
    check_times(seen)


def test_garbage_between_two_halves_of_a_stream_costs_no_frame_after_it(first: bytes, second: bytes) -> None:
    with servers.serving(servers.say(first + servers.garbage(188 * 40) + second)) as server:
        seen = read(open_tcp(server.port), 59)
    found = [number for number, _ in seen]
    assert found == sorted(set(found)), "no frame twice, none out of order"
    assert set(found) <= {*range(30), *range(100, 130)}
    assert {*range(29), *range(110, 128)} <= set(found)


def test_who_never_answers_is_given_up_with_what_to_check() -> None:
    with servers.serving(hang_up_waiting(b"")) as server, pytest.raises(VideoError) as caught:
        in_time(lambda: open_tcp(server.port, connect_seconds=1.0))
    text = str(caught.value)
    assert text.startswith(f"tcp://127.0.0.1:{server.port}: cannot be opened: ")
    assert "check address, port and firewall" in text
    assert "\n" not in text


@pytest.mark.parametrize("data", [b"HELLO\n" * 1000, servers.garbage(50_000), b""], ids=["text", "noise", "nothing"])
def test_what_is_no_video_is_refused_in_one_line(data: bytes) -> None:
    with servers.serving(servers.say(data)) as server, pytest.raises(VideoError) as caught:
        in_time(lambda: open_tcp(server.port))
    assert "cannot be opened: " in str(caught.value)
    assert "video" in str(caught.value).partition("opened: ")[2]
    assert "\n" not in str(caught.value)


def test_nobody_there_is_an_error_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(VideoError, match=r"connection refused.*sender.*running"):
        in_time(lambda: open_tcp(port))


def test_attempts_to_reconnect_end_where_they_are_limited(first: bytes) -> None:
    with servers.serving(servers.say(first)) as server:
        source = open_tcp(server.port, max_retries=2)
        seen = []
        with pytest.raises(VideoError, match=r"\(the stream ended\).*reconnection.*: 2"):
            in_time(lambda: seen.extend(source))
        source.close()
    assert len(seen) == 30


@pytest.mark.slow
@pytest.mark.parametrize("state", ["stalled", "reconnecting", "waiting for its taker"])
def test_closing_from_another_thread_ends_the_iteration(first: bytes, state: str) -> None:
    script = servers.say(first) if state == "reconnecting" else hang_up_waiting(first)
    with servers.serving(script) as server:
        source = open_tcp(server.port, idle_seconds=3.0 if state == "reconnecting" else 8.0)
        enough = 5 if state == "waiting for its taker" else 28
        reached = threading.Event()

        def work() -> None:
            for number, _ in enumerate(source, 1):
                if number == enough:
                    reached.set()
                    if state == "waiting for its taker":
                        time.sleep(0.5)

        thread = threading.Thread(target=work, name="test-work", daemon=True)
        thread.start()
        assert reached.wait(PATIENCE_SECONDS), "the first frames never came"
        time.sleep(0.3)
        source.close()
        thread.join(7.0)
        assert not thread.is_alive(), "closing must end the iteration, not the watchdog"


def test_a_camera_whose_driver_never_returns_is_given_up_though_its_thread_hangs(tmp_path: Path, first: bytes) -> None:
    """Some drivers block for ever when a camera is pulled out, where no timeout of FFmpeg reaches."""
    release = threading.Event()
    again = io.BytesIO(servers.mpegts(tmp_path / "again.ts", range(30)))
    inputs = iter([Blocking(first, release), again])
    source = LiveSource(lambda: av.open(next(inputs)), "camera", idle_seconds=1.0)  # type: ignore[arg-type]
    try:
        seen = read(source)
    finally:
        release.set()
    assert len(numbers(seen, 0)) >= 25, "all but those whose end was never sent"
    assert numbers(seen, 0) == list(range(len(seen) - 1))
    assert numbers(seen, 1) == [0]
    assert seen[-1][1].gap is not None
    assert seen[-1][1].gap.reason == "no frame for 1 s"


def test_a_driver_that_never_returns_does_not_cost_a_thread_per_attempt(
    first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamparts.sources.live.LAST_DELAY", 0.05)
    monkeypatch.setattr("streamparts.sources.live.FIRST_DELAY", 0.05)
    release, num_opened = threading.Event(), 0

    def open_container() -> object:
        nonlocal num_opened
        num_opened += 1
        return av.open(Blocking(first if num_opened == 1 else b"", release))

    source = LiveSource(
        open_container,  # type: ignore[arg-type]
        "camera",
        idle_seconds=0.2,
        connect_seconds=PATIENCE_SECONDS,
        max_retries=40,
    )
    source._connect_seconds = 0.2
    try:
        with pytest.raises(VideoError, match=r"attempts.*\b40\b"):
            in_time(lambda: list(source))
        assert num_opened <= 6
    finally:
        release.set()
        source.close()


class Blocking(io.RawIOBase):
    """Gives its data, then blocks until released."""

    def __init__(self, data: bytes, release: threading.Event) -> None:
        self._data, self._release = io.BytesIO(data), release

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._data.read(size)
        if not data:
            self._release.wait(PATIENCE_SECONDS)
        return data


def test_datagrams_that_stop_and_start_again_leave_a_gap(first: bytes, second: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    stop, silent = threading.Event(), threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not stop.is_set():  # the receiver begins to listen at a time unknown
                data = second if silent.is_set() else first
                for start in range(0, len(data), 1316):
                    sender.sendto(data[start : start + 1316], ("127.0.0.1", port))
                    time.sleep(0.003)
                while silent.is_set() and not resumed.is_set() and not stop.is_set():
                    time.sleep(0.01)

    resumed = threading.Event()
    thread = threading.Thread(target=send, name="test-sender", daemon=True)
    thread.start()
    try:
        source = open_address(f"udp://127.0.0.1:{port}", idle_seconds=IDLE_SECONDS, connect_seconds=PATIENCE_SECONDS)
        threading.Timer(1.0, silent.set).start()
        threading.Timer(1.0 + 3 * IDLE_SECONDS, resumed.set).start()
        seen = [frame for _, frame in read(source)]
    finally:
        stop.set()
        thread.join(10)
    assert seen[-1].gap is not None
    assert seen[-1].gap.reason == "no frame for 2 s"
    assert seen[-1].gap.seconds >= IDLE_SECONDS
    assert seen[-1].segment == seen[-2].segment + 1


def test_a_program_ends_though_a_silent_sender_holds_its_reading_thread(first: bytes) -> None:
    code = (
        "import sys; from streamparts.sources import open_source\n"
        "source = open_source(sys.argv[1], idle_seconds=300)\n"
        "print(source.description); source.close()"
    )
    with servers.serving(hang_up_waiting(first)) as server:
        words = [sys.executable, "-c", code, f"tcp://127.0.0.1:{server.port}"]
        result = subprocess.run(
            words, capture_output=True, text=True, timeout=PATIENCE_SECONDS, cwd=ROOT, env=environment()
        )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "128x96 h264, 30 fps, live\n"


def test_a_file_by_its_address_ends_where_it_ends(tmp_path: Path) -> None:
    path = numbered_video(tmp_path / "a.mp4", 20)
    source = open_address(f"file://{path}")
    assert not source.live
    assert [number for number, _ in read(source, 100)] == list(range(20))


def test_a_closed_source_gives_nothing(first: bytes) -> None:
    with servers.serving(servers.say(first)) as server:
        source = open_tcp(server.port)
        source.close()
        assert list(source) == []


def open_rtsp(port: int, user: str = "", **options: float) -> LiveSource:
    options = {"idle_seconds": IDLE_SECONDS, "connect_seconds": PATIENCE_SECONDS} | options
    return open_address(f"rtsp://{user}127.0.0.1:{port}/yard", **options)  # type: ignore[arg-type]


def test_an_rtsp_camera_that_closes_and_comes_back_at_another_size_is_followed() -> None:
    units = servers.access_units(range(30))
    others = servers.access_units(range(30), 64, 160)
    with servers.serving(servers.rtsp(units), servers.rtsp(others)) as server:
        source = open_rtsp(server.port)
        assert source.name == f"rtsp://127.0.0.1:{server.port}/yard"
        seen = read(source, 55)
    assert numbers(seen, 0) == list(range(30))
    assert numbers(seen, 1) == list(range(25))
    check_times(seen)
    assert {(frame.segment, frame.height) for _, frame in seen} == {(0, 96), (1, 64)}
    assert sum(frame.gap is not None for _, frame in seen) == 1


def test_an_rtsp_camera_that_stalls_is_asked_again() -> None:
    stop = threading.Event()
    units = servers.access_units(range(30))
    with servers.serving(servers.rtsp(units, after=lambda: stop.wait(4)), servers.rtsp(units)) as server:
        seen = read(open_rtsp(server.port), 50)
    stop.set()
    assert len(numbers(seen, 0)) >= 29
    assert numbers(seen, 1) == list(range(len(numbers(seen, 1))))
    assert [frame.gap.reason for _, frame in seen if frame.gap] == ["no frame for 2 s"]


def test_a_camera_with_a_password_takes_it_from_the_address_and_nobody_sees_it() -> None:
    units = servers.access_units(range(20))
    with servers.serving(servers.rtsp(units, "s3cret")) as server:
        source = open_rtsp(server.port, "eve:s3cret@")
        assert "s3cret" not in source.name + source.description
        assert [number for number, _ in read(source, 15)] == list(range(15))


def test_a_wrong_password_is_said_to_be_wrong_and_not_shown() -> None:
    with servers.serving(servers.rtsp([], "right")) as server, pytest.raises(VideoError) as caught:
        in_time(lambda: open_rtsp(server.port, "eve:s3cret@"))
    assert "it requires a user and a password" in str(caught.value)
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cret" not in f"{error!s}{error!r}{error.args}"
        error = error.__cause__ or error.__context__


def test_a_live_source_is_read_once(first: bytes) -> None:
    with servers.serving(servers.say(first)) as server, open_tcp(server.port) as source:
        iter(source)
        with pytest.raises(ValueError, match="open it again"):
            iter(source)


def test_limits_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    path = numbered_video(tmp_path / "a.ts", 3)
    with pytest.raises(ValueError, match="must be positive"):
        LiveSource(lambda: av.open(str(path)), "camera", idle_seconds=0)


def test_an_rtsp_camera_that_comes_back_begins_one_segment_each_time() -> None:
    units = servers.access_units(range(30))
    with servers.serving(*(4 * [servers.rtsp(units)])) as server:
        seen = read(open_rtsp(server.port), 4 * 30)
    assert [frame.segment for _, frame in seen if frame.gap] == [1, 2, 3]
    assert {frame.segment for _, frame in seen} == {0, 1, 2, 3}
    check_times(seen)


def test_readers_of_former_connections_are_released_with_their_decoders() -> None:
    """At once, not when the garbage collector comes."""
    num_readers = list[int]()
    gc.collect()
    gc.disable()
    try:
        with (
            servers.serving(*[servers.rtsp(servers.access_units(range(20)))] * 4) as server,
            open_address(f"rtsp://127.0.0.1:{server.port}/x", idle_seconds=5, max_retries=1) as source,
            contextlib.suppress(VideoError),
        ):
            for frame in source:
                if frame.gap:
                    num_readers.append(sum(type(each) is Reader for each in gc.get_objects()))
    finally:
        gc.enable()
    assert len(num_readers) == 3
    assert max(num_readers) == 2, "the new one, and the last, while its thread ends"


def test_what_a_camera_sent_while_it_was_opened_is_read_though_it_is_gone_by_then() -> None:
    units = servers.access_units(range(15))
    with servers.serving(*(2 * [servers.rtsp(units, seconds=0)])) as server:
        seen = read(open_rtsp(server.port), 16)
    assert numbers(seen, 0) == list(range(15))


@pytest.mark.slow
def test_frames_that_come_out_because_the_camera_fell_silent_are_as_old_as_what_it_sent_last() -> None:
    stop = threading.Event()
    units = servers.access_units(range(30))
    with servers.serving(servers.rtsp(units, after=lambda: stop.wait(8)), servers.rtsp(units)) as server:
        seen = read(open_rtsp(server.port), 40)
        stop.set()
    before = [frame for _, frame in seen if frame.segment == 0]
    after = next(frame for _, frame in seen if frame.gap)
    assert after.gap is not None
    assert after.gap.reason == "no frame for 2 s"
    assert before[-1].decoded_at - before[-2].decoded_at < 1
    assert after.decoded_at - before[-1].decoded_at == pytest.approx(after.gap.seconds, abs=0.5)
