"""Messages over UDP, received by plain sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import msgspec
import numpy as np
import pytest

from streamparts.bundle.load import Bundle
from streamparts.tracksfile.records import FrameRecord, HeaderRecord
from streamparts.tracksfile.rle import encode_mask
from tests.receivers import DatagramReceiver, send, sending, tracks_of

pytestmark = pytest.mark.usefixtures("no_threads_left")
TOO_NOISY = (600, 600)


@pytest.fixture
def receiver() -> Iterator[DatagramReceiver]:
    with closing(DatagramReceiver()) as one:
        yield one


def test_every_record_is_a_datagram_and_the_header_is_the_first(bundle: Bundle, receiver: DatagramReceiver) -> None:
    with sending(f"udp://127.0.0.1:{receiver.port}", bundle) as sink:
        send(sink, map(tracks_of, range(5)))
        records = receiver.until_frame(4)
    header = records[0]
    assert (header["type"], header["schema"]) == ("header", "streamparts.tracks/3")
    assert header["model"]["parts"] == ["red", "green"]
    frames = [record for record in records if record["type"] == "frame"]
    assert [frame["frame"] for frame in frames] == list(range(5))
    assert frames[3]["parts"][0]["center"] == [3.0, 10.0]
    assert [part["visible"] for part in frames[3]["parts"]] == [True, False]


def test_who_comes_late_gets_the_header_and_the_segment(
    bundle: Bundle, receiver: DatagramReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamparts.sinks.messages.sink.ANNOUNCE_SECONDS", 0.05)
    with sending(f"udp://127.0.0.1:{receiver.port}", bundle) as sink:
        send(sink, [tracks_of(0), tracks_of(1, segment=2)])
        receiver.until_frame(1)
        later = [receiver.record() for _ in range(4)]
    assert [record["type"] for record in later] == ["header", "segment"] * 2
    assert {record["segment"] for record in later[1::2]} == {2}


def test_what_is_larger_than_a_datagram_is_left_out_and_counted(bundle: Bundle, receiver: DatagramReceiver) -> None:
    with sending(f"udp://127.0.0.1:{receiver.port}?masks=1", bundle) as sink:
        send(sink, [tracks_of(0), tracks_of(1, noise_hw=TOO_NOISY), tracks_of(2)])
        frames = [record["frame"] for record in receiver.until_frame(2) if record["type"] == "frame"]
    assert frames == [0, 2]
    assert sink.num_lost == 1
    assert sink.report().notes == (f"{sink.address}: 2 frames sent; 1 not sent: larger than a datagram",)


def test_masks_come_where_the_address_asks_for_them(bundle: Bundle, receiver: DatagramReceiver) -> None:
    tracks = tracks_of(0)
    with sending(f"udp://127.0.0.1:{receiver.port}?masks=1", bundle) as sink:
        send(sink, [tracks])
        header, frame = receiver.until_frame(0)
    assert header["masks"]["mask_hw"] == [64, 64]
    for part in range(2):
        assert frame["parts"][part]["mask"] == encode_mask(tracks.labels == part + 1)


def test_msgpack_carries_the_same_records(bundle: Bundle, receiver: DatagramReceiver) -> None:
    with sending(f"udp://127.0.0.1:{receiver.port}?format=msgpack", bundle) as sink:
        send(sink, [tracks_of(7)])
        header = msgspec.msgpack.decode(receiver.take(), type=HeaderRecord)
        frame = msgspec.msgpack.decode(receiver.take(), type=FrameRecord)
    assert header.model.sha256 == bundle.sha256
    assert (frame.frame, frame.parts[0].center) == (7, (7.0, 10.0))


def test_a_port_where_nobody_listens_costs_nothing_and_may_come_alive(bundle: Bundle) -> None:
    with closing(DatagramReceiver()) as gone:
        port = gone.port
    with sending(f"udp://127.0.0.1:{port}", bundle) as sink:
        send(sink, map(tracks_of, range(50)))
        assert (sink.num_sent, sink.num_lost) == (50, 0)
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as late:
            late.bind(("127.0.0.1", port))
            late.settimeout(20)
            send(sink, map(tracks_of, range(50, 60)))
            frames = [msgspec.json.decode(late.recv(65535)) for _ in range(10)]
    assert [frame["frame"] for frame in frames if frame["type"] == "frame"][:5] == list(range(50, 55))


def test_a_receiver_that_never_reads_costs_nothing(bundle: Bundle, receiver: DatagramReceiver) -> None:
    with sending(f"udp://127.0.0.1:{receiver.port}?masks=1", bundle) as sink:
        send(sink, (tracks_of(n, noise_hw=(256, 256)) for n in range(300)))  # many times what its buffer holds
        assert sink.num_sent + sink.num_lost == 300


def test_addresses_of_ipv6_are_sent_to(bundle: Bundle) -> None:
    try:
        receiver = DatagramReceiver("::1")
    except OSError:
        pytest.skip("no IPv6 here")
    with closing(receiver), sending(f"udp://[::1]:{receiver.port}", bundle) as sink:
        send(sink, [tracks_of(0)])
        assert [record["type"] for record in receiver.until_frame(0)] == ["header", "frame"]


def test_noise_is_too_large_for_a_datagram() -> None:
    """Else the test above tests nothing."""
    assert sum(len(encode_mask(tracks_of(1, noise_hw=TOO_NOISY).labels == part)["counts"]) for part in (1, 2)) > 65507
    assert np.unique(tracks_of(1).labels).tolist() == [0, 1, 2]


def test_broadcasts_reach_who_listens(bundle: Bundle) -> None:
    with closing(DatagramReceiver("0.0.0.0")) as receiver:
        try:
            with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                probe.sendto(b"{}", ("127.255.255.255", receiver.port))
        except OSError:
            pytest.skip("the loopback device takes no broadcasts here")
        receiver.take()
        with sending(f"udp://127.255.255.255:{receiver.port}", bundle) as sink:
            send(sink, [tracks_of(0)])
            assert [receiver.record()["type"] for _ in range(2)] == ["header", "frame"]
