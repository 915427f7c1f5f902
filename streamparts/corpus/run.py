"""run_corpus: tracks many videos on many processes, here or on a cluster."""

from __future__ import annotations

import os
import platform
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

from streamparts import __version__
from streamparts.backends.choice import AUTO, BACKENDS
from streamparts.backends.loading import load_model
from streamparts.bundle.load import Bundle
from streamparts.corpus.driver import CorpusProgress, Driver, Todo, sort_out
from streamparts.corpus.manifest import Manifest, read_manifest
from streamparts.corpus.options import Options, Settings
from streamparts.corpus.places import OWN, TOKEN, Folder, LocalFolder, token_file
from streamparts.corpus.plan import is_remote, plan
from streamparts.corpus.pool import LocalPool, Pool
from streamparts.corpus.records import CorpusResult
from streamparts.corpus.shares import shares
from streamparts.corpus.work import open_folder
from streamparts.errors import VideoError
from streamparts.files import locked
from streamparts.sinks.overlay.style import DEFAULT_STYLE, OverlayStyle
from streamparts.sources.base import MAX_PIXELS
from streamparts.tracking.roi import Following, Roi
from streamparts.tracking.skeleton import Skeleton
from streamparts.tracking.skeleton_file import skeleton_for
from streamparts.tracking.smoothing import Smoothing

RETRIES = 2


def run_corpus(
    sources: str | Path | Sequence[str | Path],
    model: str | Path | Bundle | None = None,
    *,
    out_dir: str | Path = ".",
    overlay: bool = True,
    tracks: bool = True,
    masks: bool = False,
    style: OverlayStyle = DEFAULT_STYLE,
    encoder: str = "auto",
    audio: bool = True,
    start: float | None = None,
    end: float | None = None,
    every: int = 1,
    fps: float | Fraction | None = None,
    max_fps: float | None = None,
    hwaccel: str = "none",
    damaged: str = "keep",
    max_pixels: int = MAX_PIXELS,
    smoothing: Smoothing | None = None,
    skeleton: Skeleton | str | Path | None = None,
    roi: Roi | None = None,
    subjects: int = 1,
    force: bool = False,
    trust_engine: bool = False,
    backend: str = AUTO,
    threads: int | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    cpus_per_task: float | None = None,
    gpus_per_task: float = 0,
    retries: int = RETRIES,
    say: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
    progress: Callable[[CorpusProgress], None] | None = None,
) -> list[CorpusResult]:
    """Track many videos, each once, in processes that load the model once, and keep a manifest of the results
    (docs/corpus.md).

    Args:
        sources: files, globs, folders of videos, @lists and addresses of stores such as s3://.
        out_dir: folder or store address for the outputs, with subfolders as in the sources, and for `manifest.jsonl`.
        force: process everything again, and replace existing files.
        start: start time in each video, in seconds.
        end: end time in each video, in seconds.
        every: use every N-th frame of each video.
        fps: frame rate of image sequences.
        damaged: "drop" leaves out damaged frames.
        max_pixels: videos with larger frames fail.
        workers: number of processes; None for as many as this machine has room for.
        cluster: run on Ray: "auto" for the cluster found here or else a new one, or an address.
        cpus_per_task: CPUs of a worker on the cluster.
        gpus_per_task: GPUs of a worker on the cluster.
        retries: further attempts after a failure that may be temporary (a dead process, a lost machine).
        say: receives lines for the user.
        progress: called several times per second.
        stop: an event that ends the run within seconds; the next run continues.

    The other arguments are those of `run_many`. Videos that were completed with the same content, model and options are
    skipped; incomplete tracks are continued. A failed video does not affect the others.

    Raises VideoError, ModelError, SkeletonError, BackendError or MissingExtraError if nothing can start, ValueError for
    invalid arguments. Later failures are in the results, which are in the order of the videos.
    """
    options = Options(
        overlay=overlay,
        tracks=tracks,
        masks=masks,
        style=style,
        encoder=encoder,
        audio=audio,
        smoothing=smoothing,
        start=start,
        end=end,
        every=every,
        fps=None if fps is None else Fraction(fps).limit_denominator(1001),
        max_fps=max_fps,
        hwaccel=hwaccel,
        roi=roi,
        subjects=subjects,
        damaged=damaged,
        max_pixels=max_pixels,
    )
    _check(options, backend, workers, threads, retries, cluster, cpus_per_task, gpus_per_task)
    words = [sources] if isinstance(sources, str | Path) else list(sources)
    place = str(out_dir) if is_remote(str(out_dir)) else os.path.abspath(out_dir)  # noqa: PTH100
    folder = open_folder(place)
    names = {result.source: name for name, result in read_manifest(folder).items()}
    items = plan(words, names, say or (lambda line: None))
    bundle = model if isinstance(model, Bundle) else load_model(model, trust_engine)
    options = _with_skeleton(options, bundle, skeleton)
    if (note := Following.of(bundle.spec, roi, subjects).note) and say:
        say(note)
    token = secrets.token_hex(16)
    settings = Settings(bundle, options, backend, threads, place, token, __version__)
    with _held(folder, token):
        manifest = Manifest(folder)
        try:
            todo = sort_out(items, manifest, folder, settings, force=force)
            _say_what(say, items, todo)
            driver = Driver(items, manifest, folder, settings, retries, stop, progress, say)
            pool = _pool(settings, todo, workers, cluster, cpus_per_task, gpus_per_task, say) if todo.tasks else None
            return driver.run(todo, pool)
        finally:
            manifest.close()


