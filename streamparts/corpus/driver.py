"""The driver of a corpus: decides what to process, submits tasks to a pool, writes the manifest."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import msgspec

from streamparts import __version__
from streamparts.corpus.attempts import is_begun, output_names, work_folder
from streamparts.corpus.manifest import Manifest
from streamparts.corpus.options import Settings, Task
from streamparts.corpus.places import Folder, Version
from streamparts.corpus.plan import Item
from streamparts.corpus.pool import LostTask, Pool
from streamparts.corpus.records import CorpusResult
from streamparts.corpus.work import Answer
from streamparts.errors import VideoError
from streamparts.sources.redact import redact

LOOK_SECONDS = 0.2
"""Interval at which `stop` is checked."""
STOP_SECONDS = 6.0
"""Time to wait for answers after `stop`; a video ends within two seconds."""
_RATE_SECONDS = 5.0

VersionOf = Callable[[str], Version | None]


@dataclass(frozen=True, slots=True)
class CorpusProgress:
    """Progress of a corpus run."""

    total: int
    """Number of videos."""
    done: int
    """Videos with complete outputs, including those from earlier runs."""
    failed: int
    """Videos that failed for good."""
    frames: int
    """Frames tracked so far in this run."""
    fps: float
    """Frames per second over all workers, in the last five seconds."""
    workers: int
    """Workers that are ready or working."""


@dataclass(slots=True)
class Todo:
    """Videos to process, and the reasons for reprocessing existing results."""

    tasks: list[Task]
    skipped: dict[int, CorpusResult]
    """Videos by index."""
    again: dict[str, int]
    """Number of videos by reason."""


def sort_out(items: Sequence[Item], manifest: Manifest, folder: Folder, settings: Settings, *, force: bool) -> Todo:
    """Separate completed videos from those to process. Raises VideoError if an output would replace a file that was not
    written by a corpus run, unless `force`."""
    todo = Todo([], {}, {})
    for number, item in enumerate(items):
        before = manifest.results.get(item.name)
        reason = "--force was given" if force else _reason_again(before, folder, settings)
        if not force:
            _require_ours(item, before, folder, settings)
        stands = before is not None and before.status == "done" and reason is None
        if before is not None and stands and _is_unchanged(before, item):
            todo.skipped[number] = msgspec.structs.replace(before, status="skipped")
            continue
        if before is not None and before.status == "done" and reason is not None:
            todo.again[reason] = todo.again.get(reason, 0) + 1
        todo.tasks.append(_task(number, item, before, force=force, known=stands))
    return todo


class Driver:
    """Processes the videos."""

    def __init__(
        self,
        items: Sequence[Item],
        manifest: Manifest,
        folder: Folder,
        settings: Settings,
        retries: int,
        stop: threading.Event | None,
        progress: Callable[[CorpusProgress], None] | None,
        say: Callable[[str], None] | None,
    ) -> None:
        self._items, self._manifest, self._folder, self._settings = items, manifest, folder, settings
        self._retries, self._stop = retries, stop or threading.Event()
        self._progress, self._say = progress, say or (lambda line: None)
        self._results: dict[int, CorpusResult] = {}
        self._frames = self._num_failed = 0
        self._rates: deque[tuple[float, int]] = deque()

    def run(self, todo: Todo, pool: Pool | None) -> list[CorpusResult]:
        """Yield results in the order of the items. Raises StreampartsError if nothing can be processed."""
        self._results |= todo.skipped
        tasks = deque(sorted(todo.tasks, key=lambda task: -_size(task)))  # largest first
        try:
            if pool is not None:
                self._run_tasks(tasks, pool)
        finally:
            if pool is not None:
                pool.close()
        for number in range(len(self._items)):
            if number not in self._results:
                self._results[number] = self._blank(number, "interrupted")
        return [self._results[number] for number in range(len(self._items))]

    def _run_tasks(self, tasks: deque[Task], pool: Pool) -> None:
        running: dict[int, Task] = {}
        told_at: float | None = None
        while tasks or running:
            if told_at is None and self._stop.is_set():
                told_at = time.monotonic()
                pool.stop()
            if told_at is not None and (not running or time.monotonic() - told_at > STOP_SECONDS):
                return
            events = pool.wait(LOOK_SECONDS)
            for event in events:
                del running[event.task.number]
            if told_at is None:
                pool.want(len(tasks))
                while tasks and pool.num_free:  # before the bookkeeping, so that no worker waits for it
                    task = tasks.popleft()
                    running[task.number] = task
                    pool.submit(task)
            for event in events:
                if (again := self._take(event)) is not None:
                    tasks.append(again)
            self._tell(pool)

    def _take(self, event: Answer | LostTask) -> Task | None:
        """Record the outcome of a task; return the task if it should be retried."""
        task = event.task
        lost = isinstance(event, LostTask)
        if task.attempt <= self._retries and (lost or event.may_retry) and not self._stop.is_set():  # type: ignore[union-attr]
            reason = event.reason if isinstance(event, LostTask) else event.result.error
            self._say(f"{task.name}: {reason}; it is tried again")
            return replace(task, attempt=task.attempt + 1)
        if isinstance(event, LostTask):
            if self._stop.is_set():
                return None
            result = self._blank(task.number, "failed", error=event.reason, attempts=task.attempt)
        else:
            result = event.result
        self._keep(task, result)
        return None

    def _keep(self, task: Task, result: CorpusResult) -> None:
        self._frames += result.frames if result.status == "done" else 0
        before = self._manifest.results.get(task.name)
        if result.status == "skipped" and before is not None:
            line = msgspec.structs.replace(
                before,
                source=result.source,
                source_bytes=result.source_bytes,
                source_version=result.source_version,
            )
            result = msgspec.structs.replace(line, status="skipped")
            self._manifest.add(line)
        elif result.status != "interrupted":
            if result.status == "failed" and before is not None:
                result = msgspec.structs.replace(result, outputs=before.outputs)
            self._manifest.add(result)
            self._folder.remove(work_folder(task.name))
        self._results[task.number] = result
        self._num_failed += result.status == "failed"

    def _blank(self, number: int, status: str, **values: object) -> CorpusResult:
        item, bundle = self._items[number], self._settings.bundle
        return CorpusResult(
            status=status,  # type: ignore[arg-type]
            name=item.name,
            source=redact(item.source),
            model=bundle.spec.name,
            model_sha256=bundle.sha256,
            options_sha256=self._settings.options.sha256,
            streamparts=__version__,
            **values,  # type: ignore[arg-type]
        )

    def _tell(self, pool: Pool) -> None:
        if self._progress is None:
            return
        now, frames = time.monotonic(), self._frames + pool.frames_begun
        self._rates.append((now, frames))
        while len(self._rates) > 2 and now - self._rates[0][0] > _RATE_SECONDS:
            self._rates.popleft()
        began, at_begin = self._rates[0]
        fps = (frames - at_begin) / (now - began) if now > began else 0.0
        done, failed = len(self._results) - self._num_failed, self._num_failed
        self._progress(CorpusProgress(len(self._items), done, failed, frames, max(0.0, fps), pool.num_workers))


def _reason_again(before: CorpusResult | None, folder: Folder, settings: Settings) -> str | None:
    """Return why a result is invalid, regardless of its video; None if it is valid."""
    if before is None or before.status != "done":
        return None
    if before.model_sha256 != settings.bundle.sha256:
        return "they were made with another model"
    if before.options_sha256 != settings.options.sha256:
        return "they were made with other options"
    if any(folder.size(file.path) != file.bytes for file in before.outputs):
        return "outputs were removed or changed"
    return None


def _require_ours(item: Item, before: CorpusResult | None, folder: Folder, settings: Settings) -> None:
    ours = {file.path for file in before.outputs} if before else set()
    for name in output_names(item.name, settings.options):
        if name not in ours and folder.size(name) is not None and not is_begun(folder, item.name):
            raise VideoError(
                f"{redact(settings.out_dir)}/{name}: exists already, and the manifest there has no run that wrote "
                "it; use --force (in Python: force=True) to replace it"
            )


def _is_unchanged(before: CorpusResult, item: Item) -> bool:
    version = version_at(item.source)
    known = (before.source, before.source_bytes, before.source_version)
    return version is not None and known == (redact(item.source), version.size, version.mark)


def version_at(source: str) -> Version | None:
    """None if it cannot be determined from here."""
    from streamparts.corpus.work import current_version

    try:
        return current_version(source)
    except VideoError:
        return None


def _task(number: int, item: Item, before: CorpusResult | None, *, force: bool, known: bool) -> Task:
    content = before.content_sha256 if before and not force else None
    is_other = before is not None and before.status == "done" and before.source != redact(item.source)
    owner = (content, before.source) if content and before and is_other else None
    return Task(number, item.name, item.source, 1, content if known else None, owner)


def _size(task: Task) -> int:
    version = version_at(task.source)
    return version.size if version else 0
