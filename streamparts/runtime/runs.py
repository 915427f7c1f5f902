"""Runs with outputs, of one source or several at once, from options as values."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

from streamparts.backends.parallel import ParallelRuns, can_run_in_parallel
from streamparts.backends.shared import share
from streamparts.bundle.load import Bundle
from streamparts.errors import VideoError
from streamparts.files import check_outputs, claimed, input_paths
from streamparts.runtime.job import Job, JobOptions
from streamparts.runtime.jobs import run_jobs
from streamparts.runtime.options import NO_HOOKS, Hooks, Network, Tracking
from streamparts.runtime.report import run_summary, stats_lines, stats_paths
from streamparts.runtime.summary import Outcome, Summary
from streamparts.sinks.outputs import Outputs, check_followers
from streamparts.sources import Source, output_stems
from streamparts.tracksfile.resume import resume_point

_PATIENCE_SECONDS = 0.2
"""Time for the network's threads to end after the last job has."""


def run_one(
    source: str | Path | Source, network: Network, outputs: Outputs, tracking: Tracking, hooks: Hooks = NO_HOOKS
) -> Summary:
    """Track one source; errors as for streamparts.run."""
    bundle = network.load()
    files, inputs = [*outputs.paths, *stats_paths(hooks.stats)], input_paths(source, bundle, tracking.skeleton)
    tracking, (outputs,) = _fitted(bundle, tracking, [outputs], hooks)
    if outputs.resume and outputs.tracks == Path("-"):
        raise VideoError("--tracks -: standard output cannot be resumed; name a file")
    check_outputs(files, inputs, outputs.force or outputs.resume)
    chosen = network.open(bundle)
    with claimed(files):
        point = None
        if outputs.resume and outputs.tracks:
            point = resume_point(outputs.tracks, bundle, masks=outputs.masks, following=outputs.following)
            if point is not None:
                tracking = replace(tracking, first_index=point.next_index)
        may_replace = outputs.force or point is not None
        check_outputs(files, inputs, may_replace)  # checked again: another run may have ended meanwhile
        if outputs.overlay is not None:
            check_followers(outputs.overlay, may_replace)
        job = Job(JobOptions(source, bundle, chosen.backend, outputs, tracking, hooks, point))
        with stats_lines(hooks.stats, [job]):
            run_jobs([job])
        if job.error is not None:
            for note in job.warnings:
                job.error.add_note(note)
            raise job.error
        return run_summary(job, chosen)


def run_each(
    sources: Sequence[str | Path | Source],
    network: Network,
    outputs: Outputs,
    folder: Path,
    tracking: Tracking,
    hooks: Hooks = NO_HOOKS,
) -> list[Outcome]:
    """Track several sources in parallel; errors as for streamparts.run_many. Each gets files in `folder` that have its
    name before those in `outputs`."""
    stems = output_stems(sources)
    each = [outputs.named(folder, stem) for stem in stems]
    files = [*(path for one in each for path in one.paths), *stats_paths(hooks.stats)]
    inputs = input_paths(*sources, network.model, tracking.skeleton)
    check_outputs(files, inputs, outputs.force)
    for one in each:
        if one.overlay is not None:
            check_followers(one.overlay, outputs.force)
    bundle = network.load()
    tracking, each = _fitted(bundle, tracking, each, hooks)
    chosen = network.open(bundle)
    with claimed(files), ExitStack() as stack:
        backend = chosen.backend
        if can_run_in_parallel(backend):
            backend = runs = ParallelRuns(backend, bundle.spec.input_hw)
            stack.callback(runs.close, _PATIENCE_SECONDS)
        shared = stack.enter_context(closing(share(backend)))
        check_outputs(files, inputs, outputs.force)  # checked again: another run may have ended meanwhile
        jobs = [
            Job(JobOptions(source, bundle, shared, one, tracking, hooks), stem)
            for source, stem, one in zip(sources, stems, each, strict=True)
        ]
        with stats_lines(hooks.stats, jobs):
            run_jobs(jobs)
    return [Outcome(stem, run_summary(job, chosen), job.error) for stem, job in zip(stems, jobs, strict=True)]


def _fitted(
    bundle: Bundle, tracking: Tracking, outputs: Sequence[Outputs], hooks: Hooks
) -> tuple[Tracking, list[Outputs]]:
    """Return the options for one model. Notes about it go to the user."""
    following = tracking.following(bundle.spec)
    tracking = tracking.fitted(bundle.spec)
    if following.note and hooks.say:
        hooks.say(following.note)
    return tracking, [replace(one, following=following) for one in outputs]
