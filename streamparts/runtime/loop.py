"""The loop for Python programs: frames in, tracks out."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

from streamparts.backends.choice import AUTO
from streamparts.bundle.load import Bundle
from streamparts.data import Backend, Tracks
from streamparts.meter import StageClock
from streamparts.runtime.job import opened
from streamparts.runtime.options import Network, Policy, Tracking
from streamparts.runtime.pipeline import Pipeline
from streamparts.runtime.stats import RunMeter
from streamparts.sources import Source
from streamparts.tracking.roi import Roi
from streamparts.tracking.skeleton import Skeleton
from streamparts.tracking.smoothing import Smoothing


def track(
    source: str | Path | Source,
    model: str | Path | Bundle | None = None,
    *,
    backend: Backend | str = AUTO,
    threads: int | None = None,
    clock: StageClock | None = None,
    policy: Policy | None = None,
    max_fps: float | None = None,
    smoothing: Smoothing | None = None,
    skeleton: Skeleton | str | Path | None = None,
    roi: Roi | None = None,
    subjects: int = 1,
) -> Generator[Tracks]:
    """Yield the tracks of every frame of a video, in order; for a live source, always those of the newest frame.

    Args:
        source: path, word or Source. A path or word is opened and closed here; a Source remains the caller's to close,
            but a live one that supplies no frame is closed when the loop is left.
        model: path or name of a model, or a bundle; None is the default model.
        backend: an open Backend, or a name for backends.choice.open_backend; "auto" takes the fastest available one.
        threads: threads of a CPU backend.
        clock: receives the time of each stage.
        policy: "all" or "latest"; None is "all" for files and "latest" for live sources.
        max_fps: maximum frames per second of the source's time.
        smoothing: filters the poses over time and keeps mirrored parts apart; None leaves them unfiltered.
        skeleton: a Skeleton or its file; adds joints and places hidden parts.
        roi: "auto" (as None) follows the subject if the model has one (docs/following.md); "off" is the whole frame;
            left, top, width and height in pixels are a fixed region.
        subjects: number of subjects to follow; the first one's Tracks contain those of the others.

    Raises VideoError, ModelError, SkeletonError, BackendError or MissingExtraError: at once if the start fails,
    otherwise at the failing frame, after the tracks before it.
    """
    tracking = Tracking(
        policy=policy, max_fps=max_fps, smoothing=smoothing, skeleton=skeleton, roi=roi, subjects=subjects
    )
    return _tracks(*open_pipeline(source, Network(model, backend, threads), tracking, clock))


def open_pipeline(
    source: str | Path | Source, network: Network, tracking: Tracking, clock: StageClock | None
) -> tuple[Pipeline, ExitStack]:
    """Return the iterator of `track`, and the resources to close after it."""
    bundle = network.load()
    tracking = tracking.fitted(bundle.spec)
    backend = network.open(bundle).backend
    with ExitStack() as stack:
        frames = opened(source, stack)
        return Pipeline(frames, bundle, backend, tracking, RunMeter(frames.name, clock)), stack.pop_all()


def _tracks(pipeline: Pipeline, stack: ExitStack) -> Generator[Tracks]:
    with stack:
        try:
            yield from pipeline
        finally:
            if not pipeline.close():
                stack.pop_all()
                warnings.warn(f"{pipeline.stuck} did not stop in time; its thread is abandoned", RuntimeWarning, 2)
