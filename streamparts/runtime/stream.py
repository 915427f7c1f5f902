"""The loop: frames in, tracks out; and with files as output, for one source or several."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from streamparts.backends.choice import AUTO, Chosen, choose_backend
from streamparts.backends.loading import load_model
from streamparts.backends.shared import SharedBackend
from streamparts.bundle.load import Bundle
from streamparts.data import Backend, Tracks
from streamparts.errors import VideoError
from streamparts.files import check_outputs, claimed, input_paths
from streamparts.meter import StageClock
from streamparts.runtime.job import Job, Progress, Task, opened, run_jobs
from streamparts.runtime.options import Policy, Tracking
from streamparts.runtime.pipeline import Pipeline
from streamparts.runtime.stats import RunMeter, Stats, StatsFile, StatsLines
from streamparts.runtime.summary import Outcome, Summary
from streamparts.sinks.group import Member, SinkGroup
from streamparts.sinks.messages import parse_addresses
from streamparts.sinks.outputs import Outputs, RunContext, Show, check_followers, open_outputs
from streamparts.sinks.overlay.style import DEFAULT_STYLE, OverlayStyle
from streamparts.sources import Source, output_stems
from streamparts.tracking.roi import Following, Roi
from streamparts.tracking.skeleton import Skeleton
from streamparts.tracking.smoothing import Smoothing
from streamparts.tracksfile.resume import ResumePoint, resume_point

__all__ = ["Outcome", "Policy", "Progress", "Summary", "check_outputs", "run", "run_many", "track"]

A = TypeVar("A")


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
    bundle = model if isinstance(model, Bundle) else load_model(model)
    tracking = Tracking.of(
        bundle.spec,
        policy=policy,
        max_fps=max_fps,
        smoothing=smoothing,
        skeleton=skeleton,
        roi=roi,
        subjects=subjects,
    )
    return _tracks(*open_pipeline(source, bundle, chosen_backend(bundle, backend, threads).backend, tracking, clock))


def open_pipeline(
    source: str | Path | Source, bundle: Bundle, backend: Backend, tracking: Tracking, clock: StageClock | None
) -> tuple[Pipeline, ExitStack]:
    """Return the iterator of `track`, and what must be closed after it."""
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
                warnings.warn("the source did not stop in time; its thread is abandoned", RuntimeWarning, 2)


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
    outputs = Outputs(
        _path(overlay), _path(tracks), masks, style, encoder, audio, show, show_port, parse_addresses(send)
    )
    bundle = model if isinstance(model, Bundle) else load_model(model, trust_engine)
    tracking = Tracking.of(
        bundle.spec,
        policy=policy,
        max_fps=max_fps,
        first_index=first_index,
        smoothing=smoothing,
        skeleton=skeleton,
        roi=roi,
        subjects=subjects,
    )
    outputs = replace(outputs, following=_told(tracking.following, say))
    if resume and outputs.tracks == Path("-"):
        raise VideoError("--tracks -: standard output cannot be resumed; name a file")
    files, inputs = (*outputs.paths, *_stats_paths(stats)), input_paths(source, bundle, skeleton)
    check_outputs(files, inputs, force or resume)
    chosen = chosen_backend(bundle, backend, threads)
    with claimed(files):
        point = None
        if resume and outputs.tracks:
            point = resume_point(outputs.tracks, bundle, masks=masks, following=tracking.following)
        may_replace = force or point is not None
        check_outputs(files, inputs, may_replace)  # checked again: another run may have ended meanwhile
        if outputs.overlay is not None:
            check_followers(outputs.overlay, may_replace)
        task = Task(
            source,
            bundle,
            chosen.backend,
            partial(_open_outputs, outputs, bundle, say, point, force),
            replace(tracking, first_index=point.next_index) if point else tracking,
            progress,
            on_tracks,
            opener,
        )
        job = Job(task, stop=stop)
        with _stats_lines(stats, [job]):
            run_jobs([job])
        if job.error is not None:
            raise _with_notes(job.error, job.warnings)
        return _summary(job, stop, chosen, bundle)


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

    The outputs are `out_dir`/STEM.overlay.mp4 and STEM.tracks.jsonl, where STEM is the name of the file or stream, with
    a number if two are equal. `on_tracks` and `progress` get STEM as their first argument, and are called by the
    threads of all sources. The other arguments are those of `run`. An error of one source does not affect the others:
    see the Outcomes, in the order of `sources`. Raises VideoError or ModelError if nothing can start.
    """
    stems, folder = output_stems(sources), Path(out_dir)
    wanted = [Outputs(*_paths_after(folder / stem, overlay, tracks), masks, style, encoder, audio) for stem in stems]
    files = [path for outputs in wanted for path in outputs.paths]
    every, inputs = [*files, *_stats_paths(stats)], input_paths(*sources, model, skeleton)
    check_outputs(every, inputs, force)
    for outputs in wanted:
        if outputs.overlay is not None:
            check_followers(outputs.overlay, force)
    bundle = model if isinstance(model, Bundle) else load_model(model, trust_engine)
    tracking = Tracking.of(
        bundle.spec,
        policy=policy,
        max_fps=max_fps,
        smoothing=smoothing,
        skeleton=skeleton,
        roi=roi,
        subjects=subjects,
    )
    following = _told(tracking.following, say)
    wanted = [replace(outputs, following=following) for outputs in wanted]
    chosen = chosen_backend(bundle, backend, threads)
    with claimed(every), closing(SharedBackend(chosen.backend)) as shared:
        check_outputs(every, inputs, force)  # checked again: another run may have ended meanwhile
        jobs = [
            Job(
                Task(
                    source,
                    bundle,
                    shared,
                    partial(_open_outputs, outputs, bundle, say, None, force),
                    tracking,
                    _named(stem, progress),
                    _named(stem, on_tracks),
                    opener,
                ),
                stem,
                stop,
            )
            for source, stem, outputs in zip(sources, stems, wanted, strict=True)
        ]
        with _stats_lines(stats, jobs):
            run_jobs(jobs)
    return [
        Outcome(stem, _summary(job, stop, chosen, bundle), job.error) for stem, job in zip(stems, jobs, strict=True)
    ]


