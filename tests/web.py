"""A web server for videos and broadcasts that can cut its responses short."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Web:
    """Served content and its form."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.pages: dict[str, bytes] = {}
        """Path to content; with its length, in ranges if asked for."""
        self.endless: dict[str, list[bytes]] = {}
        """Path to what each visitor after the other gets, without a length, before the connection is closed."""
        self.cut_after: int | None = None
        """Number of bytes after which responses break off; later requests are not answered."""
        self.is_dead = False
        self.requests: list[str] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@contextmanager
def web() -> Iterator[Web]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            site.requests.append(self.path)
            with suppress(OSError):
                if site.is_dead:
                    self.send_error(503)
                elif site.endless.get(path):
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.write(site.endless[path].pop(0))
                elif path in site.pages:
                    self._send(site.pages[path])
                else:
                    self.send_error(404)

        def _send(self, data: bytes) -> None:
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            start = int(asked[1]) if asked else 0
            part = data[start : int(asked[2]) + 1 if asked and asked[2] else len(data)]
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(len(part)))
            self.send_header("Accept-Ranges", "bytes")
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(data)}")
            self.end_headers()
            if site.cut_after is not None and start + len(part) > site.cut_after:
                part, site.is_dead = part[: max(0, site.cut_after - start)], True
            self.wfile.write(part)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site = Web(server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="web", daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def hls(folder: Path, video: Path, live: bool) -> dict[str, bytes]:
    """Playlist and segments of a video; a live playlist has no end."""
    import av

    with (
        av.open(str(video)) as source,
        av.open(
            str(folder / "list.m3u8"), "w", format="hls", options={"hls_time": "1", "hls_list_size": "0"}
        ) as target,
    ):
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
    pages = {f"/{path.name}": path.read_bytes() for path in folder.iterdir() if path.suffix in (".ts", ".m3u8")}
    if live:
        text = pages["/list.m3u8"].replace(b"#EXT-X-ENDLIST\n", b"").replace(b"#EXT-X-PLAYLIST-TYPE:VOD\n", b"")
        pages["/list.m3u8"] = text
    return pages
