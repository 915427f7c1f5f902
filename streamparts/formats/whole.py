"""Atomic outputs, for files and folders."""

from __future__ import annotations

import glob
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from streamparts.errors import VideoError
from streamparts.files import NoLocks, locked

LOCK = ".lock"


@contextmanager
def whole(output: Path) -> Iterator[Path]:
    """Provide a path of the same name in a new folder beside `output`. What is created there replaces `output` when the
    block ends, and is deleted if the block raises."""
    _sweep(output)
    workshop = output.parent / f".{output.name[:100]}.{secrets.token_hex(8)}.tmp"
    workshop.mkdir()
    in_use = ExitStack()
    try:
        with suppress(NoLocks):
            in_use.enter_context(locked(workshop / LOCK, f"process {os.getpid()}", output))
        made = workshop / output.name
        yield made
        old = workshop / "old"
        if output.is_dir():
            output.replace(old)
        try:
            made.replace(output)
        except OSError:
            if old.exists():
                old.replace(output)
            raise
    finally:
        in_use.close()
        shutil.rmtree(workshop, ignore_errors=True)


def _sweep(output: Path) -> None:
    """Remove the folders of killed processes, which no live process holds."""
    for left in output.parent.glob(f".{glob.escape(output.name[:100])}.*.tmp"):
        with suppress(VideoError), locked(left / LOCK, f"process {os.getpid()}", output):
            shutil.rmtree(left, ignore_errors=True)
