"""A preview in the browser, on a local page."""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus

import cv2
import numpy as np

from streamparts.arrays import ByteArray
from streamparts.errors import VideoError
from streamparts.sinks.preview.local_page import PAGE_HEAD, LocalHandler, LocalServer

JPEG_QUALITY = 80

_STYLE = """<style>body{margin:0;text-align:center}img{display:block;margin:auto;max-width:100vw;
max-height:calc(100vh - 110px);object-fit:contain}#about{color:var(--faint);min-height:1.4em;margin:4px}
#names span{display:inline-block;margin:2px 6px;padding:0 6px;border-bottom:4px solid}#names .away{opacity:.4}</style>
"""
_SCRIPT = """
const picture = document.querySelector("img"), about = document.querySelector("#about");
const names = document.querySelector("#names"), button = document.querySelector("button");
let shown = 0, failures = 0;
function tell(text) {
  const told = JSON.parse(text);
  about.textContent = told.text;
  names.replaceChildren(...told.parts.map(([name, color, seen]) => {
    const item = document.createElement("span");
    item.textContent = name; item.style.borderColor = color; item.className = seen ? "" : "away";
    return item;
  }));
}
function end() {
  about.textContent = "The run has ended. This is its last picture.";
  names.replaceChildren(); button.disabled = true; document.title = "ended";
}
async function look() {
  for (;;) {
    try {
      const answer = await fetch("after" + shown);
      if (answer.status == 410) return end();
      if (answer.status == 200) {
        shown = Number(answer.headers.get("X-Number"));
        const before = picture.src;
        picture.src = URL.createObjectURL(await answer.blob());
        if (before.startsWith("blob:")) URL.revokeObjectURL(before);
        tell(answer.headers.get("X-About"));
      } else if (answer.status != 204) throw new Error(answer.status);
      failures = 0;
    } catch {
      if (++failures == 3) return end();
      await new Promise((done) => setTimeout(done, 300));
    }
  }
}
look();
"""
_BODY = """<title>streamparts</title>
<img alt="waiting for the first frame"><p id="about"></p><p id="names"></p>
<noscript><img src="stream" alt="waiting for the first frame"></noscript>
<form method="post" action="stop"><button>Stop the run</button></form>
"""
_STOPPED = f"{PAGE_HEAD}<title>streamparts</title><p>The run ends; its outputs are being finished.</p>"

WAIT_SECONDS = 1.0
"""Time a browser waits for an image before it asks again. Browsers request each image separately: a stream would occupy
one of the six connections that they open to a site, and a seventh tab would wait for ever."""


class Page:
    """A Viewer that serves images as JPEGs to every open page."""

    def __init__(self, port: int = 0) -> None:
        """Listens on `port` of this machine, 0 for any free one. Raises VideoError if it is in use."""
        self._jpeg, self._number, self._about = b"", 0, _empty_text()
        self._told = _empty_text()
        self._changed = threading.Condition()
        self._num_watching = 0
        self._asked_at = -WAIT_SECONDS
        self._ending = self._stopped = False
        try:
            self._server = LocalServer(port, partial(_PreviewHandler, self), "streamparts-page")
        except OSError as error:
            raise VideoError(f"the preview page cannot use port {port} ({error.strerror}); give another one") from error
        self.port = self._server.port
        self._server.start()

    @property
    def address(self) -> str:
        """Address for a browser; anyone who has it can watch, and stop the run."""
        return self._server.address

    def poll(self) -> bool:
        return not self._stopped

    def wanted(self) -> bool:
        return self._num_watching > 0 or time.monotonic() - self._asked_at < WAIT_SECONDS

    def tell(self, text: str, parts: Sequence[tuple[str, str, bool]]) -> None:
        """Set the text below the next image: a line, and each part's name, CSS colour and visibility."""
        self._told = json.dumps({"text": text, "parts": parts})

    def show(self, picture: ByteArray) -> None:
        bgr = np.ascontiguousarray(picture[..., ::-1])
        jpeg = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))[1].tobytes()
        with self._changed:
            self._jpeg, self._number, self._about = jpeg, self._number + 1, self._told
            self._changed.notify_all()

    def close(self) -> None:
        """Disconnect all clients and end all threads."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._server.close()

    def stop(self) -> None:
        """Same as the page's button."""
        self._stopped = True

    def picture_after(self, number: int) -> tuple[int, bytes, str] | None:
        """(number, JPEG, text) of the newest image once its number is not `number`; number 0 if none arrives within
        WAIT_SECONDS, None at the end."""
        with self._changed:
            self._num_watching += 1
            self._changed.wait_for(lambda: self._ending or self._number != number, WAIT_SECONDS)
            self._num_watching -= 1
            self._asked_at = time.monotonic()
            if self._ending:
                return None
            return (0, b"", "") if self._number == number else (self._number, self._jpeg, self._about)

    def stream(self, send: Callable[[bytes], None]) -> None:
        """Call `send` with each new image until the page is closed; images that arrive during the call are skipped."""
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


def _empty_text() -> str:
    return json.dumps({"text": "", "parts": []})


class _PreviewHandler(LocalHandler):
    def __init__(self, page: Page, *request: object) -> None:
        self._page = page
        super().__init__(*request)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        what = self.asked_for()
        if what == "":
            nonce = secrets.token_urlsafe(12)
            self.answer(f"{PAGE_HEAD}{_STYLE}{_BODY}<script nonce={nonce!r}>{_SCRIPT}</script></html>", nonce=nonce)
        elif what and (match := re.fullmatch(r"after(\d{1,12})", what, re.ASCII)):
            self._picture(int(match[1]))
        elif what == "stream":
            self._stream()
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        if self.asked_for() == "stop" and self.is_own_form():
            self.answer(_STOPPED)
            self._page.stop()
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _picture(self, seen: int) -> None:
        found = self._page.picture_after(seen)
        if found is None:
            self.answer(b"", "text/plain", HTTPStatus.GONE)
        elif not found[0]:
            self.answer(b"", "text/plain", HTTPStatus.NO_CONTENT)
        else:
            self.answer(found[1], "image/jpeg", others={"X-Number": str(found[0]), "X-About": found[2]})

    def _stream(self) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_head("multipart/x-mixed-replace; boundary=picture", {"Connection": "close"})

        def send(jpeg: bytes) -> None:
            head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")

        self._page.stream(send)