def _check(
    options: Options,
    backend: str,
    workers: int | None,
    threads: int | None,
    retries: int,
    cluster: str | None,
    cpus_per_task: float | None,
    gpus_per_task: float,
) -> None:
    """Raises ValueError."""
    if backend not in (AUTO, *BACKENDS):
        raise ValueError(f"no backend called {backend!r}; there are {AUTO}, {', '.join(BACKENDS)}")
    if options.damaged not in ("keep", "drop"):
        raise ValueError(f"damaged must be keep or drop, got {options.damaged!r}")
    if options.max_pixels < 1:
        raise ValueError(f"max_pixels must be positive, got {options.max_pixels}")
    if retries < 0 or (workers is not None and workers < 1) or (threads is not None and threads < 1):
        raise ValueError(
            f"retries {retries}, workers {workers}, threads {threads}: give 0 or more, 1 or more, 1 or more"
        )
    if cluster is None and (cpus_per_task is not None or gpus_per_task):
        raise ValueError("cpus_per_task and gpus_per_task are for clusters: also give cluster")
    if (cpus_per_task is not None and cpus_per_task < 0) or gpus_per_task < 0:
        raise ValueError(f"cpus_per_task {cpus_per_task} and gpus_per_task {gpus_per_task} must not be negative")
    start, end = options.start or 0, options.end
    if start < 0 or (end is not None and end <= start) or options.every < 1:
        raise ValueError(
            f"start {options.start}, end {end}, every {options.every}: give 0 <= start < end and every >= 1"
        )


def _with_skeleton(options: Options, bundle: Bundle, skeleton: Skeleton | str | Path | None) -> Options:
    """Raise SkeletonError, or VideoError if the style names parts that the model does not have."""
    from dataclasses import replace

    try:
        options.style.check_parts(bundle.spec.num_parts)
    except ValueError as error:
        raise VideoError(f"the overlay cannot be drawn, because {bundle.spec.name} has other parts: {error}") from error
    return replace(options, skeleton=skeleton_for(bundle.spec.parts, skeleton))


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


def _pool(
    settings: Settings,
    todo: Todo,
    workers: int | None,
    cluster: str | None,
    cpus_per_task: float | None,
    gpus_per_task: float,
    say: Callable[[str], None] | None,
) -> Pool:
    from dataclasses import replace

    if cluster is not None:
        from streamparts.corpus.ray_pool import RayPool

        return RayPool(settings, cluster, workers, cpus_per_task, gpus_per_task, say)
    share = shares(len(todo.tasks), settings.backend, workers, settings.threads)
    return LocalPool(replace(settings, threads=share.threads), share.num_workers, share.devices)


def _say_what(say: Callable[[str], None] | None, items: Sequence[object], todo: Todo) -> None:
    if say is None:
        return
    if todo.skipped:
        say(f"{len(todo.skipped)} of {len(items)} videos are done already")
    for reason, count in todo.again.items():
        say(f"{count} {'is' if count == 1 else 'are'} processed again: {reason}")
