"""Corpora of generated videos, and workers that run in the test's own process."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamparts.corpus.options import Settings, Task
from streamparts.corpus.pool import LostTask
from streamparts.corpus.work import Answer, Worker
from tests.media import numbered_video

NAMES = ("a/x", "a/y", "b/x")


def write_corpus(folder: Path, names: tuple[str, ...] = NAMES, num_frames: int = 8) -> Path:
    """Videos FOLDER/NAME.mp4, each a frame longer than the one before."""
    for number, name in enumerate(names):
        path = folder / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        numbered_video(path, num_frames + number, 48, 64)
    return folder


def frame_numbers(tracks: Path) -> list[int]:
    """Lines of a tracks file, in order; the first is the header."""
    lines = [json.loads(line) for line in tracks.read_text().splitlines()]
    assert [line["type"] for line in lines] == ["header", *["frame"] * (len(lines) - 1)]
    return [line["frame"] for line in lines[1:]]


def manifest_lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def files_in(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}


class InlinePool:
    """A Pool of one worker in this process. `dies` lists the tasks that kill it."""

    def __init__(self, settings: Settings, dies: Callable[[Task], bool] = lambda task: False) -> None:
        self._worker = Worker(settings)
        self._dies = dies
        self._events: deque[Answer | LostTask] = deque()
        self.asked: list[tuple[str, int]] = []
        """(name, attempt) of every task."""
        self.num_workers, self.frames_begun = 1, 0

    @property
    def num_free(self) -> int:
        return int(not self._events)

    def want(self, num_tasks: int) -> None:
        pass

    def submit(self, task: Task) -> None:
        self.asked.append((task.name, task.attempt))
        self._events.append(LostTask(task, "it died") if self._dies(task) else self._worker.do(task))

    def wait(self, seconds: float) -> list[Answer | LostTask]:
        return [self._events.popleft()] if self._events else []

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


class Pools(list[InlinePool]):
    """All that were made; `dies` is of the next ones."""

    dies: Callable[[Task], bool] = staticmethod(lambda task: False)

    @property
    def asked(self) -> list[str]:
        """Names of the last one's tasks, sorted."""
        return sorted(name for name, _ in self[-1].asked)


def inline_pools(monkeypatch: pytest.MonkeyPatch) -> Pools:
    """From here on, corpora are worked off in this process."""
    pools = Pools()

    def pool(settings: Settings, *args: object) -> InlinePool:
        pools.append(InlinePool(settings, pools.dies))
        return pools[-1]

    monkeypatch.setattr("streamparts.corpus.processing._pool", pool)
    return pools
