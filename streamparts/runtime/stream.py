"""Tracking with files and messages as output, of one source or several. The functions here have the public signatures;
runs.py does the work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from streamparts.backends.choice import AUTO
from streamparts.bundle.load import Bundle
from streamparts.data import Backend, Tracks
from streamparts.runtime.options import Hooks, Network, Policy, Tracking
from streamparts.runtime.runs import run_each, run_one
from streamparts.runtime.stats import Progress, Stats
from streamparts.runtime.summary import Outcome, Summary
from streamparts.sinks.messages import parse_addresses
from streamparts.sinks.outputs import Outputs, Show
from streamparts.sinks.overlay.style import DEFAULT_STYLE, OverlayStyle
from streamparts.sources import Source
from streamparts.tracking.roi import Roi
from streamparts.tracking.skeleton import Skeleton
from streamparts.tracking.smoothing import Smoothing

A = TypeVar("A")


def run(
    source: str | Path | Source,
    model: str | Path | Bundle | None = None,
    *,
    overlay: str | Path | None = None,
    tracks: str | Path | None = None,
    masks: bool = False,
    style: OverlayStyle = DEFAULT_STYLE,
    encoder: str = "auto",
    audio: bool = True,
    show: Show | None = None,
    show_port: int = 0,
    send: str | Sequence[str] = (),
    force: bool = False,
    resume: bool = False,
    trust_engine: bool = False,
    backend: Backend | str = AUTO,
    threads: int | None = None,
    opener: Callable[[str | Path], Source] | None = None,
    policy: Policy | None = None,
    max_fps: float | None = None,
    first_index: int = 0,
    smoothing: Smoothing | None = None,
    skeleton: Skeleton | str | Path | None = None,
    roi: Roi | None = None,
    subjects: int = 1,
    stats: str | Path | Callable[[Stats], None] | None = None,
    on_tracks: Callable[[Tracks], None] | None = None,
    say: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Track a video and write outputs: an overlay video, tracks as JSON lines, live messages.

    Args:
        source: path, word or Source.
        model: path or name of a model, or a bundle; None is the default model.
        overlay: file of the overlay video.
        tracks: file of the tracks.
        masks: add each part's mask to the tracks.
        style: style of overlay and preview.
        encoder: "auto", "small" or FFmpeg's name of an H.264 encoder.
        audio: copy the source's audio into the overlay.
        show: live preview: "window", "page" or "auto".
        show_port: port of the preview page; 0 for any free one.
        send: one address or several that get every frame's tracks as messages, such as "udp://127.0.0.1:9000"
            (docs/messages.md); receivers never delay the run.
        force: replace existing outputs.
        resume: continue after the last frame in `tracks`, if that file exists.
        trust_engine: load a TensorRT engine that was not built here: it can run any code.
        opener: opens a source given as a path or word; None is open_source.
        first_index: earlier frames are read and skipped.
        stats: file that gets a JSON line every second, "-" for stderr, or a function that gets the Stats.
        on_tracks: called with each result in a separate thread; it misses results rather than delaying the run.
        say: gets lines for the user during the run.
        progress: called after each frame, in the loop.
        stop: an event that, set from another thread or a signal handler, ends the run after the current frame with
            complete outputs; closing the preview does the same.

    The other arguments are those of `track`.

    Raises VideoError, ModelError, SkeletonError, BackendError, MissingExtraError or TracksError; ValueError for an
    invalid address. An error of the source or the network ends the run. An error of one output ends only that output
    and is raised at the end; what was written before stays readable. Ending takes at most two seconds, whatever hangs.
    """
    return run_one(
        source,
        Network(model, backend, threads, trust_engine),
        Outputs(
            _path(overlay), _path(tracks), masks, style, encoder, audio, show, show_port, parse_addresses(send),
            force=force, resume=resume,
        ),
        Tracking(
            policy=policy, max_fps=max_fps, first_index=first_index,
            smoothing=smoothing, skeleton=skeleton, roi=roi, subjects=subjects,
        ),
        Hooks(
            opener=opener, stats=stats, on_tracks=_nameless(on_tracks), progress=_nameless(progress), say=say, stop=stop
        ),
    )  # fmt: skip


def run_many(
    sources: Sequence[str | Path | Source],
    model: str | Path | Bundle | None = None,
    *,
    out_dir: str | Path = ".",
    overlay: bool = True,
    tracks: bool = True,
    masks: bool = False,
    style: OverlayStyle = DEFAULT_STYLE,
    encoder: str = "auto",
    audio: bool = True,
    force: bool = False,
    trust_engine: bool = False,
    backend: Backend | str = AUTO,
    threads: int | None = None,
    opener: Callable[[str | Path], Source] | None = None,
    policy: Policy | None = None,
    max_fps: float | None = None,
    smoothing: Smoothing | None = None,
    skeleton: Skeleton | str | Path | None = None,
    roi: Roi | None = None,
    subjects: int = 1,
    stats: str | Path | Callable[[Stats], None] | None = None,
    on_tracks: Callable[[str, Tracks], None] | None = None,
    say: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
    progress: Callable[[str, Progress], None] | None = None,
) -> list[Outcome]:
    """Track several sources in parallel with one model. Each has its own loop, tracker and outputs; frames that are
    ready at the same time go through the network together, and none waits for another.

    Args:
        sources: paths, words or Sources.
        out_dir: folder of the outputs STEM.overlay.mp4 and STEM.tracks.jsonl, where STEM is the name of the file or
            stream, with a number if two are equal.
        overlay: write overlay videos.
        tracks: write tracks.
        on_tracks: called with STEM and each result, by the threads of all sources.
        progress: called with STEM and the progress after each frame, by the threads of all sources.

    The other arguments are those of `run`. An error of one source does not affect the others: see the Outcomes, in the
    order of `sources`. Raises VideoError or ModelError if nothing can start.
    """
    return run_each(
        sources,
        Network(model, backend, threads, trust_engine),
        Outputs(
            Path("overlay.mp4") if overlay else None, Path("tracks.jsonl") if tracks else None, masks, style, encoder,
            audio, force=force,
        ),
        Path(out_dir),
        Tracking(
            policy=policy, max_fps=max_fps, smoothing=smoothing, skeleton=skeleton, roi=roi, subjects=subjects
        ),
        Hooks(opener=opener, stats=stats, on_tracks=on_tracks, progress=progress, say=say, stop=stop),
    )  # fmt: skip


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)


def _nameless(function: Callable[[A], None] | None) -> Callable[[str, A], None] | None:
    """Drops the source's name: there is only one source."""
    return None if function is None else lambda _, value: function(value)
