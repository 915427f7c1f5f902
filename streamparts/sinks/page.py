"""A preview in the browser, on a page of this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from http import HTTPStatus

import cv2
import numpy as np

from streamparts.data import ByteArray
from streamparts.errors import VideoError
from streamparts.local_page import LocalHandler, LocalServer

JPEG_QUALITY = 80

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
        self._jpeg, self._number = b"", 0
        self._changed = threading.Condition()
        self._num_watching = 0
        self._ending = self._stopped = False
        try:
            self._server = LocalServer(port, partial(_Handler, self), "streamparts-page")
        except OSError as error:
            raise VideoError(f"the preview page cannot use port {port} ({error.strerror}); give another one") from error
        self.port = self._server.port
        self._server.start()

    @property
    def address(self) -> str:
        """To be opened in a browser; whoever knows it can watch, and stop the run."""
        return self._server.address

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
        self._server.close()

    def stop(self) -> None:
        """As the button does."""
        self._stopped = True

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


class _Handler(LocalHandler):
    def __init__(self, page: Page, *request: object) -> None:
        self._page = page
        super().__init__(*request)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        what = self.asked_for()
        if what == "":
            self.answer(_PAGE)
        elif what == "stream":
            self._stream()
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        if self.asked_for() == "stop":
            self.answer(_STOPPED)
            self._page.stop()
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _stream(self) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_head("multipart/x-mixed-replace; boundary=picture", {"Connection": "close"})

        def send(jpeg: bytes) -> None:
            head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")

        self._page.stream(send)
