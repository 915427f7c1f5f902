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
from streamparts.bundle import Bundle, load_model
from streamparts.channel import prefetch
from streamparts.data import Tracks
from streamparts.errors import VideoError
from streamparts.meter import AgeMeter, StageClock
from streamparts.segment import PartSegmenter
from streamparts.sinks.group import Member
from streamparts.sinks.outputs import Outputs, Show, check_followers, open_outputs
from streamparts.sinks.resume import resume_point
from streamparts.sinks.style import DEFAULT_STYLE, OverlayStyle
from streamparts.source import Source, open_source
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
    """Whether `stop`, or closing the preview, ended the run."""
    notes: tuple[str, ...] = ()
    """What is to be known of the outputs, in sentences."""

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
    backend: Backend | None = None,
    clock: StageClock | None = None,
    first_index: int = 0,
) -> Generator[Tracks]:
    """Tracks of every frame of a video, in order. Frames before `first_index` are read and left out.

    `model` None is the default model, `backend` None is ONNX Runtime on the CPU. A source given as a path is opened
    here and closed at the end; a Source stays the caller's. Raises VideoError or ModelError: what is wrong from the
    start at once, a failure on the way at its frame, after the tracks before it.
    """
    bundle = model if isinstance(model, Bundle) else load_model(model)
    backend = backend or _default_backend(bundle)
    stack = ExitStack()
    frames = _opened(source, stack)
    return _tracks(frames, bundle, backend, clock or StageClock(), stack, first_index)


def _tracks(
    frames: Source, bundle: Bundle, backend: Backend, clock: StageClock, stack: ExitStack, first_index: int
) -> Generator[Tracks]:
    segmenter = PartSegmenter(bundle, backend)
    tracker = PartTracker(bundle.spec.parts, undirected=bundle.spec.method == "scops")
    decoded = (frame for frame in clock.time_each("decode", frames) if frame.index >= first_index)
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
    style: OverlayStyle = DEFAULT_STYLE,
    encoder: str = "auto",
    audio: bool = True,
    resume: bool = False,
    show: Show | None = None,
    show_port: int = 0,
    say: Callable[[str], None] | None = None,
    backend: Backend | None = None,
    stop: threading.Event | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Track a video and write what is asked for: an overlay video, and tracks as JSON lines.

    `masks` adds each part's mask to the tracks; `force` allows outputs to be replaced. `style`, `encoder`, `audio`,
    `show` and `show_port` are those of streamparts.sinks.outputs.Outputs. `resume` goes on after the last frame in
    `tracks`, where that file is there. `say` gets lines for the user while the run goes on. Setting `stop`, from
    another thread or a signal handler, ends the run after the frame at hand with all outputs complete. `progress` is
    called after each frame. Raises VideoError, ModelError or TracksError. An error of the source or the network ends
    the run, an error of one output ends that output alone and is raised at the end; what was written before stays
    readable.
    """
    outputs = Outputs(
        overlay=None if overlay is None else Path(overlay),
        tracks=None if tracks is None else Path(tracks),
        masks=masks,
        style=style,
        encoder=encoder,
        audio=audio,
        show=show,
        show_port=show_port,
    )
    bundle = model if isinstance(model, Bundle) else load_model(model)
    point = resume_point(outputs.tracks, bundle, masks=masks) if resume and outputs.tracks else None
    check_outputs(outputs.paths, _paths_of(source, bundle), force or point is not None)
    if outputs.overlay is not None:
        check_followers(outputs.overlay, force or point is not None)
    clock, num_frames, first = StageClock(), 0, point.next_index if point else 0
    with ExitStack() as stack:
        frames = _opened(source, stack)
        results = stack.enter_context(closing(track(frames, bundle, backend=backend, clock=clock, first_index=first)))
        ages, closed = AgeMeter(num_sinks=len(outputs.paths)), threading.Event()

        def written(result: Tracks) -> None:
            ages.written(result.index, result.frame.decoded_at)

        def failed(member: Member, error: Exception) -> None:
            ages.set_num_sinks(sinks.num_files)
            if say and sinks.num_files:
                say(f"{member.name} ends here, the rest goes on: {error}")

        started = time.perf_counter()
        sinks = stack.enter_context(
            open_outputs(
                outputs,
                frames,
                bundle,
                clock=clock,
                written=written,
                failed=failed,
                say=say,
                on_closed=closed.set,
                resume=point,
                replace=force,
            )
        )
        for result in results:
            sinks.write(result)
            num_frames += 1
            if progress:
                progress(Progress(num_frames, frames.num_frames, ages.quantile_ms(0.5)))
            if closed.is_set() or (stop and stop.is_set()):
                break
    return Summary(
        num_frames=num_frames,
        seconds=time.perf_counter() - started,
        age_p50_ms=ages.quantile_ms(0.5),
        age_p95_ms=ages.quantile_ms(0.95),
        stage_ms=clock.mean_ms(),
        decode_errors=frames.decode_errors,
        repaired_times=frames.repaired_times,
        outputs=sinks.paths,
        interrupted=closed.is_set() or bool(stop and stop.is_set()),
        notes=sinks.notes,
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


def _default_backend(bundle: Bundle) -> Backend:
    from streamparts.backends.onnx_runtime import OnnxRuntimeBackend

    return OnnxRuntimeBackend(bundle)


def _timed_map(clock: StageClock, stage: str, function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    for item in items:
        with clock.time(stage):
            result = function(item)
        yield result
