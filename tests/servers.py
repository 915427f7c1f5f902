"""Video senders on local sockets, each with a script of faults."""

from __future__ import annotations

import base64
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.media import picture

Script = Callable[[socket.socket], None]


def mpegts(path: Path, numbers: Sequence[int], height: int = 96, width: int = 128) -> bytes:
    """An MPEG-TS stream of numbered images, 30 per second, with a keyframe every 10."""
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=30, options={"tune": "zerolatency", "g": "10"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for index, number in enumerate(numbers):
            frame = av.VideoFrame.from_ndarray(picture(number, height, width), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def say(data: bytes) -> Script:
    """Send and close."""
    return lambda connection: connection.sendall(data)


def say_and_stall(data: bytes, stop: threading.Event) -> Script:
    """Send, then keep the connection open without a word until `stop`."""

    def script(connection: socket.socket) -> None:
        connection.sendall(data)
        stop.wait(60)

    return script


class TcpServer:
    """Plays the first script to the first client, and so on; further clients are refused."""

    def __init__(self, scripts: Sequence[Script]) -> None:
        self._scripts = list(scripts)
        self.num_connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self.port = self._listener.getsockname()[1]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="server", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with self._listener:
            while self._scripts and not self._stopped.is_set():
                try:
                    connection, _ = self._listener.accept()
                except TimeoutError:
                    continue
                self.num_connections += 1
                with connection, suppress(OSError):
                    connection.settimeout(60)
                    self._scripts.pop(0)(connection)

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(5)


@contextmanager
def serving(*scripts: Script) -> Iterator[TcpServer]:
    server = TcpServer(scripts)
    try:
        yield server
    finally:
        server.stop()


def rtsp(
    frames: Sequence[bytes],
    password: str | None = None,
    after: Callable[[], object] = lambda: None,
    *,
    loses: Callable[[int, int], bool] = lambda frame, packet: False,
    udp: bool = False,
    seconds: float = 0.01,
) -> Script:
    """An RTSP session over one TCP connection: H.264 access units (Annex B), 30 a second, then `after`, then the end.

    With a password, a request that does not bring user "eve" and it is refused. Packets that it `loses` are not sent;
    `udp` refuses TCP for the pictures. A frame is sent every `seconds`.
    """

    def script(connection: socket.socket) -> None:
        requests = connection.makefile("rb")
        while request := _rtsp_request(requests):
            method, headers = request
            allowed = password is None or headers.get("authorization") == _basic("eve", password)
            if udp and method == "SETUP" and "RTP/AVP/TCP" in headers["transport"]:
                connection.sendall(f"RTSP/1.0 461 Unsupported Transport\r\nCSeq: {headers['cseq']}\r\n\r\n".encode())
                continue
            _rtsp_answer(connection, method, headers, allowed)
            if method == "SETUP":
                send = _rtp_sender(connection, headers["transport"])
            if method == "PLAY" and allowed:
                _play(send, frames, loses, seconds)
                after()
                return

    return script


def access_units(numbers: Sequence[int], height: int = 96, width: int = 128) -> list[bytes]:
    """H.264 of numbered images: one bytes object per frame, parameter sets before every keyframe."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.height, encoder.width, encoder.pix_fmt = height, width, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 30), Fraction(30)
    encoder.options = {"tune": "zerolatency", "g": "10", "x264-params": "repeat-headers=1:threads=1:slices=3"}
    units = []
    for index, number in enumerate(numbers):
        frame = av.VideoFrame.from_ndarray(picture(number, height, width), "rgb24")
        frame.pts, frame.time_base = index, Fraction(1, 30)
        units += [bytes(packet) for packet in encoder.encode(frame)]
    return units


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _rtsp_request(file: object) -> tuple[str, dict[str, str]] | None:
    """The next request; interleaved RTCP packets of the player are skipped."""
    read, readline = file.read, file.readline  # type: ignore[attr-defined]
    first = read(1)
    while first == b"$":
        _, length = struct.unpack(">BH", read(3))
        read(length)
        first = read(1)
    if not first:
        return None
    method = (first + readline()).decode().split()[0]
    headers = {}
    while (line := readline().decode().strip()) != "":
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return method, headers


def _rtsp_answer(connection: socket.socket, method: str, headers: dict[str, str], allowed: bool) -> None:
    lines = ["RTSP/1.0 200 OK" if allowed else "RTSP/1.0 401 Unauthorized", f"CSeq: {headers['cseq']}"]
    body = ""
    if not allowed:
        lines.append('WWW-Authenticate: Basic realm="here"')
    elif method == "OPTIONS":
        lines.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
    elif method == "DESCRIBE":
        body = (
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track0\r\n"
        )
        lines += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
    elif method == "SETUP":
        over_udp = "RTP/AVP/TCP" not in headers["transport"]
        answer = (
            f"{headers['transport']};server_port=50000-50001" if over_udp else "RTP/AVP/TCP;unicast;interleaved=0-1"
        )
        lines += [f"Transport: {answer}", "Session: 7"]
    else:
        lines.append("Session: 7")
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())


def _rtp_sender(connection: socket.socket, transport: str) -> Callable[[bytes], object]:
    """Sends one RTP packet: within the connection, or to the port that the player named."""
    if "RTP/AVP/TCP" in transport:
        return lambda packet: connection.sendall(b"$\0" + struct.pack(">H", len(packet)) + packet)
    port = int(transport.partition("client_port=")[2].partition("-")[0])

    def send(packet: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(packet, ("127.0.0.1", port))

    return send


def _play(
    send: Callable[[bytes], object], frames: Sequence[bytes], loses: Callable[[int, int], bool], seconds: float
) -> None:
    sequence = 0
    for index, unit in enumerate(frames):
        payloads = [payload for nal in _nal_units(unit) for payload in _fragments(nal)]
        for number, payload in enumerate(payloads):
            marker = 0x80 if number == len(payloads) - 1 else 0
            header = struct.pack(">BBHII", 0x80, marker | 96, sequence & 0xFFFF, 3000 * index, 1)
            if not loses(index, number):
                send(header + payload)
            sequence += 1
        time.sleep(seconds)


def _nal_units(unit: bytes) -> list[bytes]:
    return [piece.strip(b"\0") for piece in unit.split(b"\0\0\1") if piece.strip(b"\0")]


def _fragments(nal: bytes, size: int = 300) -> list[bytes]:
    """RFC 6184: one packet, or FU-A."""
    if len(nal) <= size:
        return [nal]
    pieces = [nal[start : start + size] for start in range(1, len(nal), size)]
    indicator, kind = nal[0] & 0xE0 | 28, nal[0] & 0x1F
    first, last = 0, len(pieces) - 1
    return [
        bytes([indicator, kind | (0x80 if i == first else 0) | (0x40 if i == last else 0)]) + piece
        for i, piece in enumerate(pieces)
    ]


def garbage(num_bytes: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(num_bytes)
