"""Processes a corpus, from options as values: what is left to do, on which workers, in a folder held by one run."""

from __future__ import annotations

import os
import platform
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from streamparts import __version__
from streamparts.backends.choice import AUTO, BACKENDS
from streamparts.bundle.load import Bundle
from streamparts.corpus.driver import CorpusProgress, Driver, Todo, sort_out
from streamparts.corpus.manifest import Manifest, read_manifest
from streamparts.corpus.options import CorpusOptions, Crew, Settings
from streamparts.corpus.places import OWN, TOKEN, Folder, LocalFolder, token_file
from streamparts.corpus.plan import is_remote, plan
from streamparts.corpus.pool import LocalPool, Pool
from streamparts.corpus.records import CorpusResult
from streamparts.corpus.shares import shares
from streamparts.corpus.work import open_folder
from streamparts.errors import VideoError
from streamparts.files import locked
from streamparts.runtime.options import Network


def process(
    sources: str | Path | Sequence[str | Path],
    out_dir: str | Path,
    network: Network,
    options: CorpusOptions,
    crew: Crew,
    *,
    say: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
    progress: Callable[[CorpusProgress], None] | None = None,
) -> list[CorpusResult]:
    """Track many videos; errors as for streamparts.run_corpus."""
    words = [sources] if isinstance(sources, str | Path) else list(sources)
    if network.backend not in (AUTO, *BACKENDS):
        raise ValueError(f"no backend called {network.backend!r}; there are {AUTO}, {', '.join(BACKENDS)}")
    if network.threads is not None and network.threads < 1:
        raise ValueError(f"threads must be 1 or more, got {network.threads}")
    place = str(out_dir) if is_remote(str(out_dir)) else os.path.abspath(out_dir)  # noqa: PTH100
    folder = open_folder(place)
    names = {result.source: name for name, result in read_manifest(folder).items()}
    items = plan(words, names, say or (lambda line: None))
    bundle = network.load()
    options = _fitted(options, bundle, say)
    token = secrets.token_hex(16)
    settings = Settings(bundle, options, str(network.backend), network.threads, place, token, __version__)
    with _held(folder, token):
        manifest = Manifest(folder)
        try:
            todo = sort_out(items, manifest, folder, settings, force=options.outputs.force)
            _report_work(say, items, todo)
            driver = Driver(items, manifest, folder, settings, crew.retries, stop, progress, say)
            return driver.run(todo, _pool(settings, todo, crew, say) if todo.tasks else None)
        finally:
            manifest.close()


def _fitted(options: CorpusOptions, bundle: Bundle, say: Callable[[str], None] | None) -> CorpusOptions:
    """Return the options for one model; a note about them goes to the user. Raises SkeletonError, or VideoError if the
    style names parts that the model does not have."""
    try:
        options.outputs.style.check_parts(bundle.spec.num_parts)
    except ValueError as error:
        raise VideoError(f"the overlay cannot be drawn, because {bundle.spec.name} has other parts: {error}") from error
    if (note := options.tracking.following(bundle.spec).note) and say:
        say(note)
    return replace(options, tracking=options.tracking.fitted(bundle.spec))


@contextmanager
def _held(folder: Folder, token: str) -> Iterator[None]:
    """Create the output folder if missing, and lock it for this run."""
    if not isinstance(folder, LocalFolder):
        from streamparts.corpus.remote import RemoteFolder, held

        assert isinstance(folder, RemoteFolder)
        with held(folder, token):
            yield
        return
    own = folder.path / OWN
    try:
        (own / "work").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VideoError(f"{folder.path}: cannot be used as output folder ({error.strerror})") from error
    who = f"process {os.getpid()} on {platform.node()}"
    try:
        with locked(own / "lock", who):
            folder.write(TOKEN, token_file(token, who, time.time()))
            try:
                yield
            finally:
                folder.remove(TOKEN)
    finally:
        for path in (own / "work", own):  # only if nothing is unfinished, and no other run is working
            with suppress(OSError):
                path.rmdir()


def _pool(settings: Settings, todo: Todo, crew: Crew, say: Callable[[str], None] | None) -> Pool:
    if crew.cluster is not None:
        from streamparts.corpus.ray_pool import RayPool

        return RayPool(settings, crew.cluster, crew.workers, crew.cpus_per_task, crew.gpus_per_task, say)
    share = shares(len(todo.tasks), settings.backend, crew.workers, settings.threads)
    return LocalPool(replace(settings, threads=share.threads), share.num_workers, share.devices)


def _report_work(say: Callable[[str], None] | None, items: Sequence[object], todo: Todo) -> None:
    if say is None:
        return
    if todo.skipped:
        say(f"{len(todo.skipped)} of {len(items)} videos are done already")
    for reason, count in todo.again.items():
        say(f"{count} {'is' if count == 1 else 'are'} processed again: {reason}")
