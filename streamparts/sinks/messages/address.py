"""Addresses of messages, in one word: udp://127.0.0.1:9000, ws://*:8765?format=msgpack, lsl://arm."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from streamparts.errors import VideoError
from streamparts.sources.base import reason_of
from streamparts.sources.redact import redact

LOOPBACK = "127.0.0.1"
ANY = "0.0.0.0"
_RECORD_CHOICES = {"format": ("json", "msgpack"), "masks": ("0", "1")}


@dataclass(frozen=True, slots=True)
class Kind:
    """Form of one protocol's addresses."""

    form: str
    """Name for the user."""
    is_name: bool = False
    """True if the address is a name instead of host and port."""
    listens: bool = False
    """True if receivers connect to it, so that it is an address of this machine; port 0 is any free one then."""
    has_records: bool = False
    """True if it carries the records of a tracks file, with a choice of format and masks."""
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Further options and their values, the default first."""

    @property
    def options(self) -> dict[str, tuple[str, ...]]:
        """All options and their values, the default first."""
        return {**(_RECORD_CHOICES if self.has_records else {}), **self.choices}


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed address."""

    scheme: str
    host: str
    port: int
    name: str
    """Name, for protocols with names instead of host and port; else ""."""
    options: Mapping[str, str]
    """Every option of the protocol, given or default."""

    def __str__(self) -> str:
        return self.at(self.port)

    def at(self, port: int) -> str:
        """The same in short form, with the actual port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{self.name or f'{host}:{port}'}"


def parse_address(text: str, kinds: Mapping[str, Kind]) -> Address:
    """Without a host, the address of this machine only. Raises ValueError with a one-line message for an invalid
    address."""
    shown = redact(text)
    try:
        parts = urlsplit(text)
        port = None if "://" not in text or kinds.get(parts.scheme, Kind("")).is_name else parts.port
    except ValueError as error:
        raise ValueError(f"{shown}: cannot be sent to: {error}") from error
    kind = kinds.get(parts.scheme) if "://" in text else None
    if kind is None:
        raise ValueError(
            f"{shown}: cannot be sent to; valid addresses: {', '.join(kind.form for kind in kinds.values())}"
        )
    if parts.path not in ("", "/") or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"{shown}: cannot be sent to: it has more than {kind.form}")
    options = _options(shown, kind, parts.query)
    if kind.is_name:
        return Address(parts.scheme, "", 0, unquote(parts.netloc) or "streamparts", options)
    host = parts.hostname or LOOPBACK
    if host == "*" and not kind.listens:
        raise ValueError(f"{shown}: cannot be sent to: * is not a host")
    if port is None or (port == 0 and not kind.listens):
        raise ValueError(f"{shown}: cannot be sent to: the port is missing, {kind.form}")
    return Address(parts.scheme, ANY if host == "*" else host, port, "", options)


def _options(shown: str, kind: Kind, query: str) -> dict[str, str]:
    options = {name: values[0] for name, values in kind.options.items()}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if value not in kind.options.get(name, ()):
            known = ", ".join(f"{name}={'|'.join(values)}" for name, values in kind.options.items()) or "none"
            raise ValueError(f"{shown}: {name}={value} is not an option; options are: {known}")
        options[name] = value
    return options


def resolved(
    address: Address, kind: Literal["tcp", "udp"]
) -> tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]:
    """(family, numeric address) for a socket, preferably IPv4, to which most programs listen.

    Raises VideoError if the host is unknown."""
    type_ = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
    try:
        found = socket.getaddrinfo(address.host, address.port, type=type_)
    except (OSError, UnicodeError) as error:
        raise VideoError(f"{address}: the host was not found ({reason_of(error)})") from error
    family, _, _, _, numeric = min(found, key=lambda one: one[0] != socket.AF_INET)
    return family, numeric  # type: ignore[return-value]
