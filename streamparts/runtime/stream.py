"""The loop: frames in, tracks out; and with files as output, for one source or several."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from streamparts.backends.choice import AUTO
from streamparts.backends.loading import load_model
from streamparts.backends.shared import SharedBackend
from streamparts.bundle.load import Bundle
from streamparts.data import Backend, Tracks
from streamparts.errors import VideoError
from streamparts.files import check_outputs, claimed, input_paths
from streamparts.runtime.job import Job, Task, run_jobs
from streamparts.runtime.loop import chosen_backend
from streamparts.runtime.options import Policy, Tracking
from streamparts.runtime.report import run_summary, stats_lines, stats_paths
from streamparts.runtime.stats import Progress, Stats
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
    outputs = Outputs(
        overlay=_path(overlay),
        tracks=_path(tracks),
        masks=masks,
        style=style,
        encoder=encoder,
        audio=audio,
        show=show,
        show_port=show_port,
        send=parse_addresses(send),
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
    files, inputs = (*outputs.paths, *stats_paths(stats)), input_paths(source, bundle, skeleton)
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
            progress=progress,
            on_tracks=on_tracks,
            opener=opener,
        )
        job = Job(task, stop=stop)
        with stats_lines(stats, [job]):
            run_jobs([job])
        if job.error is not None:
            raise _with_notes(job.error, job.warnings)
        return run_summary(job, stop, chosen, bundle)


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
    wanted = [
        Outputs(
            overlay=folder / f"{stem}.overlay.mp4" if overlay else None,
            tracks=folder / f"{stem}.tracks.jsonl" if tracks else None,
            masks=masks,
            style=style,
            encoder=encoder,
            audio=audio,
        )
        for stem in stems
    ]
    files = [path for outputs in wanted for path in outputs.paths]
    every, inputs = [*files, *stats_paths(stats)], input_paths(*sources, model, skeleton)
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
                    progress=_named(stem, progress),
                    on_tracks=_named(stem, on_tracks),
                    opener=opener,
                ),
                stem,
                stop,
            )
            for source, stem, outputs in zip(sources, stems, wanted, strict=True)
        ]
        with stats_lines(stats, jobs):
            run_jobs(jobs)
    return [
        Outcome(stem, run_summary(job, stop, chosen, bundle), job.error) for stem, job in zip(stems, jobs, strict=True)
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


def _with_notes(error: BaseException, notes: Sequence[str]) -> BaseException:
    for note in notes:
        error.add_note(note)
    return error


def _named(stem: str, function: Callable[[str, A], None] | None) -> Callable[[A], None] | None:
    return None if function is None else partial(function, stem)
