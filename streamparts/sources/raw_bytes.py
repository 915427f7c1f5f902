"""Bytes whose format is recognised by the first of them.

FFmpeg reads 256 kB or more of JPEG images, depending on its options, before it takes them for a video: a camera with
small images would be waited for too long.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import av
from av.container import InputContainer

_JPEG_START = b"\xff\xd8\xff"
_CHUNK_BYTES = 32768


class ByteFile(ABC):
    """The file interface that PyAV needs; returns available data instead of waiting for a full buffer."""

    def __init__(self) -> None:
        self._ahead = b""

    def kind(self) -> str | None:
        """FFmpeg's name of the format if it is recognised; waits for a few bytes."""
        while len(self._ahead) < len(_JPEG_START) and (more := self._next(_CHUNK_BYTES)):
            self._ahead += more
        return "mjpeg" if self._ahead.startswith(_JPEG_START) else None

    def read(self, size: int) -> bytes:
        if not self._ahead:
            self._ahead = self._next(size)
        ahead, self._ahead = self._ahead[:size], self._ahead[size:]
        return ahead

    @abstractmethod
    def _next(self, size: int) -> bytes:
        """Wait for data, about `size` bytes at most. Nothing at the end."""


class _AddressBytes(ByteFile):
    """The bytes that an address sends, read by FFmpeg's protocols. It hangs up at the end, and when reading fails.

    A timeout is an end for FFmpeg, so that it gives what it holds back; `silence` is then set.
    """

    def __init__(self, container: InputContainer) -> None:
        super().__init__()
        self._container: InputContainer | None = container
        self._packets = container.demux()
        self.silence: Exception | None = None

    def read(self, size: int) -> bytes:
        try:
            return super().read(size)
        except (av.ExitError, TimeoutError) as error:  # PyAV's own timeout is the first
            self.silence = error
            return b""

    def _next(self, size: int) -> bytes:
        try:
            packet = next(self._packets, None) if self._container else None
        except BaseException:
            self.hang_up()
            raise
        if packet is None or not packet.size:
            self.hang_up()
            return b""
        return bytes(packet)

    def hang_up(self) -> None:
        if self._container is not None:
            self._container.close()
            self._container = None


def open_bytes(word: str, options: dict[str, str], timeout: tuple[float, float]) -> InputContainer:
    """Open an address that sends bytes without any protocol of video above them. Raises PyAV's errors."""
    chunks = options | {"raw_packet_size": str(_CHUNK_BYTES)}
    file = _AddressBytes(av.open(word, mode="r", format="data", options=chunks, timeout=timeout))
    try:
        return av.open(file, mode="r", format=file.kind(), options=options)
    except BaseException:
        file.hang_up()
        if file.silence is not None:
            raise file.silence from None
        raise
