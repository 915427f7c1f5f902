"""Outputs that appear whole or not at all, files and folders alike."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(output: Path) -> Iterator[Path]:
    """A path of the same name in a new folder beside `output`; what was made there takes the place of `output` when the
    block ends, and is thrown away when it raises."""
    workshop = output.parent / f".{output.name}.{os.getpid()}.tmp"
    workshop.mkdir()
    try:
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
        shutil.rmtree(workshop, ignore_errors=True)