def _told(following: Following, say: Callable[[str], None] | None) -> Following:
    """Return the same; notes about it go to the user."""
    if following.note and say:
        say(following.note)
    return following


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)


def _open_outputs(
    outputs: Outputs,
    bundle: Bundle,
    say: Callable[[str], None] | None,
    resume: ResumePoint | None,
    replace: bool,
    source: Source,
    policy: Policy,
    job: Job,
) -> SinkGroup:
    """Open the outputs of a job, which is notified of each frame written and of failed outputs."""
    ages = job.meter.ages

    def failed(member: Member, error: Exception) -> None:
        ages.set_num_sinks(job.outputs.num_files)
        if say and job.outputs.num_files:
            say(f"{member.name} ends here, the other outputs continue: {error}")

    context = RunContext(
        source=source,
        bundle=bundle,
        clock=job.meter.clock,
        policy=policy,
        resume=resume,
        replace=replace,
        written=lambda tracks: ages.written(tracks.index, tracks.frame.decoded_at),
        say=say,
        on_closed=job.end,
    )
    return open_outputs(outputs, context, failed)


def _summary(job: Job, stop: threading.Event | None, chosen: Chosen, bundle: Bundle) -> Summary:
    clock, ages, meter = job.meter.clock, job.meter.ages, job.meter
    return Summary(
        num_frames=job.num_frames,
        seconds=meter.seconds,
        age_p50_ms=ages.quantile_ms(0.5),
        age_p95_ms=ages.quantile_ms(0.95),
        age_p99_ms=ages.quantile_ms(0.99),
        fps_in=clock.stage("decode").count / meter.seconds,
        stage_ms=clock.mean_ms(),
        stage_p95_ms=clock.p95_ms(),
        num_dropped=meter.dropped,
        num_skipped=meter.skipped,
        num_gaps=meter.gaps,
        num_segments=meter.segments,
        num_callback_lost=meter.callback_lost,
        num_messages_lost=meter.messages_lost,
        decode_errors=meter.decode_errors,
        packets_lost=meter.packets_lost,
        num_damaged=meter.damaged + meter.damaged_left_out,
        repaired_times=meter.repaired_times,
        outputs=job.outputs.paths,
        notes=job.outputs.notes,
        subject_share=job.subject_share,
        model=bundle.spec.name,
        interrupted=job.was_ended or bool(stop and stop.is_set()),
        backend=chosen.backend.name,
        why_backend=chosen.why,
        warnings=tuple(job.warnings),
    )


@contextmanager
def _stats_lines(stats: str | Path | Callable[[Stats], None] | None, jobs: Sequence[Job]) -> Iterator[None]:
    """Write a line of each job every second during the block."""
    if stats is None:
        yield
        return
    take = _stats_file(stats) if isinstance(stats, str | Path) else stats
    lines = StatsLines([job.meter for job in jobs], take)
    try:
        yield
    finally:
        problem = lines.close()
        if problem:
            jobs[0].warnings.append(problem)
        if isinstance(take, StatsFile):
            take.close()


def _stats_file(path: str | Path) -> StatsFile:
    try:
        return StatsFile(path)
    except OSError as error:
        raise VideoError(f"{path}: cannot be written ({error.strerror})") from error


def _stats_paths(stats: object) -> list[Path]:
    return [Path(stats)] if isinstance(stats, str | Path) and str(stats) != "-" else []


def _with_notes(error: BaseException, notes: Sequence[str]) -> BaseException:
    for note in notes:
        error.add_note(note)
    return error


def _named(stem: str, function: Callable[[str, A], None] | None) -> Callable[[A], None] | None:
    return None if function is None else partial(function, stem)


def _paths_after(stem: Path, overlay: bool, tracks: bool) -> tuple[Path | None, Path | None]:
    return (
        stem.with_name(f"{stem.name}.overlay.mp4") if overlay else None,
        stem.with_name(f"{stem.name}.tracks.jsonl") if tracks else None,
    )


def chosen_backend(bundle: Bundle, backend: Backend | str, threads: int | None) -> Chosen:
    if isinstance(backend, str):
        return choose_backend(bundle, backend, threads)
    if threads is not None:
        raise ValueError("threads apply to a backend given by name; this one is already open")
    return Chosen(backend, "given")
