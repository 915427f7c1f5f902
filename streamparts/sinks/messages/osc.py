"""OSC: one bundle per frame, with the pose of every part as floats. docs/messages.md describes the layout."""

from __future__ import annotations

from urllib.parse import quote

from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder

from streamparts.data import Frame, Tracks
from streamparts.sinks.messages.address import Address
from streamparts.sinks.messages.datagrams import Datagrams
from streamparts.sinks.messages.poses import poses
from streamparts.tracksfile.recording import Recording, captured_unix_seconds

HEADER, FRAME, PART = "/streamparts/header", "/streamparts/frame", "/streamparts/part/"
SUBJECT = "/streamparts/subject"
_MOST = 2**31 - 1
"""The largest OSC int."""


class OscSender:
    """Sends over UDP, with or without receivers."""

    listens = False
    num_missed = 0

    def __init__(self, address: Address, recording: Recording) -> None:
        """Raises VideoError if the host is unknown."""
        self.address = str(address)
        self._header = recording.header
        self._size_wh = (self._header.source.width, self._header.source.height)
        self._names = [escaped(name) for name in self._header.model.parts]
        self._says_time = address.options["time"] == "capture"
        self._datagrams = Datagrams(address)

    def announce(self) -> None:
        header, names = self._header, self._header.model.parts
        words = (header.schema, header.model.name, header.source.name)
        self._datagrams.send(_message(HEADER, "sssii" + "s" * len(names), *words, *self._size_wh, *names).dgram)

    def send(self, tracks: Tracks) -> str | None:
        self._size_wh = (tracks.frame.width, tracks.frame.height)
        bundle = OscBundleBuilder(captured_unix_seconds(tracks.frame) if self._says_time else IMMEDIATELY)  # type: ignore[arg-type]
        bundle.add_content(_frame_message(tracks.frame))
        for subject in tracks.subjects:
            if subject.subject_score is not None:
                bundle.add_content(_message(SUBJECT, "if", subject.subject, subject.subject_score))
            begin = f"{SUBJECT}/{subject.subject}/part/" if subject.subject else PART
            for name, pose in zip(self._names, poses(subject).tolist(), strict=True):
                bundle.add_content(_message(begin + name, "ffffff", *pose))
        return self._datagrams.send(bundle.build().dgram)

    def close(self) -> None:
        self._datagrams.close()


def escaped(name: str) -> str:
    """A part's name in an OSC address: characters other than ASCII letters, digits and _.-~ are percent-encoded in
    UTF-8."""
    return quote(name, safe="")


def _frame_message(frame: Frame) -> OscMessage:
    """The time is two numbers, because a 32-bit float resolves only 8 ms after a day."""
    seconds, ticks = divmod(frame.pts * frame.time_base.numerator, frame.time_base.denominator)
    whole = max(-_MOST, min(seconds, _MOST))
    return _message(
        FRAME, "iifi", frame.index & _MOST, whole, ticks / frame.time_base.denominator, frame.segment & _MOST
    )


def _message(address: str, types: str, *values: str | float) -> OscMessage:
    builder = OscMessageBuilder(address)
    for type_, value in zip(types, values, strict=True):
        builder.add_arg(value, type_)
    return builder.build()


open_sender = OscSender
