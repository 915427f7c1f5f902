"""Copies the audio of a video file into the overlay, packet by packet."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av import Packet
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext

COPIED_CODECS = frozenset({"aac", "mp3", "opus", "ac3", "eac3", "flac", "alac"})
"""Codecs that an mp4 file can contain, by FFmpeg's names. Other audio is left out: nothing is re-encoded."""

_BROKEN = (av.FFmpegError, OSError, ValueError, MemoryError)


class AudioReader:
    """Opens a file a second time and reads its first audio stream up to the video's current time, in constant
    memory."""

    def __init__(self, path: str | Path, start_seconds: float | None = None) -> None:
        """`start_seconds`: packets that end before this time of the file are left out. Raises PyAV's errors."""
        self._container = av.open(f"file:{path}")
        self._start = start_seconds
        self.problem: str | None = None
        """Why the audio ended early, if it did."""
        self._waiting: Packet[AudioStream] | None = None
        try:
            known = (stream for stream in self._container.streams.audio if stream.codec_context is not None)
            self.stream: AudioStream | None = next(known, None)
            self._packets = self._demux(self.stream) if self.stream else iter(())
            if self.stream and start_seconds is not None:
                self._container.seek(max(0, round(start_seconds * av.time_base)))
        except BaseException:
            self._container.close()
            raise

    @property
    def codec(self) -> str:
        """FFmpeg's name; empty without audio."""
        return self.stream.codec_context.codec.canonical_name if self.stream else ""

    def until(self, seconds: Fraction) -> Iterator[Packet[AudioStream]]:
        """Yield the next packets that start before `seconds` of the file."""
        while (packet := self._waiting or self._next()) is not None:
            self._waiting = packet
            assert packet.pts is not None
            if packet.pts * packet.time_base >= seconds:
                return
            self._waiting = None
            yield packet

    def close(self) -> None:
        self._container.close()

    def _demux(self, stream: AudioStream) -> Iterator[Packet[AudioStream]]:
        packets = self._container.demux(stream)
        if self.codec != "aac" or stream.codec_context.extradata:
            return packets
        # In broadcast streams, every AAC packet has a header; mp4 files have one for all.
        repack = BitStreamFilterContext("aac_adtstoasc", stream)
        return (out for packet in packets if packet.dts is not None for out in repack.filter(packet))

    def _next(self) -> Packet[AudioStream] | None:
        try:
            for packet in self._packets:
                if packet.dts is not None and packet.pts is not None and not self._too_early(packet):
                    return packet
        except _BROKEN as error:
            self.problem = " ".join(str(getattr(error, "strerror", None) or error).split())
        self._packets = iter(())
        return None

    def _too_early(self, packet: Packet[AudioStream]) -> bool:
        if self._start is None or packet.pts is None:
            return False
        return (packet.pts + (packet.duration or 0)) * packet.time_base <= self._start


def open_audio(path: str | Path, start_seconds: float | None = None) -> tuple[AudioReader | None, str | None]:
    """(reader, note): the audio of a video file if an mp4 file can contain it unchanged; otherwise a note.

    (None, None) for a file without audio. A file that cannot be opened at all is reported by the video, not here.
    """
    try:
        reader = AudioReader(path, start_seconds)
    except _BROKEN:
        return None, None
    codec = reader.codec
    if codec in COPIED_CODECS:
        return reader, None
    reader.close()
    note = f"the overlay has no audio: mp4 files cannot contain {codec}" if codec else None
    return None, note
