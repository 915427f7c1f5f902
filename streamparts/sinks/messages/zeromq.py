"""ZeroMQ: a PUB socket; every message has two frames: its kind, for subscriptions, and the record."""

from __future__ import annotations

import zmq

from streamparts.data import Tracks
from streamparts.errors import VideoError
from streamparts.sinks.messages.address import Address, resolved
from streamparts.sinks.messages.encoding import Message, MessageEncoding
from streamparts.tracksfile.recording import Recording

HIGH_WATER_MARK = 8
"""Messages queued for a slow subscriber; ZeroMQ drops the following ones, for that subscriber only."""
_LINGER_MS = 500
_MAX_INCOMING_BYTES = 1024


class ZmqSender:
    """ZeroMQ does not report what subscribers missed; the frame numbers show it."""

    listens = True
    num_missed = 0

    def __init__(self, address: Address, recording: Recording) -> None:
        """Raises VideoError if it cannot listen there."""
        self._encoding = MessageEncoding(address, recording)
        _, (host, port, *_) = resolved(address, "tcp")
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.PUB)
        self._socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
        self._socket.setsockopt(zmq.LINGER, _LINGER_MS)
        self._socket.setsockopt(zmq.MAXMSGSIZE, _MAX_INCOMING_BYTES)
        self._socket.setsockopt(zmq.IPV6, int(":" in host))
        try:
            self._socket.bind(f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}")
        except zmq.ZMQError as error:
            self.close()
            raise VideoError(f"{address}: cannot listen there ({zmq.strerror(error.errno or 0)})") from error
        self.address = address.at(int(self._socket.getsockopt_string(zmq.LAST_ENDPOINT).rsplit(":", 1)[1].rstrip("\0")))

    def announce(self) -> None:
        self._send(self._encoding.greeting())

    def send(self, tracks: Tracks) -> str | None:
        self._send(self._encoding.messages(tracks))
        return None

    def close(self) -> None:
        self._context.destroy()

    def _send(self, messages: list[Message]) -> None:
        for kind, data in messages:
            self._socket.send_multipart([kind.encode(), data], zmq.NOBLOCK)


open_sender = ZmqSender
