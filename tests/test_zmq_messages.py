"""Messages over ZeroMQ, received by pyzmq."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import msgspec
import pytest

from streamparts.bundle.load import Bundle
from streamparts.sinks.messages.sink import MessageSink
from tests.live import PATIENCE_SECONDS, wait_until
from tests.receivers import opened, port_of, send, sending, tracks_of

zmq = pytest.importorskip("zmq")
pytestmark = [pytest.mark.usefixtures("no_threads_left"), pytest.mark.timeout(120)]


class Subscribers:
    """Opens them, and closes them at the end of the test."""

    def __init__(self) -> None:
        self._context = zmq.Context()
        self._sockets: list[Any] = []

    def close(self) -> None:
        self._context.destroy(linger=0)

    def socket(self) -> Any:
        self._sockets.append(self._context.socket(zmq.SUB))
        return self._sockets[-1]


@pytest.fixture
def context() -> Iterator[Subscribers]:
    with closing(Subscribers()) as subscribers:
        yield subscribers


def subscriber(context: Subscribers, sink: MessageSink, topic: bytes = b"", high_water_mark: int = 1000) -> Any:
    socket = context.socket()
    socket.setsockopt(zmq.RCVTIMEO, int(1000 * PATIENCE_SECONDS))
    socket.setsockopt(zmq.RCVHWM, high_water_mark)
    socket.setsockopt(zmq.SUBSCRIBE, topic)
    socket.connect(f"tcp://127.0.0.1:{port_of(sink)}")
    return socket


@pytest.fixture
def announced_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamparts.sinks.messages.sink.ANNOUNCE_SECONDS", 0.02)


def test_messages_have_their_kind_in_front_and_late_subscribers_get_the_header(
    bundle: Bundle, context: Subscribers, announced_often: None
) -> None:
    with sending("zmq://127.0.0.1:0", bundle) as sink:
        send(sink, [tracks_of(0, segment=3)])
        late = subscriber(context, sink)
        kind, data = late.recv_multipart()
        assert (kind, json.loads(data)["model"]["parts"]) == (b"header", ["red", "green"])
        kind, data = late.recv_multipart()
        assert (kind, json.loads(data)["segment"]) == (b"segment", 3)
        send(sink, (tracks_of(n, segment=3) for n in range(1, 6)))
        frames = list[int]()
        while len(frames) < 5:
            kind, data = late.recv_multipart()
            assert json.loads(data)["type"].encode() == kind
            frames += [json.loads(data)["frame"]] if kind == b"frame" else []
    assert frames == [1, 2, 3, 4, 5]


def test_a_subscriber_may_want_frames_alone(bundle: Bundle, context: Subscribers, announced_often: None) -> None:
    with sending("zmq://127.0.0.1:0?format=msgpack", bundle) as sink:
        frames, all_of_it = subscriber(context, sink, b"frame"), subscriber(context, sink)
        all_of_it.recv_multipart()  # both had the same time to connect
        wait_until(lambda: send(sink, [tracks_of(8)]) or frames.poll(20) > 0, "the subscription had arrived")
        kind, data = frames.recv_multipart()
        assert (kind, msgspec.msgpack.decode(data)["frame"]) == (b"frame", 8)


def test_a_slow_subscriber_misses_frames_and_the_others_do_not(
    bundle: Bundle, context: Subscribers, announced_often: None
) -> None:
    num_frames = 100
    with sending("zmq://127.0.0.1:0?masks=1", bundle) as sink:
        slow, quick = subscriber(context, sink, high_water_mark=1), subscriber(context, sink)
        for one in (slow, quick):
            assert one.recv_multipart()[0] == b"header"
        got = list[int]()
        for number in range(num_frames):  # 140 KB each: more than the slow one's buffers hold
            send(sink, [tracks_of(number, noise_hw=(400, 400))])
            while not got or got[-1] < number:
                kind, data = quick.recv_multipart()
                got += [json.loads(data)["frame"]] if kind == b"frame" else []
        assert got == list(range(num_frames))
    seen = list[int]()
    while slow.poll(500):  # what reached it before the end
        kind, data = slow.recv_multipart()
        seen += [json.loads(data)["frame"]] if kind == b"frame" else []
    assert seen == sorted(seen)
    assert 0 < len(seen) < num_frames


def test_the_end_waits_for_no_subscriber(bundle: Bundle, context: Subscribers, announced_often: None) -> None:
    sink = opened("zmq://127.0.0.1:0?masks=1", bundle)
    stuck = subscriber(context, sink, high_water_mark=1)
    assert stuck.recv_multipart()[0] == b"header"
    send(sink, (tracks_of(number, noise_hw=(400, 400)) for number in range(60)))
    sink.close()


def test_the_last_frame_arrives_though_the_run_ends_at_once(
    bundle: Bundle, context: Subscribers, announced_often: None
) -> None:
    sink = opened("zmq://127.0.0.1:0", bundle)
    late = subscriber(context, sink)
    late.recv_multipart()
    sink.write(tracks_of(99))
    sink.close()
    kind = b""
    while kind != b"frame":
        kind, data = late.recv_multipart()
    assert json.loads(data)["frame"] == 99
