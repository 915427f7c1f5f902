"""The sound of a video file, as packets to be copied into another one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.packet import Packet

from streamparts.errors import VideoError
from streamparts.sources.base import BROKEN, Closing, reason_of
from streamparts.sources.files import ticks_at


class AudioPackets(Closing):
    """Packets of a file's default sound stream, undecoded, in the order of the file.

    Their `pts` and `dts` are those of the file, on the same clock as its frames' `pts_seconds`, in units of their own
    `time_base`. Iterate once, in one thread, and close it there.
    """

    def __init__(self, path: Path, start: float | None = None, end: float | None = None) -> None:
        """Raises VideoError; LookupError where the file has no sound that FFmpeg knows."""
        self._start, self._end = start, end
        self._path = path
        try:
            self._container = av.open(f"file:{path}", mode="r")
        except BROKEN as error:
            raise VideoError(f"{path}: its sound cannot be read ({reason_of(error)})") from error
        known = [stream for stream in self._container.streams.audio if stream.codec_context is not None]
        if not known:
            self._container.close()
            raise LookupError(f"{path}: has no sound")
        self.stream: AudioStream = known[0]
        """To be given to `add_stream_from_template` of the output, while this is open."""

    @property
    def codec(self) -> str:
        """As FFmpeg names it: aac, mp3, opus, pcm_s16le. Not every container takes every one."""
        return self.stream.codec_context.codec.canonical_name

    def close(self) -> None:
        self._container.close()

    def __iter__(self) -> Iterator[Packet[AudioStream]]:
        """Those that begin from `start` on and before `end`. A damaged stream ends where it cannot be read on."""
        time_base = self.stream.time_base
        first = last = None
        if time_base is not None and self._start:
            first = ticks_at(self._start, time_base)
            self._container.seek(first, stream=self.stream)
        if time_base is not None and self._end is not None:
            last = ticks_at(self._end, time_base)
        packets = self._container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except BROKEN:
                return
            if packet is None:
                return
            if packet.size == 0 or packet.pts is None or (first is not None and packet.pts < first):
                continue
            if last is not None and packet.pts >= last:
                return
            yield packet


def open_audio(word: str | Path, start: float | None = None, end: float | None = None) -> AudioPackets | None:
    """The sound of a video file from `start` to `end` seconds; None where it has none, or `word` is no file.

    Raises VideoError where there is a file that cannot be read.
    """
    path = Path(word)
    if not path.is_file():
        return None
    try:
        return AudioPackets(path, start, end)
    except LookupError:
        return None
