"""Helpers for tests of live messages: tracks to send, sinks, a receiving socket."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import numpy as np

from streamparts.bundle.load import Bundle
from streamparts.data import Frame, Gap, Tracks
from streamparts.sinks.messages import open_messages, parse_addresses
from streamparts.sinks.messages.sink import MessageSink
from streamparts.sources import Source
from streamparts.tracksfile.recording import Recording
from tests.live import PATIENCE_SECONDS, wait_until
from tests.media import ArraySource
from tests.test_data import make_tracks
from tests.tiny_model import PARTS

# Found on this machine alone, without multicast, which test machines may lack; and nothing on stderr.
LSL_CONFIG = "[multicast]\nResolveScope = machine\n[lab]\nKnownPeers = {127.0.0.1}\n[log]\nlevel = -3\n"


def tracks_of(
    index: int, *, segment: int = 0, gap: Gap | None = None, dropped: int = 0, noise_hw: tuple[int, int] = (64, 64)
) -> Tracks:
    """Frame `index` of the tiny model's parts: the first at (index, 10), turned by 0.5 and stretched to 8 x 2; the
    second hidden. The masks are noise, which cannot be packed."""
    image = np.zeros((48, 64, 3), np.uint8)
    now = time.perf_counter()
    frame = Frame(index, index, Fraction(1, 30), image, 0, 48, 64, now, segment, dropped, gap)
    cos, sin = np.cos(0.5), np.sin(0.5)
    first = [[8 * cos, -2 * sin, index], [8 * sin, 2 * cos, 10]]
    return make_tracks(
        names=PARTS,
        frame=frame,
        labels=np.random.default_rng(index).integers(0, 3, noise_hw).astype(np.uint8),
        affines=np.array([first, [[3, 0, 5], [0, 3, 6]]], np.float32),
        scores=np.array([0.75, 0.25], np.float32),
        visible=np.array([True, False]),
    )


def opened(text: str, bundle: Bundle, source: Source | None = None) -> MessageSink:
    """A sink that sends to `text`, to be closed."""
    (address,) = parse_addresses(text)
    masks = address.options.get("masks") == "1"
    return open_messages(address, Recording(bundle, source or ArraySource(0), masks))


@contextmanager
def sending(text: str, bundle: Bundle, source: Source | None = None) -> Iterator[MessageSink]:
    sink = opened(text, bundle, source)
    try:
        yield sink
    finally:
        sink.close()


def send(sink: MessageSink, tracks: Iterable[Tracks]) -> None:
    """One by one, so that none gives way to newer ones; returns when the last one is on its way."""
    for one in tracks:
        before = sink.num_sent + sink.num_lost
        sink.write(one)
        wait_until(lambda before=before: sink.num_sent + sink.num_lost > before, "the frame was sent")  # type: ignore[misc]


def port_of(sink: MessageSink) -> int:
    return int(sink.address.rsplit(":", 1)[1])


class DatagramReceiver:
    """A socket that listens on its own port."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.settimeout(PATIENCE_SECONDS)
        self.port: int = self._socket.getsockname()[1]

    def take(self) -> bytes:
        return self._socket.recv(65535)

    def record(self) -> dict[str, Any]:
        return json.loads(self.take())  # type: ignore[no-any-return]

    def until_frame(self, number: int) -> list[dict[str, Any]]:
        """Records up to that frame."""
        records = [self.record()]
        while records[-1].get("frame") != number or records[-1]["type"] != "frame":
            records.append(self.record())
        return records

    def is_empty(self) -> bool:
        self._socket.setblocking(False)
        try:
            self._socket.recv(65535)
        except BlockingIOError:
            return True
        finally:
            self._socket.settimeout(PATIENCE_SECONDS)
        return False

    def close(self) -> None:
        self._socket.close()
