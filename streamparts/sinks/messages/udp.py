"""UDP: one datagram per record."""

from __future__ import annotations

from streamparts.data import Tracks
from streamparts.sinks.messages.address import Address
from streamparts.sinks.messages.datagrams import Datagrams
from streamparts.sinks.messages.encoding import MessageEncoding
from streamparts.tracksfile.recording import Recording


class UdpSender:
    """Sends with or without receivers."""

    listens = False
    num_missed = 0

    def __init__(self, address: Address, recording: Recording) -> None:
        """Raises VideoError if the host is unknown."""
        self.address = str(address)
        self._encoding = MessageEncoding(address, recording)
        self._datagrams = Datagrams(address)

    def announce(self) -> None:
        for message in self._encoding.greeting():
            self._datagrams.send(message.data)

    def send(self, tracks: Tracks) -> str | None:
        unsent = None
        for message in self._encoding.messages(tracks):
            unsent = self._datagrams.send(message.data)
        return unsent

    def close(self) -> None:
        self._datagrams.close()


open_sender = UdpSender
