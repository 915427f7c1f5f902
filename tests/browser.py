"""A headless Chromium, controlled over its DevTools protocol."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

PATIENCE_SECONDS = 60.0
COMMAND = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), "")


class NavigatedError(Exception):
    """The page was left for another one while a script ran in it."""


class Tab:
    """One page."""

    def __init__(self, port: int, target: dict[str, Any]) -> None:
        self.id = target["id"]
        self._opened = ExitStack()
        self._socket = self._opened.enter_context(
            connect(f"ws://127.0.0.1:{port}/devtools/page/{self.id}", max_size=None)
        )
        self._number = 0

    def call(self, method: str, **params: object) -> dict[str, Any]:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(PATIENCE_SECONDS))
            if answer.get("id") == self._number:
                if "navigated" in answer.get("error", {}).get("message", ""):
                    raise NavigatedError(answer["error"]["message"])
                assert "error" not in answer, answer
                return dict(answer["result"])

    def go(self, address: str) -> None:
        self.call("Page.navigate", url=address)
        self.until("document.readyState == 'complete' && location.href != 'about:blank'")

    def value(self, script: str) -> Any:
        """Return the result of a script."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, script: str) -> Any:
        """Wait for a script to give something true, also on the page that comes after this one."""

        def asked() -> Any:
            with suppress(NavigatedError):
                return self.value(script)

        return eventually(asked, script)

    def type(self, selector: str, text: str) -> None:
        """Put text into a field in place of what is there."""
        self.value(f"(() => {{ const f = document.querySelector({selector!r}); f.focus(); f.select(); return 1 }})()")
        self.call("Input.insertText", text=text)

    def press_enter(self) -> None:
        for kind in ("keyDown", "keyUp"):
            key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
            self.call("Input.dispatchKeyEvent", type=kind, **key)

    def close(self) -> None:
        self._opened.close()


class Browser:
    """Opens tabs."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._tabs: list[Tab] = []

    def tab(self) -> Tab:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_SECONDS)
        connection.request("PUT", "/json/new?about:blank")
        tab = Tab(self._port, json.loads(connection.getresponse().read()))
        connection.close()
        self._tabs.append(tab)
        return tab

    def close(self) -> None:
        for tab in self._tabs:
            tab.close()


def eventually(question: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + PATIENCE_SECONDS
    while not (found := question()):
        assert time.monotonic() < end, f"never true: {what}"
        time.sleep(0.05)
    return found


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """Its profile is in `folder`. Skips the test where there is no Chromium."""
    if not COMMAND:
        pytest.skip("no Chromium here: apt-get install chromium")
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    words = [COMMAND, *flags, "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        active = folder / "DevToolsActivePort"
        text = eventually(lambda: active.exists() and active.read_text(), "Chromium says its port")
        browser = Browser(int(text.splitlines()[0]))
        yield browser
        with suppress(OSError):
            browser.close()
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
