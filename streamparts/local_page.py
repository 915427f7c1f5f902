"""A small web server for one page that only this machine, and only who knows its address, can open."""

from __future__ import annotations

import hmac
import re
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer

HOST = "127.0.0.1"
MAX_CONNECTIONS = 8
"""At once; more are turned away."""
STUCK_SECONDS = 5.0
"""A viewer that takes nothing for so long is disconnected."""

_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the address holds the secret
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
}


class LocalServer(TCPServer):
    """One thread for each connection, all of which can be ended."""

    allow_reuse_address = True

    def __init__(self, port: int, handler: Callable[..., BaseHTTPRequestHandler], name: str) -> None:
        """Listens on `port` of this machine, 0 for any that is free; `name` is that of its threads. Raises OSError."""
        self._token = secrets.token_urlsafe(18)
        self._name = name
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._lock = threading.Lock()
        super().__init__((HOST, port), handler)
        self.port: int = self.server_address[1]
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name=name, daemon=True)

    @property
    def address(self) -> str:
        """To be opened in a browser."""
        return f"http://{HOST}:{self.port}/{self._token}/"

    def start(self) -> None:
        self._thread.start()

    def knows(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self._token.encode())

    def close(self) -> None:
        """Disconnect everybody and end all threads."""
        self.shutdown()
        self.server_close()
        self._thread.join()
        with self._lock:
            connections = dict(self._connections)
        for request in connections.values():
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)
        for thread in connections:
            thread.join()

    def process_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)
        thread = threading.Thread(
            target=self._serve, args=(request, client_address), name=f"{self._name}-viewer", daemon=True
        )
        with self._lock:
            if len(self._connections) >= MAX_CONNECTIONS:
                self.shutdown_request(request)
                return
            self._connections[thread] = request
        thread.start()

    def _serve(self, request: socket.socket, client_address: object) -> None:
        try:
            with suppress(OSError):  # gone, or stuck
                self.finish_request(request, client_address)
        finally:
            self.shutdown_request(request)
            with self._lock:
                del self._connections[threading.current_thread()]


class LocalHandler(BaseHTTPRequestHandler):
    """Answers those who know the secret; the rest finds nothing."""

    timeout = STUCK_SECONDS
    server_version = "streamparts"
    sys_version = ""
    server: LocalServer

    def asked_for(self) -> str | None:
        """What follows the secret; None for those who do not know it, or were led here by another site's name."""
        host = re.fullmatch(r"(127\.0\.0\.1|localhost)(:\d+)?", self.headers.get("Host", ""))
        match = re.fullmatch(r"/([\w-]+)/(\w*)", self.path, re.ASCII)
        return match[2] if host and match and self.server.knows(match[1]) else None

    def answer(self, body: str | bytes, kind: str = "text/html; charset=utf-8", status: int = HTTPStatus.OK) -> None:
        data = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_head(kind, {"Content-Length": str(len(data))})
        self.wfile.write(data)

    def send_head(self, kind: str, others: dict[str, str]) -> None:
        for name, value in {"Content-Type": kind, **others, **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass
