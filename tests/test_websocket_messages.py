"""Messages over websockets, received by the library's own client, and by misbehaving sockets."""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
from contextlib import closing
from typing import Any

import msgspec
import pytest

from streamparts.bundle.load import Bundle
from streamparts.data import Gap
from streamparts.runtime.stream import run
from streamparts.sinks.messages.sink import MessageSink
from tests.live import PATIENCE_SECONDS, HandSource, wait_until
from tests.receivers import opened, port_of, send, sending, tracks_of

pytest.importorskip("websockets")
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

pytestmark = [pytest.mark.usefixtures("no_threads_left"), pytest.mark.timeout(120)]


def client_of(sink: MessageSink) -> ClientConnection:
    return connect(sink.address, max_size=None, open_timeout=PATIENCE_SECONDS)


def take(client: ClientConnection) -> dict[str, Any]:
    return json.loads(client.recv(timeout=PATIENCE_SECONDS))  # type: ignore[no-any-return]


def client_that_never_reads(sink: MessageSink) -> socket.socket:
    """It did shake hands."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.settimeout(PATIENCE_SECONDS)
    one.connect(("127.0.0.1", port_of(sink)))
    key = base64.b64encode(os.urandom(16)).decode()
    one.sendall(
        f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert one.recv(12) == b"HTTP/1.1 101"
    return one


def test_who_connects_gets_the_header_and_then_every_frame(bundle: Bundle) -> None:
    with sending("ws://127.0.0.1:0", bundle) as sink, client_of(sink) as early:
        assert take(early)["type"] == "header"
        send(sink, map(tracks_of, range(3)))
        assert [take(early)["frame"] for _ in range(3)] == [0, 1, 2]
        send(sink, [tracks_of(3, segment=1, gap=Gap("closed", 1.0))])
        assert [take(early)["type"] for _ in range(3)] == ["gap", "segment", "frame"]
        with client_of(sink) as late:
            assert [take(late)["type"] for _ in range(2)] == ["header", "segment"]
            send(sink, [tracks_of(4, segment=1)])
            assert [take(client)["frame"] for client in (early, late)] == [4, 4]


def test_who_leaves_is_forgotten(bundle: Bundle) -> None:
    with sending("ws://127.0.0.1:0", bundle) as sink, client_of(sink) as stays:
        with client_of(sink) as leaves:
            take(leaves)
        take(stays)
        send(sink, map(tracks_of, range(20)))
        assert [take(stays)["frame"] for _ in range(20)] == list(range(20))
        assert sink.num_lost == 0


def test_text_is_json_and_bytes_are_msgpack(bundle: Bundle) -> None:
    with sending("ws://127.0.0.1:0", bundle) as sink, client_of(sink) as client:
        assert isinstance(client.recv(timeout=PATIENCE_SECONDS), str)
    with sending("ws://127.0.0.1:0?format=msgpack", bundle) as sink, client_of(sink) as client:
        data = client.recv(timeout=PATIENCE_SECONDS)
        assert isinstance(data, bytes)
        assert msgspec.msgpack.decode(data)["type"] == "header"


def test_a_client_that_never_reads_misses_frames_and_the_others_do_not(bundle: Bundle) -> None:
    num_frames = 100
    sink = opened("ws://127.0.0.1:0?masks=1", bundle)
    with closing(client_that_never_reads(sink)), client_of(sink) as quick:
        assert take(quick)["type"] == "header"
        for number in range(num_frames):  # 140 KB each: more than the sockets' buffers hold
            send(sink, [tracks_of(number, noise_hw=(400, 400))])
            assert take(quick)["frame"] == number
        wait_until(lambda: sink.num_lost > 0, "frames were counted as missed")
        assert sink.num_lost < num_frames
        sink.close()
        assert sink.report().notes == (
            f"{sink.address}: {num_frames} frames sent; {sink.num_lost} missed by slow receivers",
        )


def test_what_clients_say_is_ignored_and_too_much_of_it_ends_them(bundle: Bundle) -> None:
    with sending("ws://127.0.0.1:0", bundle) as sink, client_of(sink) as polite, client_of(sink) as rude:
        for client in (polite, rude):
            take(client)
        polite.send("hello")
        rude.send(b"x" * 2000)
        with pytest.raises(ConnectionClosed, match="1009"):
            take(rude)
        send(sink, [tracks_of(0)])
        assert take(polite)["frame"] == 0


@pytest.mark.parametrize("words", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01nonsense\r\n\r\n", b"GET / HT"])
def test_who_speaks_something_else_harms_nobody(
    bundle: Bundle, words: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    with sending("ws://127.0.0.1:0", bundle) as sink:
        with closing(socket.create_connection(("127.0.0.1", port_of(sink)))) as stranger:
            stranger.sendall(words)
        with client_of(sink) as client:
            assert take(client)["type"] == "header"
    assert capfd.readouterr().err == ""


def test_the_last_frame_arrives_and_then_the_end(bundle: Bundle) -> None:
    sink = opened("ws://127.0.0.1:0", bundle)
    with client_of(sink) as client:
        take(client)
        closer = threading.Thread(target=lambda: (sink.write(tracks_of(99)), sink.close()))
        closer.start()
        assert take(client)["frame"] == 99
        with pytest.raises(ConnectionClosed, match="1001"):
            take(client)
        closer.join()


def test_a_run_with_a_client_that_never_reads_ends_when_told_to(bundle: Bundle) -> None:
    source, stop, said = HandSource(), threading.Event(), list[str]()
    result = list[Any]()
    address = "ws://127.0.0.1:0?masks=1"
    work = threading.Thread(target=lambda: result.append(run(source, bundle, send=address, say=said.append, stop=stop)))
    work.start()
    wait_until(lambda: bool(said), "it listens")
    assert said[0].endswith("waits for receivers")
    with closing(socket.create_connection(("127.0.0.1", int(said[0].split()[1].rsplit(":", 1)[1])))):
        source.give(3)
        wait_until(lambda: source._num_asked > 3, "the frames were taken")
        stop.set()
        work.join(PATIENCE_SECONDS)
    assert not work.is_alive()
    assert (result[0].interrupted, result[0].warnings) == (True, ())
