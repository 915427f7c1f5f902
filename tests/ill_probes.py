"""Probes of the doctor that fail, each in a different way."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator

from streamparts.doctor.finding import Finding


def well() -> Iterator[Finding]:
    print("a library that prints")
    print("and one that warns", file=sys.stderr)
    yield Finding("one", "is here", data={"size": 3})
    yield Finding("two", "is not", "absent")


def process() -> Iterator[Finding]:
    yield Finding("process", str(os.getpid()))


def hangs() -> Iterator[Finding]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    yield Finding("first", "was quick")
    time.sleep(600)


def crashes() -> Iterator[Finding]:
    yield Finding("first", "was fine")
    sys.stdout.flush()
    if sys.platform == "win32":
        os.abort()
    ctypes.string_at(0)


def raises() -> Iterator[Finding]:
    yield Finding("first", "was fine")
    raise RuntimeError("the driver is of another kernel")


def leaves_in_silence() -> Iterator[Finding]:
    yield from ()
    os._exit(3)


def leaves_files() -> Iterator[Finding]:
    import tempfile

    yield Finding("folder", tempfile.mkdtemp())
    time.sleep(600)
