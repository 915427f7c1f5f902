"""Runs a check in its own process, where it may hang, crash or print."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from streamparts.doctor.finding import Finding, Probe

_CODE = (
    "import sys; sys.path[:] = {path!r}; from streamparts.doctor.isolated import look; look({probe!r}, {findings!r})"
)
_POLL_SECONDS = 0.02
_GRACE_SECONDS = 1.0


class Child:
    """The process that runs one probe."""

    def __init__(self, probe: str, folder: Path) -> None:
        """`probe` is "module:function". `folder`, created here, receives the files of the process and its temporary
        files; whoever created its parent removes what a killed process leaves."""
        self._probe, self._folder = probe, folder
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False
        folder.mkdir()

    def examine(self, seconds: float) -> tuple[list[Finding], str | None]:
        """Return (findings, reason for an abort or None). Takes at most `seconds`, whatever hangs."""
        try:
            self._start()
        except OSError as error:
            return [], f"no process could be started ({error.strerror})"
        code = self._wait(seconds)
        if code is None:
            self.kill()
            return self._found(), f"no answer within {seconds:.0f} s"
        return self._found(), None if code == 0 else self._ending(code)

    def kill(self) -> None:
        """Kill the process without waiting long: a process that hangs in a driver ends when the driver allows it."""
        self._killed = True
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            deadline = time.monotonic() + _GRACE_SECONDS
            while self._process.poll() is None and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)

    def _start(self) -> None:
        code = _CODE.format(path=sys.path, probe=self._probe, findings=str(self._folder / "findings"))
        scratch = str(self._folder)
        with (self._folder / "stdout").open("wb") as out, (self._folder / "stderr").open("wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, "TMPDIR": scratch, "TEMP": scratch, "TMP": scratch},
            )

    def _wait(self, seconds: float) -> int | None:
        """Return the exit code; None if it has not ended in time. Polls, because Popen.wait would hang after an
        ineffective kill."""
        assert self._process is not None
        deadline = time.monotonic() + seconds
        while (code := self._process.poll()) is None and time.monotonic() < deadline and not self._killed:
            time.sleep(_POLL_SECONDS)
        return code

    def _found(self) -> list[Finding]:
        try:
            lines = (self._folder / "findings").read_text(encoding="utf-8").splitlines(keepends=True)
        except OSError:
            return []
        return [Finding(**json.loads(line)) for line in lines if line.endswith("\n")]

    def _ending(self, code: int) -> str:
        if code < 0:
            return f"the process was ended by {_signal_name(-code)}"
        said = (self._folder / "stderr").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return said[-1].strip() if said else f"the process ended with code {code}"


class Here:
    """Runs one probe in this process."""

    def __init__(self, probe: str) -> None:
        """`probe` is "module:function"."""
        self._probe = probe

    def examine(self, seconds: float) -> tuple[list[Finding], str | None]:
        """As for Child, without the limit."""
        found: list[Finding] = []
        try:
            found.extend(_loaded(self._probe)())
        except Exception as error:
            return found, f"{type(error).__name__}: {error}"
        return found, None

    def kill(self) -> None:
        """Does nothing: it ends by itself."""


def look(probe: str, findings: str) -> None:
    """In the process: run the probe, and write its findings to a file, line by line."""
    with Path(findings).open("w", encoding="utf-8") as file:
        for finding in _loaded(probe)():
            file.write(json.dumps(asdict(finding)) + "\n")
            file.flush()


def _loaded(probe: str) -> Probe:
    module, _, function = probe.partition(":")
    found: Probe = getattr(importlib.import_module(module), function)
    return found


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
