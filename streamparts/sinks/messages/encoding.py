"""Encodes records, the lines of a tracks file, as JSON or msgpack messages."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from streamparts.data import Tracks
from streamparts.sinks.messages.address import Address
from streamparts.tracksfile.recording import Recording
from streamparts.tracksfile.records import HeaderRecord, Record


class Message(NamedTuple):
    """One encoded record."""

    kind: str
    """"header", "frame", "gap" or "segment": its `type`."""
    data: bytes


class MessageEncoding:
    """The messages of one run."""

    def __init__(self, address: Address, recording: Recording) -> None:
        self.is_text = address.options["format"] == "json"
        """True if messages are UTF-8 text."""
        self._recording = recording
        self._encode = (msgspec.json.Encoder() if self.is_text else msgspec.msgpack.Encoder()).encode

    def greeting(self) -> list[Message]:
        """For a new receiver: the header, and the current segment if it is not the header's."""
        segment = self._recording.segment
        return [self._message(record) for record in (self._recording.header, segment) if record is not None]

    def messages(self, tracks: Tracks) -> list[Message]:
        """The frame's message, after those of a gap or segment before it."""
        return [self._message(record) for record in self._recording.records(tracks)]

    def _message(self, record: HeaderRecord | Record) -> Message:
        return Message(str(record.__struct_config__.tag), self._encode(record))
