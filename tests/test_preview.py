"""The live preview: its content, its access control, and its negligible cost."""

import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamparts.arrays import ByteArray
from streamparts.bundle.load import Bundle
from streamparts.errors import VideoError
from streamparts.runtime.stream import run
from streamparts.sinks.outputs import open_viewer
from streamparts.sinks.overlay.style import OverlayStyle
from streamparts.sinks.preview import window
from streamparts.sinks.preview.local_page import MAX_CONNECTIONS
from streamparts.sinks.preview.page import Page
from streamparts.sinks.preview.sink import MAX_SIDE, PreviewSink, shrunk
from streamparts.sinks.preview.window import window_problem
from streamparts.sources.rescale import Rescaler
from tests.conftest import environment
from tests.media import ArraySource, frame_of
from tests.test_overlay import drawn, tracks_of_square

pytestmark = pytest.mark.usefixtures("no_threads_left")
PATIENCE_SECONDS = 20.0


def eventually(what: object, so_that: str) -> None:
    """Wait until `what()` is true; fail after a while."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not what():  # type: ignore[operator]
        assert time.monotonic() < deadline, so_that
        time.sleep(0.005)


class FakeViewer:
    """Keeps what it is shown; `gate` holds it up in the middle of showing."""

    def __init__(self) -> None:
        self.pictures: list[ByteArray] = []
        self.gate = threading.Event()
        self.gate.set()
        self.is_open, self.is_wanted, self.num_closed = True, True, 0

    def poll(self) -> bool:
        return self.is_open

    def wanted(self) -> bool:
        return self.is_wanted

    def show(self, picture: ByteArray) -> None:
        self.pictures.append(picture)
        self.gate.wait(PATIENCE_SECONDS)

    def close(self) -> None:
        self.num_closed += 1


def test_the_newest_frame_is_shown_as_the_overlay_shows_it() -> None:
    viewer = FakeViewer()
    sink = PreviewSink(viewer)
    tracks = tracks_of_square((96, 128))
    sink.write(tracks)
    eventually(lambda: viewer.pictures, "a frame is shown")
    sink.close()
    assert np.array_equal(viewer.pictures[0], drawn(tracks))
    assert viewer.num_closed == 1


def test_a_viewer_that_hangs_holds_up_nobody_and_then_sees_the_newest() -> None:
    viewer = FakeViewer()
    viewer.gate.clear()
    sink = PreviewSink(viewer)
    sink.write(tracks_of_square(visible=np.zeros(1, np.bool_)))
    eventually(lambda: viewer.pictures, "the first frame is shown")
    for number in range(1000):  # would never end if `write` waited for the viewer
        image = np.full((96, 128, 3), number % 250, np.uint8)
        sink.write(tracks_of_square(visible=np.zeros(1, np.bool_), frame=frame_of(image)))
    assert len(viewer.pictures) == 1
    viewer.gate.set()
    eventually(lambda: len(viewer.pictures) == 2, "what comes next is shown")
    sink.close()
    assert (viewer.pictures[1] == 999 % 250).all(), "all in between were skipped"


def test_nothing_is_drawn_while_nobody_looks() -> None:
    viewer = FakeViewer()
    viewer.is_wanted = False
    sink = PreviewSink(viewer)
    for _ in range(50):
        sink.write(tracks_of_square())
        time.sleep(0.001)
    sink.close()
    assert sink.num_shown == 0
    assert viewer.pictures == []


def test_closing_the_viewer_is_told_once_and_later_frames_do_no_harm() -> None:
    viewer, told = FakeViewer(), []
    sink = PreviewSink(viewer, on_closed=lambda: told.append(1))
    viewer.is_open = False
    eventually(lambda: viewer.num_closed, "the preview sees that the user closed it")
    for _ in range(5):
        sink.write(tracks_of_square())
    sink.close()
    assert told == [1]
    assert viewer.num_closed == 1


def test_an_error_of_the_viewer_comes_with_a_later_write() -> None:
    class Broken(FakeViewer):
        def show(self, picture: ByteArray) -> None:
            raise VideoError("the display is gone")

    sink = PreviewSink(Broken())
    with pytest.raises(VideoError, match=r"display.*gone"):
        while True:
            sink.write(tracks_of_square())
    sink.close()


def test_large_pictures_are_shown_smaller_and_the_parts_with_them() -> None:
    tracks = tracks_of_square((1440, 2880))
    small = shrunk(tracks, Rescaler())
    assert (small.frame.height, small.frame.width) == (MAX_SIDE // 2, MAX_SIDE)
    assert small.centers[0] == pytest.approx(tracks.centers[0] * MAX_SIDE / 2880)
    assert small.letterbox.model_to_frame(np.array([32.0, 32.0])) == pytest.approx([MAX_SIDE / 2, MAX_SIDE / 4])


def test_side_by_side_is_side_by_side() -> None:
    viewer = FakeViewer()
    sink = PreviewSink(viewer, OverlayStyle(side_by_side=True))
    tracks = tracks_of_square((96, 128))
    sink.write(tracks)
    eventually(lambda: viewer.pictures, "a frame is shown")
    sink.close()
    assert np.array_equal(viewer.pictures[0][:, :128], tracks.frame.image)
    assert np.array_equal(viewer.pictures[0][:, 128:], drawn(tracks))


@pytest.fixture
def page() -> Iterator[Page]:
    with closing(Page()) as page:
        yield page


def ask(page: Page, path: str, method: str = "GET", host: str | None = None) -> tuple[int, bytes]:
    with closing(HTTPConnection("127.0.0.1", page.port, timeout=PATIENCE_SECONDS)) as connection:
        connection.request(method, path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return answer.status, answer.read()


def secret_of(page: Page) -> str:
    return page.address.split("/")[3]


def test_the_page_listens_on_this_machine_only(page: Page) -> None:
    assert page.address.startswith(f"http://127.0.0.1:{page.port}/")
    assert len(secret_of(page)) >= 20
    status, body = ask(page, f"/{secret_of(page)}/")
    assert status == 200
    assert b'<noscript><img src="stream"' in body, "without scripts too"


def test_two_pages_have_two_secrets(page: Page) -> None:
    with closing(Page()) as other:
        assert secret_of(page) != secret_of(other)


@pytest.mark.parametrize("what", ["", "stream", "stop"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_the_secret_there_is_nothing_to_see(page: Page, what: str, method: str) -> None:
    secret = secret_of(page)
    wrong = secret[:-1] + ("a" if secret[-1] != "a" else "b")
    for path in (
        f"/{what}",
        f"/{wrong}/{what}",
        f"//{what}",
        f"/{secret}x/{what}",
        f"/%C3%A9/{what}",
    ):
        assert ask(page, path, method)[0] == 404
    assert page.poll()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil", ""])
def test_a_page_of_another_site_that_points_its_name_here_sees_nothing(page: Page, host: str) -> None:
    assert ask(page, f"/{secret_of(page)}/", host=host or " ")[0] == 404


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1:1", "localhost"])
def test_a_forwarded_port_is_answered(page: Page, host: str) -> None:
    assert ask(page, f"/{secret_of(page)}/", host=host)[0] == 200


def test_the_answers_tell_browsers_to_keep_the_secret(page: Page) -> None:
    with closing(HTTPConnection("127.0.0.1", page.port, timeout=PATIENCE_SECONDS)) as connection:
        connection.request("GET", f"/{secret_of(page)}/")
        headers = connection.getresponse().headers
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def open_stream(page: Page) -> socket.socket:
    viewer = socket.create_connection(("127.0.0.1", page.port), timeout=PATIENCE_SECONDS)
    viewer.sendall(f"GET /{secret_of(page)}/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return viewer


def next_jpeg(stream: socket.socket, buffer: bytearray) -> np.ndarray:
    while True:
        head = re.search(rb"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: (\d+)\r\n\r\n", buffer)
        if head and len(buffer) >= head.end() + int(head[1]):
            jpeg = bytes(buffer[head.end() : head.end() + int(head[1])])
            del buffer[: head.end() + len(jpeg)]
            return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1])
        received = stream.recv(65536)
        assert received, "the stream goes on"
        buffer += received


def test_who_has_the_page_open_sees_the_frames_in_their_colours(page: Page) -> None:
    sink = PreviewSink(page)
    tracks = tracks_of_square((96, 128))
    with open_stream(page) as stream:
        eventually(page.wanted, "the viewer is there")
        buffer = bytearray()
        for _ in range(3):
            sink.write(tracks)
            got = next_jpeg(stream, buffer)
            assert np.abs(got.astype(int) - drawn(tracks)).mean() < 4
    sink.close()


def test_the_button_ends_the_run(tmp_path: Path, bundle: Bundle) -> None:
    lines: list[str] = []

    def press(progress: object) -> None:
        if len(lines) == 1:
            address = re.search(r"http://127\.0\.0\.1:(\d+)(/\S+/) ", lines[0])
            assert address, lines
            lines.append("pressed")
            with closing(HTTPConnection("127.0.0.1", int(address[1]), timeout=PATIENCE_SECONDS)) as connection:
                connection.request("POST", address[2] + "stop")
                assert connection.getresponse().status == 200

    source = ArraySource(100_000)
    summary = run(source, bundle, tracks=tmp_path / "t.jsonl", show="page", say=lines.append, progress=press)
    assert summary.interrupted
    assert 1 <= summary.num_frames < 100_000
    assert (tmp_path / "t.jsonl").read_bytes().count(b"\n") == 1 + summary.num_frames


def test_a_viewer_that_never_reads_costs_no_frame_and_no_end(page: Page) -> None:
    """Over a real socket: its buffers fill up, and from then on the page skips it."""
    sink = PreviewSink(page)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (720, 1280, 3), np.uint8)  # a large JPEG
    with open_stream(page) as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        eventually(page.wanted, "the stuck viewer is there")
        nothing = np.zeros(1, np.bool_)
        tracks = tracks_of_square((720, 1280), visible=nothing, frame=frame_of(noise))
        deadline = time.monotonic() + 3 * PATIENCE_SECONDS
        while sink.num_shown < 15:  # some megabytes, more than the buffers of both ends hold
            sink.write(tracks)
            time.sleep(0.002)
            assert time.monotonic() < deadline, "showing goes on although one viewer is stuck"
        with open_stream(page) as good:
            buffer = bytearray()
            eventually(lambda: page._num_watching == 2, "another viewer comes")
            sink.write(tracks)
            assert next_jpeg(good, buffer).shape == (720, 1280, 3)
        sink.close()


def test_more_viewers_than_allowed_are_turned_away(page: Page) -> None:
    viewers = [open_stream(page) for _ in range(MAX_CONNECTIONS)]
    eventually(lambda: page._num_watching == MAX_CONNECTIONS, "all of them are served")
    with open_stream(page) as one_more, suppress(ConnectionResetError):
        assert one_more.recv(100) == b""
    for viewer in viewers:
        viewer.close()


def test_a_port_that_is_taken_is_told_in_one_line(page: Page) -> None:
    with pytest.raises(VideoError, match=rf"\b{page.port}\b"):
        Page(page.port)


def test_without_a_window_the_page_is_taken_and_the_line_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "window_problem", lambda: "there is no display")
    viewer, line = open_viewer("auto")
    with closing(viewer):
        assert isinstance(viewer, Page)
        assert "\n" not in line
        assert viewer.address in line
        assert "(no window: there is no display)" in line
        assert f"ssh -L {viewer.port}:127.0.0.1:{viewer.port}" in line


def test_a_window_that_cannot_be_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "window_problem", lambda: "there is no display")
    with pytest.raises(VideoError, match="--show page"):
        open_viewer("window")


def test_the_reason_against_a_window_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window.sys, "platform", "linux")
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:                           NONE\n")
    assert "built without windows" in (window_problem() or "")
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:                           QT5\n")
    assert "hang outside the main thread" in (window_problem() or "")
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:                           GTK3\n")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert "no display" in (window_problem() or "")
    monkeypatch.setenv("DISPLAY", ":4321")
    monkeypatch.setattr(window, "_PROBE", "raise SystemExit(1)")
    assert window_problem() == "the display does not answer"
    monkeypatch.setattr(window, "_PROBE", "import time; time.sleep(60)")
    monkeypatch.setattr(window, "_PROBE_SECONDS", 0.5)
    assert "hang outside the main thread" in (window_problem() or "")


def test_a_window_is_shown_polled_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With OpenCV's windows played by a stand-in: the headless build has none."""
    calls: list[str] = []
    state = {"visible": 1.0, "key": -1}
    for name in ("namedWindow", "resizeWindow", "imshow", "destroyWindow"):
        monkeypatch.setattr(cv2, name, lambda *_, name=name: calls.append(name))
    monkeypatch.setattr(cv2, "waitKey", lambda _: state["key"])
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: state["visible"])
    view = window.PreviewWindow()
    assert view.poll() and view.wanted()
    view.show(np.zeros((4, 4, 3), np.uint8))
    view.show(np.zeros((4, 4, 3), np.uint8))
    assert calls == ["namedWindow", "resizeWindow", "imshow", "imshow"]
    assert view.poll()
    state["key"] = ord("q")
    assert not view.poll()
    state.update(key=-1, visible=0.0)
    assert not view.poll()
    view.close()
    view.close()
    assert calls[4:] == ["destroyWindow"]


def test_the_command_says_where_the_preview_is(tmp_path: Path, video: Path, model_path: Path) -> None:
    words = ["run", "--show", video, "--model", model_path, "--tracks", tmp_path / "t.jsonl"]
    blind = {name: value for name, value in environment().items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    result = subprocess.run(
        [sys.executable, "-m", "streamparts", *map(str, words)], capture_output=True, text=True, timeout=60, env=blind
    )
    assert result.returncode == 0
    (line,) = result.stderr.splitlines()
    assert re.match(r"streamparts: preview: http://127\.0\.0\.1:\d+/[\w-]+/ in a browser \(no window: ", line)
