"""Runs the parts of a measurement in a child process, so that one that crashes or hangs costs only itself.

CUDA's errors outlive the call: after an illegal address, all later calls of the process fail. The child is then
replaced, as it is if a library crashes or does not return. Replacing costs the imports; as long as all goes well, there
is one child.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection

from benchmarks.gpu_timing import Report, attempt

Part = tuple[str, float, Callable[[], Report]]
"""Name, seconds that must be left for it, and work."""
Keep = Callable[[str, Report], None]


def run_guarded(parts: Sequence[Part], seconds: float, keep: Keep, patience: float | None = None) -> None:
    """Run `parts` within `seconds`, and `keep` the report of each as soon as there is one.

    A part is left out if its own limit no longer fits, and stopped at the end of `seconds`, or, with `patience`, at
    that multiple of its limit.
    """
    deadline, waiting = time.monotonic() + seconds, deque(parts)
    while waiting:
        _in_child(waiting, deadline, keep, patience)


def _in_child(waiting: deque[Part], deadline: float, keep: Keep, patience: float | None) -> None:
    """Run the waiting parts until a child ends, and remove those that are done; at least one is."""
    context = multiprocessing.get_context("fork")  # what the caller made importable stays so
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(sender, list(waiting), deadline))
    child.start()
    sender.close()
    done, started, until, reason = 0, 0.0, float("inf"), ""
    try:
        while waiting and not reason:
            if not receiver.poll(None if until == float("inf") else max(0.0, until - time.monotonic())):
                reason = f"stopped after {time.monotonic() - started:.0f} s"
                break
            try:
                name, text = receiver.recv()
            except EOFError:
                child.join()
                reason = f"its process ended, {_ending(child.exitcode)}"
                break
            if text is None:
                started = time.monotonic()
                until = min(deadline, started + patience * waiting[0][1]) if patience else deadline
            else:
                waiting.popleft()
                keep(name, json.loads(text))
                done, started, until = done + 1, 0.0, float("inf")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid or 0, signal.SIGKILL)  # and the processes that it started
        with suppress(ProcessLookupError):
            os.kill(child.pid or 0, signal.SIGKILL)
        child.join()
        receiver.close()
    if waiting and (started or not done):  # it ended within a part, or before the first
        name, _, _ = waiting.popleft()
        keep(name, {"failed": reason, "seconds": round(time.monotonic() - started, 1) if started else 0.0})


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


def _child(sender: Connection, parts: Sequence[Part], deadline: float) -> None:
    os.setpgid(0, 0)
    found: Report = {}
    for name, seconds, work in parts:
        left = deadline - time.monotonic()
        if left < seconds:
            found[name] = {"left out": f"{left:.0f} s were left of the {seconds:.0f} that it may take"}
        else:
            sender.send((name, None))
            attempt(found, name, work)
        sender.send((name, json.dumps(found[name], default=str)))
        if "failed" in found[name] and _device_is_lost():
            return


def _device_is_lost() -> bool:
    """True if this process can no longer use the GPU."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False
