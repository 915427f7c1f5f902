"""Messages over OSC, received by python-osc's own server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from streamparts.backends.loading import load_model
from streamparts.bundle.load import Bundle
from streamparts.data import Tracks
from tests.receivers import DatagramReceiver, send, sending, tracks_of
from tests.tiny_model import tiny_spec, write_tiny_model

pytest.importorskip("pythonosc")
from pythonosc.osc_bundle import OscBundle
from pythonosc.osc_packet import OscPacket

from streamparts.sinks.messages.osc import escaped

pytestmark = pytest.mark.usefixtures("no_threads_left")


@pytest.fixture
def receiver() -> Iterator[DatagramReceiver]:
    with closing(DatagramReceiver()) as one:
        yield one


def messages(receiver: DatagramReceiver) -> dict[str, list[Any]]:
    """Arguments by address of the next datagram."""
    return {timed.message.address: timed.message.params for timed in OscPacket(receiver.take()).messages}


def sent(receiver: DatagramReceiver, bundle: Bundle, tracks: Tracks) -> list[dict[str, list[Any]]]:
    """[header, frame] as `messages` gives them."""
    with sending(f"osc://127.0.0.1:{receiver.port}", bundle) as sink:
        send(sink, [tracks])
        return [messages(receiver) for _ in range(2)]


def test_a_frame_is_a_bundle_with_the_pose_of_every_part(bundle: Bundle, receiver: DatagramReceiver) -> None:
    tracks = tracks_of(7, segment=2)
    _, frame = sent(receiver, bundle, tracks)
    assert list(frame) == ["/streamparts/frame", "/streamparts/part/red", "/streamparts/part/green"]
    assert frame["/streamparts/frame"] == [7, 0, pytest.approx(7 / 30), 2]
    assert frame["/streamparts/part/red"] == pytest.approx([7, 10, 0.5, 4, 0.75, 1])
    assert frame["/streamparts/part/green"] == pytest.approx([5, 6, 0, 3, 0.25, 0])
    assert all(type(value) is float for value in frame["/streamparts/part/red"])


def test_the_header_says_how_to_read_the_rest_and_is_repeated(
    bundle: Bundle, receiver: DatagramReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamparts.sinks.messages.sink.ANNOUNCE_SECONDS", 0.02)
    with sending(f"osc://127.0.0.1:{receiver.port}", bundle) as sink:
        for _ in range(3):
            assert messages(receiver) == {
                "/streamparts/header": ["streamparts.tracks/3", "tiny", "arrays", 64, 48, "red", "green"]
            }
        tracks = tracks_of(0)
        send(sink, [replace(tracks, frame=replace(tracks.frame, segment=1, width=32, height=24))])
        while "/streamparts/frame" not in messages(receiver):
            pass
        assert messages(receiver)["/streamparts/header"][3:5] == [32, 24], "the size at hand"


def test_the_bundle_has_the_time_of_capture(bundle: Bundle, receiver: DatagramReceiver) -> None:
    tracks = tracks_of(0)
    old = replace(tracks, frame=replace(tracks.frame, decoded_at=time.perf_counter() - 100))
    with sending(f"osc://127.0.0.1:{receiver.port}", bundle) as sink:
        send(sink, [old])
        receiver.take()
        seconds = OscBundle(receiver.take()).timestamp
    assert time.time() - 120 < seconds < time.time() - 99


def test_receivers_may_be_told_to_act_at_once(bundle: Bundle, receiver: DatagramReceiver) -> None:
    with sending(f"osc://127.0.0.1:{receiver.port}?time=now", bundle) as sink:
        send(sink, [tracks_of(0)])
        receiver.take()
        assert receiver.take()[:16] == b"#bundle\0" + bytes(7) + b"\1", "OSC's word for immediately"


def test_times_stay_exact_for_days(bundle: Bundle, receiver: DatagramReceiver) -> None:
    tracks = tracks_of(0)
    late = replace(tracks, frame=replace(tracks.frame, pts=10**9 * 90_000 + 1, time_base=Fraction(1, 90_000)))
    _, frame = sent(receiver, bundle, late)
    assert frame["/streamparts/frame"][1:3] == [10**9, pytest.approx(1 / 90_000, rel=1e-6)]


def test_a_time_before_zero_is_rounded_down_and_its_fraction_added(bundle: Bundle, receiver: DatagramReceiver) -> None:
    tracks = tracks_of(0)
    early = replace(tracks, frame=replace(tracks.frame, pts=-1, time_base=Fraction(1, 4)))
    _, frame = sent(receiver, bundle, early)
    assert frame["/streamparts/frame"][1:3] == [-1, 0.75]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("left_hand", "left_hand"),
        ("left hand", "left%20hand"),
        ("a/b", "a%2Fb"),
        ("#1*?,[x]{y}", "%231%2A%3F%2C%5Bx%5D%7By%7D"),
        ("100%", "100%25"),
        ("Schädel", "Sch%C3%A4del"),
    ],
)
def test_names_are_escaped_for_addresses_as_documented(name: str, shown: str) -> None:
    assert escaped(name) == shown
    assert not set(shown) & set(" #*,/?[]{}")
    assert shown.isascii()


def test_a_part_with_an_awkward_name_arrives(tmp_path: Path, receiver: DatagramReceiver) -> None:
    names = ("left hand", "Schädel*1")
    path = write_tiny_model(tmp_path / "tiny.onnx", spec=tiny_spec(parts=names))
    tracks = replace(tracks_of(0), names=names)
    header, frame = sent(receiver, load_model(path), tracks)
    assert header["/streamparts/header"][5:] == list(names)
    assert list(frame)[1:] == ["/streamparts/part/left%20hand", "/streamparts/part/Sch%C3%A4del%2A1"]


def test_a_port_where_nobody_listens_costs_nothing(bundle: Bundle) -> None:
    with closing(DatagramReceiver()) as gone:
        port = gone.port
    with sending(f"osc://127.0.0.1:{port}", bundle) as sink:
        send(sink, map(tracks_of, range(50)))
        assert (sink.num_sent, sink.num_lost) == (50, 0)
