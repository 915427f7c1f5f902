"""Worker pools as seen by the driver, and the local pool: one process per worker, restarted when it dies.

A worker is `python -m streamparts.corpus.worker` and gets its tasks over standard input. The caller's program needs no
`if __name__ == "__main__"`, and if the driver is killed, the workers end, because their input ends.

concurrent.futures and loky do not replace it: when a worker dies, their executor fails every task and does not report
whose worker it was, but here only that one video counts an attempt.
"""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

import streamparts
from streamparts.corpus.messages import Counted, Ready, Stop, Unable, receive, send
from streamparts.corpus.options import Settings, Task
from streamparts.corpus.work import Answer
from streamparts.errors import StreampartsError
from streamparts.threads import DaemonThread

MOST_FAILED_STARTS = 3
"""Failures in a row after which a worker is not restarted."""
_TAIL_LINES = 5
LAST_WORDS_SECONDS = 2.0
"""Maximum wait for the stderr of a worker that has ended."""


@dataclass(frozen=True, slots=True)
class LostTask:
    """A worker died during a task."""

    task: Task
    reason: str
    """Cause, in one line."""


class Pool(Protocol):
    """A set of workers, each with one task at a time."""

    @property
    def num_workers(self) -> int:
        """Number of workers that are working or ready."""
        ...

    @property
    def num_free(self) -> int:
        """Number of tasks it can take now."""
        ...

    @property
    def frames_begun(self) -> int:
        """Frames done in the videos in progress."""
        ...

    def want(self, num_tasks: int) -> None:
        """Announce the number of remaining tasks; at most as many workers are started. Nothing starts before this
        call."""
        ...

    def submit(self, task: Task) -> None:
        """Give a task to a free worker."""
        ...

    def wait(self, seconds: float) -> list[Answer | LostTask]:
        """Wait for events and return them. Raises StreampartsError if no worker can work."""
        ...

    def stop(self) -> None:
        """Stop all workers after the current frame; their answers still arrive."""
        ...

    def close(self) -> None:
        """End all, at once."""
        ...


@dataclass(eq=False)
class _Process:
    """A worker process on this machine."""

    popen: subprocess.Popen[bytes]
    device: str | None
    is_ready: bool = False
    task: Task | None = None
    frames: int = 0
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=_TAIL_LINES))
    """The last lines of its stderr."""
    has_said_all: threading.Event = field(default_factory=threading.Event)
    """Set when its stderr has ended."""

    def tell(self, message: object) -> None:
        """Send a message; a dead worker is ignored here and detected by the reader."""
        assert self.popen.stdin is not None
        with suppress(OSError, ValueError):
            send(self.popen.stdin, message)

    def hang_up(self) -> None:
        """Close its input, which ends the worker."""
        assert self.popen.stdin is not None
        with suppress(OSError):  # it does not read any more
            self.popen.stdin.close()


class LocalPool:
    """A Pool of processes on this machine."""

    def __init__(self, settings: Settings, num_workers: int, devices: Sequence[str] = ()) -> None:
        """The first worker chooses the backend for all. `devices` are GPUs, as in CUDA_VISIBLE_DEVICES, assigned to the
        workers in turn."""
        self._settings = settings
        self._most = num_workers
        self._devices = devices
        self._events: queue.Queue[tuple[_Process, Any]] = queue.Queue()
        self._workers: list[_Process] = []
        self._readers: list[DaemonThread] = []
        self._wanted = 0
        self._failed_starts = 0
        self._stopping = False

    @property
    def num_workers(self) -> int:
        return sum(worker.is_ready for worker in self._workers)

    @property
    def num_free(self) -> int:
        return sum(worker.is_ready and worker.task is None for worker in self._workers)

    @property
    def frames_begun(self) -> int:
        return sum(worker.frames for worker in self._workers if worker.task is not None)

    def want(self, num_tasks: int) -> None:
        self._wanted = min(self._most, num_tasks + sum(worker.task is not None for worker in self._workers))
        first = not any(worker.is_ready for worker in self._workers) and self._settings.backend == "auto"
        while len(self._workers) < (min(1, self._wanted) if first else self._wanted) and not self._stopping:
            self._start()

    def submit(self, task: Task) -> None:
        worker = next(worker for worker in self._workers if worker.is_ready and worker.task is None)
        worker.task, worker.frames = task, 0
        worker.tell(task)

    def wait(self, seconds: float) -> list[Answer | LostTask]:
        found: list[Answer | LostTask] = []
        deadline = time.monotonic() + seconds
        while not found:
            try:
                worker, message = self._events.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            was_ready = self.num_free
            found += self._take(worker, message)
            if self.num_free > was_ready:
                break
        return found

    def stop(self) -> None:
        self._stopping = True
        for worker in self._workers:
            if worker.is_ready:
                worker.tell(Stop())
            else:
                worker.popen.kill()  # it has nothing to stop

    def close(self) -> None:
        self._stopping = True
        for worker in self._workers:
            if worker.is_ready:
                worker.hang_up()
            else:
                worker.popen.kill()
        deadline = time.monotonic() + 3
        for worker in self._workers:
            try:
                worker.popen.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.popen.kill()
                worker.popen.wait()
            worker.hang_up()
        for reader in self._readers:
            reader.ends(1)

    def _start(self) -> None:
        used = [worker.device for worker in self._workers]
        device = min(self._devices, key=used.count, default=None)
        popen = subprocess.Popen(
            [sys.executable, "-m", "streamparts.corpus.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(device),
            **_APART,
        )
        worker = _Process(popen, device)
        self._workers.append(worker)
        self._readers = [reader for reader in self._readers if reader.is_alive()]
        for read in (self._read, self._read_errors):
            self._readers.append(DaemonThread("worker-reader", partial(read, worker)))

    def _read(self, worker: _Process) -> None:
        """Runs in its own thread: yields the worker's messages, then None. Sending the model fills the pipe until the
        process has started, which the other workers need not wait for."""
        assert worker.popen.stdout is not None
        worker.tell(self._settings)
        with worker.popen.stdout as stream, suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                self._events.put((worker, receive(stream)))
        worker.popen.wait()
        worker.has_said_all.wait(LAST_WORDS_SECONDS)
        self._events.put((worker, None))

    def _read_errors(self, worker: _Process) -> None:
        stream: IO[bytes] | None = worker.popen.stderr
        assert stream is not None
        with stream:
            for line in stream:
                worker.tail.append(line.decode(errors="replace").strip())
        worker.has_said_all.set()

    def _take(self, worker: _Process, message: object) -> list[Answer | LostTask]:
        match message:
            case Answer():
                worker.task = None
                return [message]
            case Counted():
                worker.frames = message.frames
            case Ready():
                worker.is_ready, self._failed_starts = True, 0
                self._settings = replace(self._settings, backend=message.backend)
            case Unable():
                raise message.error
            case None:
                return self._handle_loss(worker)
        return []

    def _handle_loss(self, worker: _Process) -> list[Answer | LostTask]:
        self._workers.remove(worker)
        worker.hang_up()
        reason = _reason(worker)
        if worker.task is not None:
            return [LostTask(worker.task, reason)]
        if not worker.is_ready and not self._stopping:
            self._failed_starts += 1
            if self._failed_starts >= MOST_FAILED_STARTS:
                raise StreampartsError(f"workers die at the start: {reason}; fewer --workers need less memory")
        return []


_APART: dict[str, Any] = (
    {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)} if os.name == "nt" else {"process_group": 0}
)
"""Only the driver gets Ctrl-C; it stops the workers."""


def _environment(device: str | None) -> dict[str, str]:
    """Makes the worker import this package, wherever the caller found it."""
    home = str(Path(streamparts.__file__).parent.parent)
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    gpu = {} if device is None else {"CUDA_VISIBLE_DEVICES": device}
    return {**os.environ, **gpu, "PYTHONPATH": os.pathsep.join(paths)}


def _reason(worker: _Process) -> str:
    """Describe how a worker died: the signal, or its last output."""
    code = worker.popen.returncode
    if code is not None and code < 0:
        hint = " (out of memory?)" if code == -9 else ""
        return f"its worker process was killed by signal {-code}{hint}"
    said = f": {worker.tail[-1]}" if worker.tail else ""
    return f"its worker process ended with code {code}{said}"
