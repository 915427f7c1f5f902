"""A small web server for one page, accessible only on this machine and only with its secret address."""

from __future__ import annotations

import hmac
import re
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from types import MappingProxyType

HOST = "127.0.0.1"
MAX_CONNECTIONS = 16
"""Maximum number of connections; further ones are refused."""
STUCK_SECONDS = 5.0
"""A viewer that takes no data for this long is disconnected."""

_HEADERS = {
    "Cache-Control": "no-store",
    # The address contains the secret, so no other site may learn it; "no-referrer" would make a form's Origin "null".
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; img-src 'self' blob:; style-src 'unsafe-inline'; "
    "form-action 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'{scripts}",
}

PAGE_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" content="light dark">
<style>:root{--back:#fff;--text:#1c1d21;--faint:#666;--wrong:#b3261e}
@media(prefers-color-scheme:dark){:root{--back:#191a1e;--text:#ddd;--faint:#999;--wrong:#7a1c1c}}
body{background:var(--back);color:var(--text);font:16px/1.4 system-ui,sans-serif;margin:16px}
input,select,button{font:inherit;padding:6px 10px;margin:6px 12px 6px 4px;max-width:100%}</style>
"""
"""Start of every page: fits phones, follows the browser's light or dark mode."""


class LocalServer(TCPServer):
    """One thread per connection; all can be ended."""

    allow_reuse_address = True

    def __init__(self, port: int, handler: Callable[..., BaseHTTPRequestHandler], name: str) -> None:
        """Listens on `port` of this machine, 0 for any free one; `name` is that of its threads. Raises OSError."""
        self._token = secrets.token_urlsafe(18)
        self._name = name
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._lock = threading.Lock()
        super().__init__((HOST, port), handler)
        self.port: int = self.server_address[1]
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name=name, daemon=True)

    @property
    def address(self) -> str:
        """Address for a browser."""
        return f"http://{HOST}:{self.port}/{self._token}/"

    def start(self) -> None:
        self._thread.start()

    def accepts(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self._token.encode())

    def close(self) -> None:
        """Disconnect all clients and end all threads."""
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
            with suppress(OSError):  # disconnected, or stuck
                self.finish_request(request, client_address)
        finally:
            self.shutdown_request(request)
            with self._lock:
                del self._connections[threading.current_thread()]


class LocalHandler(BaseHTTPRequestHandler):
    """Answers requests that contain the secret; others get 404."""

    timeout = STUCK_SECONDS
    server_version = "streamparts"
    sys_version = ""
    server: LocalServer

    def asked_for(self) -> str | None:
        """The path after the secret; None for requests without it, or with another site's host name."""
        host = re.fullmatch(r"(127\.0\.0\.1|localhost)(:\d+)?", self.headers.get("Host", ""))
        match = re.fullmatch(r"/([\w-]+)/(\w*)", self.path, re.ASCII)
        return match[2] if host and match and self.server.accepts(match[1]) else None

    def is_own_form(self) -> bool:
        """True if a posted form comes from our own page: browsers send the origin of a form, other programs none."""
        port = self.server.port
        origin = self.headers.get("Origin")
        return origin is None or origin in (f"http://{HOST}:{port}", f"http://localhost:{port}")

    def answer(
        self,
        body: str | bytes,
        kind: str = "text/html; charset=utf-8",
        status: int = HTTPStatus.OK,
        others: Mapping[str, str] = MappingProxyType({}),
        nonce: str = "",
    ) -> None:
        """`others` are further headers; scripts of the page may run if they have the `nonce`."""
        data = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_head(kind, {"Content-Length": str(len(data)), **others}, nonce)
        self.wfile.write(data)

    def send_head(self, kind: str, others: Mapping[str, str], nonce: str = "") -> None:
        scripts = f"; script-src 'nonce-{nonce}'" if nonce else ""
        for name, value in {"Content-Type": kind, **others, **_HEADERS}.items():
            self.send_header(name, value.replace("{scripts}", scripts))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass
