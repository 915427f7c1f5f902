"""File names when one output needs several files: dance.mp4, dance.001.mp4, dance.002.mp4."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path


def numbered(path: Path, number: int) -> Path:
    """`path` itself for 0, else with the number before its extension."""
    return path if number == 0 else path.with_name(f"{path.stem}.{number:03d}{path.suffix}")


def following_names(path: Path, replace: bool) -> Iterator[Path]:
    """Endless names after `path`; existing files are skipped unless `replace`."""
    return (name for name in (numbered(path, number) for number in count(1)) if replace or not name.exists())


def existing_followers(path: Path) -> list[Path]:
    """Files of an earlier run with continuation names of `path`, sorted."""
    pattern = re.compile(rf"{re.escape(path.stem)}\.\d{{3,}}{re.escape(path.suffix)}")
    return sorted(item for item in path.parent.iterdir() if pattern.fullmatch(item.name))
