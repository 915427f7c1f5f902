"""A worker process: `python -m streamparts.corpus.worker`, started by pool.LocalPool, which sends tasks to its standard
input. It ends when the input ends."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from typing import IO, TYPE_CHECKING

from streamparts.corpus.messages import Counted, Ready, Stop, Unable, receive, send
from streamparts.corpus.options import Task
from streamparts.errors import StreampartsError
from streamparts.threads import DaemonThread

if TYPE_CHECKING:
    from streamparts.corpus.work import Worker

COUNT_SECONDS = 0.5
"""Interval of frame counts."""


class _Driver:
    """The other end of the pipes."""

    def __init__(self) -> None:
        """From here on, libraries print to stderr, and nothing else reads standard input."""
        self._requests: IO[bytes] = os.fdopen(os.dup(0), "rb")
        self._answers: IO[bytes] = os.fdopen(os.dup(1), "wb")
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        self._lock = threading.Lock()
        self._counted_at = 0.0
        self.settings = receive(self._requests)
        self.tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        """None marks the end."""
        self.stop = threading.Event()
        DaemonThread("driver", self._listen)

    def say(self, message: object) -> None:
        with self._lock:
            send(self._answers, message)

    def count(self, frames: int) -> None:
        now = time.monotonic()
        if now - self._counted_at > COUNT_SECONDS:
            self._counted_at = now
            self.say(Counted(frames))

    def _listen(self) -> None:
        try:
            while True:
                message = receive(self._requests)
                if isinstance(message, Stop):
                    self.stop.set()
                else:
                    self.tasks.put(message)
        except (EOFError, OSError):
            self.stop.set()
            self.tasks.put(None)


def main() -> None:
    """Process tasks until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    driver = _Driver()
    try:
        worker = _worker(driver)
        while (task := driver.tasks.get()) is not None:
            driver.say(worker.do(task, driver.stop, driver.count))
    except StreampartsError as error:
        driver.say(Unable(error))
    except BrokenPipeError:
        pass  # the driver was killed
    sys.stderr.flush()
    os._exit(0)  # at once, even if a thread was abandoned


def _worker(driver: _Driver) -> Worker:
    from streamparts.backends.measuring import noise
    from streamparts.corpus.work import Worker

    worker = Worker(driver.settings)
    worker.chosen.backend.run(noise(driver.settings.bundle))
    driver.say(Ready(worker.chosen.backend.name))
    return worker


if __name__ == "__main__":
    main()
