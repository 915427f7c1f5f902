"""A datagram socket that never waits and ignores missing receivers."""

from __future__ import annotations

import errno
import socket

from streamparts.errors import VideoError
from streamparts.sinks.messages.address import Address, resolved
from streamparts.sources.base import reason_of

MAX_BYTES = 65507
"""The largest datagram that IPv4 carries."""
TOO_LARGE = "larger than a datagram"


class Datagrams:
    """Sends to one address."""

    def __init__(self, address: Address) -> None:
        """Raises VideoError if the host is unknown, or there is no route to it."""
        family, self._target = resolved(address, "udp")
        try:
            # Not connected: on a connected socket, the answer of a dead receiver's host would fail every other message.
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        except OSError as error:
            raise VideoError(f"{address}: cannot be sent to ({reason_of(error)})") from error
        self._socket.setblocking(False)

    def send(self, data: bytes) -> str | None:
        """Return None, or why it could not be sent."""
        if len(data) > MAX_BYTES:
            return TOO_LARGE
        try:
            self._socket.sendto(data, self._target)
        except BlockingIOError:
            return "the network was too slow"
        except OSError as error:
            return TOO_LARGE if error.errno == errno.EMSGSIZE else reason_of(error)
        return None

    def close(self) -> None:
        self._socket.close()
