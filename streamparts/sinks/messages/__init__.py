"""Live messages: every frame's tracks over the network, without delaying the run. One protocol per module."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from streamparts.errors import MissingExtraError
from streamparts.machine import missing_package
from streamparts.sinks.messages.address import Address, Kind, parse_address
from streamparts.sinks.messages.sink import MessageSink, Sender
from streamparts.tracksfile.recording import Recording


@dataclass(frozen=True, slots=True)
class Protocol:
    """Implementation of an address scheme."""

    module: str
    """Module of this package with `open_sender(address, recording) -> Sender`."""
    kind: Kind
    """Form of its addresses."""
    package: str | None = None
    """Python package that it needs."""
    extra: str = ""
    """The pip extra that installs the package."""


PROTOCOLS = {
    "udp": Protocol("udp", Kind("udp://HOST:PORT", listens=False, has_records=True)),
    "zmq": Protocol("zeromq", Kind("zmq://HOST:PORT", listens=True, has_records=True), "zmq", "zmq"),
    "ws": Protocol("websocket", Kind("ws://HOST:PORT", listens=True, has_records=True), "websockets", "websocket"),
    "osc": Protocol(
        "osc", Kind("osc://HOST:PORT", listens=False, choices={"time": ("capture", "now")}), "pythonosc", "osc"
    ),
    "lsl": Protocol("lsl", Kind("lsl://NAME", is_name=True), "pylsl", "lsl"),
}


def parse_addresses(texts: str | Sequence[str]) -> tuple[Address, ...]:
    """Raises ValueError with a one-line message for an invalid address, MissingExtraError if a package is missing."""
    kinds = {scheme: protocol.kind for scheme, protocol in PROTOCOLS.items()}
    addresses = tuple(parse_address(text, kinds) for text in ([texts] if isinstance(texts, str) else texts))
    for address in addresses:
        protocol = PROTOCOLS[address.scheme]
        if protocol.package and (missing := missing_package(protocol.package, protocol.extra)):
            raise MissingExtraError(f"{address.scheme}:// cannot be used: {missing}")
    return addresses


def open_messages(address: Address, recording: Recording) -> MessageSink:
    """Return the sink that sends to `address`. Raises VideoError if it cannot: a port in use, an unknown host."""
    module = importlib.import_module(f"{__name__}.{PROTOCOLS[address.scheme].module}")
    open_sender = cast(Callable[[Address, Recording], Sender], module.open_sender)
    return MessageSink(open_sender(address, recording))
