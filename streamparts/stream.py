"""The loop: frames in, tracks out; and the same with files at the other end."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from streamparts.backends import Backend
from streamparts.backends.choice import Chosen, choose_backend
from streamparts.bundle import Bundle, load_model
from streamparts.channel import prefetch
from streamparts.data import Tracks
from streamparts.errors import VideoError
from streamparts.meter import AgeMeter, StageClock
from streamparts.segment import PartSegmenter
from streamparts.sinks.background import BackgroundSink
from streamparts.sources import Source, open_source
from streamparts.tracker import PartTracker

A = TypeVar("A")
B = TypeVar("B")

PREFETCH_DEPTH = 2
"""Frames that may wait, decoded, for the network."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did and how long it took."""

    num_frames: int
    """Frames that went through all stages."""
    seconds: float
    """Wall time from the first frame asked for to the last output closed."""
    age_p50_ms: float
    """Median age of a result: from leaving the decoder to written by the last output. nan without frames."""
    age_p95_ms: float
    """95th percentile of the same."""
    stage_ms: dict[str, float]
    """Mean milliseconds per frame in each stage; stages in different threads overlap."""
    decode_errors: int
    """Packets of the source that could not be decoded."""
    repaired_times: int
    """Frames whose time was missing or not increasing in the source, and was continued."""
    outputs: tuple[Path, ...]
    """Files written."""
    interrupted: bool
    """Whether `stop` ended the run."""
    backend: str
    """Name of the backend that ran the network."""
    why_backend: str
    """What spoke for it, in one line."""

    @property
    def fps(self) -> float:
        return self.num_frames / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    num_frames: int
    """Frames so far."""
    total: int | None
    """Estimate of all frames; None if unknown."""
    age_p50_ms: float
    """Median age of the results so far."""


def track(
    source: str | Path | Source,
    model: str | Path | Bundle | None = None,
    *,
    backend: Backend | str = "auto",
    threads: int | None = None,
    clock: StageClock | None = None,
) -> Generator[Tracks]:
    """Tracks of every frame of a video, in order.

    `model` None is the default model. `backend` is one that is open, or a name for backends.choice.open_backend, as is
    `threads`; "auto" takes the quickest that is here. A source given as a path is opened here and closed at the end; a
    Source stays the caller's. Raises VideoError, ModelError, BackendError or MissingExtraError: what is wrong from the
    start at once, a failure on the way at its frame, after the tracks before it.
    """
    bundle = model if isinstance(model, Bundle) else load_model(model)
    chosen = _chosen(bundle, backend, threads)
    stack = ExitStack()
    frames = _opened(source, stack)
    return _tracks(frames, bundle, chosen.backend, clock or StageClock(), stack)


def _tracks(frames: Source, bundle: Bundle, backend: Backend, clock: StageClock, stack: ExitStack) -> Generator[Tracks]:
    segmenter = PartSegmenter(bundle, backend)
    tracker = PartTracker(bundle.spec.parts, undirected=bundle.spec.method == "scops")
    decoded = clock.time_each("decode", frames)
    prepared = _timed_map(clock, "prepare", segmenter.prepare, decoded)
    with stack, closing(prefetch(prepared, PREFETCH_DEPTH)) as ready:
        for item in ready:
            with clock.time("infer"):
                parts = segmenter.infer(item)
            with clock.time("track"):
                tracks = tracker.update(item.frame, item.letterbox, parts)
            yield tracks


def run(
    source: str | Path | Source,
    model: str | Path | Bundle | None = None,
    *,
    overlay: str | Path | None = None,
    tracks: str | Path | None = None,
    masks: bool = False,
    force: bool = False,
    trust_engine: bool = False,
    backend: Backend | str = "auto",
    threads: int | None = None,
    stop: threading.Event | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Track a video and write what is asked for: an overlay video, and tracks as JSON lines.

    `masks` adds each part's mask to the tracks; `force` allows outputs to be replaced; `backend` and `threads` are as
    for `track`; `trust_engine` loads a TensorRT engine that was not built here: it can run any code.
    Setting `stop`, from another
    thread or a signal handler, ends the run after the frame at hand with all outputs complete. `progress` is called
    after each frame. Raises the errors of `track`; an error in any stage ends the run, and what was written
    before it stays readable.
    """
    outputs = tuple(Path(path) for path in (overlay, tracks) if path is not None)
    check_outputs(outputs, _paths_of(source, model), force)
    bundle = model if isinstance(model, Bundle) else load_model(model, trust_engine)
    clock, num_frames = StageClock(), 0
    with ExitStack() as stack:
        frames = _opened(source, stack)
        chosen = _chosen(bundle, backend, threads)
        results = stack.enter_context(closing(track(frames, bundle, backend=chosen.backend, clock=clock)))
        ages = AgeMeter(num_sinks=len(outputs))
        writers: list[BackgroundSink[Tracks]] = []
        started = time.perf_counter()
        for writer in _writers(overlay, tracks, frames, bundle, masks, clock, ages):
            writers.append(stack.enter_context(closing(writer)))
        for result in results:
            for writer in writers:
                writer.write(result)
            num_frames += 1
            if progress:
                progress(Progress(num_frames, frames.num_frames, ages.quantile_ms(0.5)))
            if stop and stop.is_set():
                break
    return Summary(
        num_frames=num_frames,
        seconds=time.perf_counter() - started,
        age_p50_ms=ages.quantile_ms(0.5),
        age_p95_ms=ages.quantile_ms(0.95),
        stage_ms=clock.mean_ms(),
        decode_errors=frames.decode_errors,
        repaired_times=frames.repaired_times,
        outputs=outputs,
        interrupted=bool(stop and stop.is_set()),
        backend=chosen.backend.name,
        why_backend=chosen.why,
    )


def check_outputs(outputs: Sequence[Path], inputs: Sequence[Path], force: bool) -> None:
    """Raise VideoError unless every output can be written without destroying an input or, unforced, anything."""
    for number, output in enumerate(outputs):
        if any(_is_same_file(output, other) for other in (*inputs, *outputs[:number])):
            raise VideoError(f"{output}: is also an input or another output; give every file its own name")
        if not output.parent.is_dir():
            raise VideoError(f"{output}: the folder {output.parent} does not exist; create it first")
        if output.is_dir():
            raise VideoError(f"{output}: is a folder; give the name of a file in it")
        if output.is_file() and not force:
            raise VideoError(f"{output}: exists already; use --force (in Python: force=True) to replace it")
        if not os.access(output if output.exists() else output.parent, os.W_OK):
            raise VideoError(f"{output}: no permission to write there; choose another folder")


def _is_same_file(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))


def _paths_of(source: object, model: object) -> list[Path]:
    """The input files, as far as they are known to be files."""
    candidates = [getattr(source, "path", source), getattr(model, "path", model)]
    return [Path(item) for item in candidates if isinstance(item, str | Path)]


def _opened(source: str | Path | Source, stack: ExitStack) -> Source:
    """A source given as a path is opened, and closed by `stack`; a Source stays the caller's to close."""
    return stack.enter_context(open_source(source)) if isinstance(source, str | Path) else source


def _chosen(bundle: Bundle, backend: Backend | str, threads: int | None) -> Chosen:
    if isinstance(backend, str):
        return choose_backend(bundle, backend, threads)
    if threads is not None:
        raise ValueError("threads belong to a backend given by name; this one is open already")
    return Chosen(backend, "given")


def _writers(
    overlay: str | Path | None,
    tracks: str | Path | None,
    source: Source,
    bundle: Bundle,
    masks: bool,
    clock: StageClock,
    ages: AgeMeter,
) -> Iterator[BackgroundSink[Tracks]]:
    """The outputs asked for, each in a thread of its own that tells `ages` when a frame is written."""

    def written(result: Tracks) -> None:
        ages.written(result.index, result.frame.decoded_at)

    if overlay is not None:
        from streamparts.sinks.overlay import OverlaySink  # loads OpenCV

        yield BackgroundSink(OverlaySink(overlay, source.rate, clock, written))
    if tracks is not None:
        from streamparts.sinks.jsonl import JsonlSink

        yield BackgroundSink(JsonlSink(tracks, bundle, source, masks, clock), written=written)


def _timed_map(clock: StageClock, stage: str, function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    for item in items:
        with clock.time(stage):
            result = function(item)
        yield result
