"""A preview in the browser: a small page that only this machine, and only who knows its address, can open."""

from __future__ import annotations

import hmac
import re
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer

import cv2
import numpy as np

from streamparts.data import ByteArray
from streamparts.errors import VideoError

HOST = "127.0.0.1"
MAX_CONNECTIONS = 8
"""At once; more are turned away."""
STUCK_SECONDS = 5.0
"""A viewer that takes nothing for so long is disconnected."""
JPEG_QUALITY = 80

_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the address holds the secret
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
}
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>streamparts</title>
<style>body{margin:0;background:#191a1e;color:#ddd;font:14px sans-serif;text-align:center}
img{max-width:100vw;max-height:calc(100vh - 48px);object-fit:contain}button{margin:8px;padding:4px 16px}</style>
<img src="stream" alt="waiting for the first frame">
<form method="post" action="stop"><button>Stop the run</button></form>
"""
_STOPPED = """<!doctype html><html lang="en"><meta charset="utf-8"><title>streamparts</title>
<p>The run ends; its outputs are being finished.</p>"""


class Page:
    """A Viewer that serves pictures as a stream of JPEGs to whoever has the page open."""

    def __init__(self, port: int = 0) -> None:
        """Listens on `port` of this machine, 0 for any that is free. Raises VideoError where it is taken."""
        self._token = secrets.token_urlsafe(18)
        self._jpeg, self._number = b"", 0
        self._changed = threading.Condition()
        self._num_watching = 0
        self._ending = self._stopped = False
        try:
            self._server = _Server((HOST, port), partial(_Handler, self))
        except OSError as error:
            raise VideoError(f"the preview page cannot use port {port} ({error.strerror}); give another one") from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="streamparts-page", daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> str:
        """To be opened in a browser; whoever knows it can watch, and stop the run."""
        return f"http://{HOST}:{self.port}/{self._token}/"

    def poll(self) -> bool:
        return not self._stopped

    def wanted(self) -> bool:
        return self._num_watching > 0

    def show(self, picture: ByteArray) -> None:
        bgr = np.ascontiguousarray(picture[..., ::-1])
        jpeg = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))[1].tobytes()
        with self._changed:
            self._jpeg, self._number = jpeg, self._number + 1
            self._changed.notify_all()

    def close(self) -> None:
        """Disconnect everybody and end all threads."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server.disconnect()

    def stop(self) -> None:
        """As the button does."""
        self._stopped = True

    def knows(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self._token.encode())

    def stream(self, send: Callable[[bytes], None]) -> None:
        """Call `send` with each new picture until the page is closed; those that come while it works are skipped."""
        with self._changed:
            self._num_watching += 1
        try:
            seen = 0
            while not self._ending:
                with self._changed:
                    while self._number == seen and not self._ending:
                        self._changed.wait()
                    jpeg, seen = self._jpeg, self._number
                if not self._ending:
                    send(jpeg)
        finally:
            with self._changed:
                self._num_watching -= 1


class _Server(TCPServer):
    """One thread for each connection, all of which can be ended."""

    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handler: Callable[..., BaseHTTPRequestHandler]) -> None:
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)
        thread = threading.Thread(
            target=self._serve, args=(request, client_address), name="streamparts-page-viewer", daemon=True
        )
        with self._lock:
            if len(self._connections) >= MAX_CONNECTIONS:
                self.shutdown_request(request)
                return
            self._connections[thread] = request
        thread.start()

    def disconnect(self) -> None:
        with self._lock:
            connections = dict(self._connections)
        for request in connections.values():
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)
        for thread in connections:
            thread.join()

    def _serve(self, request: socket.socket, client_address: object) -> None:
        try:
            with suppress(OSError):  # gone, or stuck
                self.finish_request(request, client_address)
        finally:
            self.shutdown_request(request)
            with self._lock:
                del self._connections[threading.current_thread()]


class _Handler(BaseHTTPRequestHandler):
    timeout = STUCK_SECONDS
    server_version = "streamparts"
    sys_version = ""

    def __init__(self, page: Page, *request: object) -> None:
        self._page = page
        super().__init__(*request)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        what = self._asked_for()
        if what == "":
            self._answer(_PAGE)
        elif what == "stream":
            self._stream()
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        if self._asked_for() == "stop":
            self._answer(_STOPPED)
            self._page.stop()
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _asked_for(self) -> str | None:
        """What follows the secret; None for those who do not know it, or were led here by another site's name."""
        host = re.fullmatch(r"(127\.0\.0\.1|localhost)(:\d+)?", self.headers.get("Host", ""))
        match = re.fullmatch(r"/([\w-]+)/(\w*)", self.path, re.ASCII)
        return match[2] if host and match and self._page.knows(match[1]) else None

    def _answer(self, text: str) -> None:
        body = text.encode()
        self.send_response(HTTPStatus.OK)
        self._send_headers("text/html; charset=utf-8", {"Content-Length": str(len(body))})
        self.wfile.write(body)

    def _stream(self) -> None:
        self.send_response(HTTPStatus.OK)
        self._send_headers("multipart/x-mixed-replace; boundary=picture", {"Connection": "close"})

        def send(jpeg: bytes) -> None:
            head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")

        self._page.stream(send)

    def _send_headers(self, kind: str, others: dict[str, str]) -> None:
        for name, value in {"Content-Type": kind, **others, **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
