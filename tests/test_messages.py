"""Live messages of all protocols: addresses, the sink, which never waits for receivers, and whole runs with --send."""

from __future__ import annotations

import importlib.util
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamparts.bundle.load import Bundle
from streamparts.cli import main
from streamparts.data import Frame, Gap, Tracks
from streamparts.errors import MissingExtraError, StreampartsError, VideoError
from streamparts.runtime.stats import Stats
from streamparts.runtime.stream import run, run_many
from streamparts.sinks.messages import PROTOCOLS, parse_addresses
from streamparts.sinks.messages.backlog import Backlog
from streamparts.sinks.messages.sink import DEPTH, MessageSink
from tests.live import HandSource, wait_for_threads, wait_until
from tests.media import ArraySource
from tests.receivers import DatagramReceiver, tracks_of

pytestmark = [pytest.mark.usefixtures("no_threads_left"), pytest.mark.timeout(120)]


@pytest.fixture
def receiver() -> Iterator[DatagramReceiver]:
    with closing(DatagramReceiver()) as one:
        yield one


class CalmSource(ArraySource):
    """Gives the machine time to send."""

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            time.sleep(0.02)
            yield frame


@pytest.mark.parametrize(
    ("text", "shown", "options"),
    [
        ("udp://192.0.2.1:9000", "udp://192.0.2.1:9000", {"format": "json", "masks": "0"}),
        ("udp://:9000?masks=1", "udp://127.0.0.1:9000", {"format": "json", "masks": "1"}),
        ("udp://[::1]:9000/", "udp://[::1]:9000", {"format": "json", "masks": "0"}),
        ("zmq://*:5556", "zmq://0.0.0.0:5556", {"format": "json", "masks": "0"}),
        ("ws://:0?format=msgpack", "ws://127.0.0.1:0", {"format": "msgpack", "masks": "0"}),
        ("osc://studio:9001?time=now", "osc://studio:9001", {"time": "now"}),
        ("osc://:9001", "osc://127.0.0.1:9001", {"time": "capture"}),
        ("lsl://", "lsl://streamparts", {}),
        ("lsl://Left%20arm", "lsl://Left arm", {}),
    ],
)
def test_an_address_says_where_messages_go(text: str, shown: str, options: dict[str, str]) -> None:
    (address,) = parse_addresses(text)
    assert (str(address), dict(address.options)) == (shown, options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "ftp://127.0.0.1:1",
            "valid addresses: udp://HOST:PORT, zmq://HOST:PORT, ws://HOST:PORT, osc://HOST:PORT, lsl://NAME",
        ),
        ("127.0.0.1:9000", "valid addresses: udp"),
        ("", "valid addresses: udp"),
        ("udp://127.0.0.1", "port is missing, udp://HOST:PORT"),
        ("udp://127.0.0.1:0", "port is missing"),
        ("udp://127.0.0.1:70000", "Port out of range"),
        ("udp://127.0.0.1:nine", "Port could not be cast"),
        ("udp://[::1:9000", "Invalid IPv6 URL"),
        ("udp://*:9000", "is not a host"),
        ("osc://*:9000", "is not a host"),
        ("ws://:8765/tracks", "more than ws://HOST:PORT"),
        ("ws://:8765#tracks", "more than ws://HOST:PORT"),
        ("ws://:8765?format=xml", r"format=xml is not an option; options are: format=json\|msgpack, masks=0\|1"),
        ("osc://:9001?format=json", r"format=json is not an option; options are: time=capture\|now"),
        ("lsl://arm?masks=1", "masks=1 is not an option; options are: none"),
        ("lsl://arm/left", "more than lsl://NAME"),
    ],
)
def test_what_is_no_address_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_addresses(text)
    assert "\n" not in str(caught.value)
    assert text in str(caught.value)


def test_credentials_are_refused_and_not_shown() -> None:
    with pytest.raises(ValueError, match="more than ws") as caught:
        parse_addresses("ws://me:hunter2@127.0.0.1:8765")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("scheme", sorted(set(PROTOCOLS) - {"udp"}))
