"""run_corpus: tracks many videos on many processes, here or on a cluster. It has the public signature; processing.py
does the work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

from streamparts.backends.choice import AUTO
from streamparts.bundle.load import Bundle
from streamparts.corpus.driver import CorpusProgress
from streamparts.corpus.options import BOTH, RETRIES, CorpusOptions, Crew
from streamparts.corpus.processing import process
from streamparts.corpus.records import CorpusResult
from streamparts.runtime.options import Network, Tracking
from streamparts.sinks.outputs import Outputs
from streamparts.sinks.overlay.style import DEFAULT_STYLE, OverlayStyle
from streamparts.sources.base import MAX_PIXELS
from streamparts.sources.reading import Reading
from streamparts.tracking.roi import Roi
from streamparts.tracking.skeleton import Skeleton
from streamparts.tracking.smoothing import Smoothing


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
    return process(
        sources,
        out_dir,
        Network(model, backend, threads, trust_engine),
        CorpusOptions(
            outputs=Outputs(
                BOTH.overlay if overlay else None, BOTH.tracks if tracks else None, masks, style, encoder, audio,
                force=force,
            ),
            tracking=Tracking(
                policy="all", max_fps=max_fps, smoothing=smoothing, skeleton=skeleton, roi=roi, subjects=subjects
            ),
            reading=Reading(
                start=start, end=end, every=every, damaged=damaged, hwaccel=hwaccel, max_pixels=max_pixels,
                fps=None if fps is None else Fraction(fps).limit_denominator(1001),
            ),
        ),
        Crew(
            workers=workers, cluster=cluster, cpus_per_task=cpus_per_task, gpus_per_task=gpus_per_task, retries=retries
        ),
        say=say,
        stop=stop,
        progress=progress,
    )  # fmt: skip