def test_a_missing_extra_is_named_before_anything_else_happens(
    scheme: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'streamparts\[{PROTOCOLS[scheme].extra}\]'"):
        run("no_such_video.mp4", tmp_path / "none.onnx", send=f"{scheme}://127.0.0.1:9000")


def test_pylsl_without_its_library_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pylsl", None)  # importing it fails
    monkeypatch.delitem(sys.modules, "streamparts.sinks.messages.lsl", raising=False)
    with pytest.raises(MissingExtraError, match="lsl://") as caught:
        importlib.import_module("streamparts.sinks.messages.lsl")
    assert "\n" not in str(caught.value)


def test_the_oldest_gives_way_and_what_must_last_is_handed_on() -> None:
    backlog: Backlog[str] = Backlog(2, lambda left_out, following: f"{left_out}>{following}")
    for item in "abcd":
        backlog.put(item)
    assert (backlog.num_lost, len(backlog)) == (2, 2)
    assert [backlog.take() for _ in range(3)] == ["a>b>c", "d", None]


class Stuck:
    """A Sender that hangs in its first frame until it is released."""

    address = "stuck://"
    listens = False
    num_missed = 0

    def __init__(self) -> None:
        self.entered, self.release = threading.Event(), threading.Event()
        self.sent: list[Tracks] = []
        self.num_announced = self.num_closed = 0

    def announce(self) -> None:
        self.num_announced += 1

    def send(self, tracks: Tracks) -> str | None:
        self.entered.set()
        self.release.wait()
        self.sent.append(tracks)
        return "odd" if tracks.index % 2 else None

    def close(self) -> None:
        self.num_closed += 1


def test_writing_waits_for_nothing_and_what_was_left_out_is_counted() -> None:
    sender = Stuck()
    sink = MessageSink(sender)
    sink.write(tracks_of(0))
    sender.entered.wait()
    gap = Gap("closed", 2.5)
    [sink.write(tracks_of(n, gap=gap if n == 3 else None, dropped=int(n == 5))) for n in range(1, 101)]
    assert sink.num_lost == 100 - DEPTH
    sender.release.set()
    sink.close()
    assert [tracks.index for tracks in sender.sent] == [0, *range(101 - DEPTH, 101)]
    first = sender.sent[1].frame
    assert (first.gap, first.dropped) == (gap, 1), "what the frames left out had to tell"
    assert all(tracks.frame.image.size == 0 for tracks in sender.sent), "no picture waits"
    assert (sender.num_closed, sender.num_announced >= 1) == (1, True)
    assert sink.report().notes == (f"stuck://: {1 + DEPTH // 2} frames sent; {DEPTH // 2} not sent: odd; "
                                   f"{100 - DEPTH} not sent: replaced by newer ones",)  # fmt: skip


def test_a_sender_that_hangs_is_left_behind() -> None:
    sender = Stuck()
    sink = MessageSink(sender)
    sink.write(tracks_of(0))
    sender.entered.wait()
    sink.close()
    assert sender.num_closed == 0
    sender.release.set()
    wait_for_threads()


def test_who_comes_late_is_told_again_and_again_even_while_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamparts.sinks.messages.sink.ANNOUNCE_SECONDS", 0.01)
    sender = Stuck()
    with closing(MessageSink(sender)):
        wait_until(lambda: sender.num_announced > 3, "it was announced")
    assert sender.sent == []


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_messages_are_the_records_of_the_tracks_file(
    bundle: Bundle, receiver: DatagramReceiver, tmp_path: Path
) -> None:
    path = tmp_path / "t.jsonl"
    summary = run(CalmSource(20), bundle, tracks=path, send=f"udp://127.0.0.1:{receiver.port}")
    records, lines = receiver.until_frame(19), lines_of(path)
    assert records[0] == lines[0], "the header comes first"
    assert [record for record in records if record["type"] != "header"] == lines[1:]
    assert (summary.num_frames, summary.counts.messages_lost) == (20, 0)
    assert summary.notes == (f"udp://127.0.0.1:{receiver.port}: 20 frames sent",)


def test_a_break_in_the_stream_is_a_message_too(bundle: Bundle, receiver: DatagramReceiver) -> None:
    source = HandSource()
    result: list[object] = []
    thread = threading.Thread(target=lambda: result.append(run(source, bundle, send=f"udp://:{receiver.port}")))
    thread.start()
    source.give()
    assert [record["type"] for record in receiver.until_frame(0)][-1] == "frame"
    source.give(segment=1, gap=Gap("the connection was closed", 5.0))
    after = [record for record in receiver.until_frame(1) if record["type"] != "header"]
    assert [record["type"] for record in after] == ["gap", "segment", "frame"]
    assert (after[0]["reason"], after[1]["segment"], after[2]["segment"]) == ("the connection was closed", 1, 1)
    source.finish()
    thread.join()
    assert result


def test_a_live_frame_says_when_it_was_captured(bundle: Bundle, receiver: DatagramReceiver, tmp_path: Path) -> None:
    source = HandSource()
    before = time.time()
    source.give()
    after = time.time()
    time.sleep(0.05)  # from here on it is not the time of capture any more
    source.finish()
    run(source, bundle, tracks=tmp_path / "t.jsonl", send=f"udp://127.0.0.1:{receiver.port}")
    message, line = receiver.until_frame(0)[-1], lines_of(tmp_path / "t.jsonl")[1]
    for record in (message, line):
        assert before - 0.001 <= record["captured_unix_seconds"] <= after + 0.001


def test_a_frame_of_a_file_has_no_time_of_capture(bundle: Bundle, receiver: DatagramReceiver) -> None:
    run(CalmSource(1), bundle, send=f"udp://127.0.0.1:{receiver.port}")
    assert "captured_unix_seconds" not in receiver.until_frame(0)[-1]


def test_what_was_lost_is_in_the_stats_and_the_summary(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("streamparts.sinks.messages.datagrams.MAX_BYTES", 10)
    summary = run(CalmSource(10), bundle, send="udp://127.0.0.1:9", stats=tmp_path / "s.jsonl")
    assert summary.counts.messages_lost == 10
    assert summary.notes == ("udp://127.0.0.1:9: 0 frames sent; 10 not sent: larger than a datagram",)
    last = msgspec.json.decode((tmp_path / "s.jsonl").read_bytes().splitlines()[-1], type=Stats)
    assert (last.final, last.messages_lost) == (True, 10)


def test_a_sender_that_breaks_ends_alone(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, receiver: DatagramReceiver
) -> None:
    def broken(self: object, data: bytes) -> str | None:
        raise RuntimeError("the socket melted")

    monkeypatch.setattr("streamparts.sinks.messages.datagrams.Datagrams.send", broken)
    with pytest.raises(RuntimeError, match="melted"):
        run(CalmSource(10), bundle, tracks=tmp_path / "t.jsonl", send="udp://127.0.0.1:9")
    assert len(lines_of(tmp_path / "t.jsonl")) == 11


@pytest.mark.parametrize("scheme", ["zmq", "ws"])
def test_a_port_in_use_is_told_at_the_start_and_nothing_is_touched(scheme: str, bundle: Bundle, tmp_path: Path) -> None:
    pytest.importorskip({"zmq": "zmq", "ws": "websockets"}[scheme])
    path = tmp_path / "t.jsonl"
    path.write_text("precious")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"{scheme}://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(VideoError, match=rf"^{address}: .*\(Address already in use\)$"):
            run(ArraySource(3), bundle, tracks=path, send=["udp://127.0.0.1:9", address], force=True)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("scheme", ["udp", "osc", "zmq", "ws"])
def test_an_unknown_host_is_told_at_the_start(scheme: str, bundle: Bundle) -> None:
    if PROTOCOLS[scheme].package:
        pytest.importorskip(PROTOCOLS[scheme].package)
    with pytest.raises(StreampartsError, match=rf"^{scheme}://nowhere.invalid:9000"):
        run(ArraySource(3), bundle, send=f"{scheme}://nowhere.invalid:9000")


def test_the_command_sends_and_writes_no_files(
    model_path: Path,
    video: Path,
    tmp_path: Path,
    receiver: DatagramReceiver,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["run", str(video), "--model", str(model_path), "--send", f"udp://127.0.0.1:{receiver.port}"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert f"udp://127.0.0.1:{receiver.port}: " in said.out
    assert said.err == ""
    assert receiver.until_frame(39)[0]["type"] == "header"
    assert list(tmp_path.iterdir()) == []
    assert main([*words, "--out-dir", "."]) == 0
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".jsonl", ".mp4"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--send", "ftp://x:1"], "error: ftp://x:1: cannot be sent to; valid addresses: udp://HOST:PORT"),
        (["--send", "udp://:9", "--masks"], "--tracks FILE.jsonl"),
        (["second.mp4", "--send", "udp://:9"], "--send"),
    ],
)
def test_the_command_tells_what_is_wrong_in_one_line(
    video: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["run", str(video), *words])
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_several_sources_have_no_messages() -> None:
    with pytest.raises(TypeError, match="send"):
        run_many(["a.mp4", "b.mp4"], send="udp://127.0.0.1:9")  # type: ignore[call-arg]
