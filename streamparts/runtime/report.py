"""Reports of a run: statistics every second, and a summary at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from streamparts.backends.choice import Chosen
from streamparts.errors import VideoError
from streamparts.runtime.job import Job
from streamparts.runtime.stats import Stats, StatsFile, StatsLines
from streamparts.runtime.summary import Summary


def run_summary(job: Job, chosen: Chosen) -> Summary:
    clock, ages, meter, stop = job.meter.clock, job.meter.ages, job.meter, job.options.hooks.stop
    return Summary(
        num_frames=job.num_frames,
        seconds=meter.seconds,
        age_p50_ms=ages.quantile_ms(0.5),
        age_p95_ms=ages.quantile_ms(0.95),
        age_p99_ms=ages.quantile_ms(0.99),
        fps_in=clock.stage("decode").count / meter.seconds,
        stage_ms=clock.mean_ms(),
        stage_p95_ms=clock.p95_ms(),
        counts=meter.totals(),
        outputs=job.outputs.paths,
        notes=job.outputs.notes,
        subject_share=job.subject_share,
        model=job.options.bundle.spec.name,
        interrupted=job.was_ended or bool(stop and stop.is_set()),
        backend=chosen.backend.name,
        why_backend=chosen.why,
        warnings=tuple(job.warnings),
    )


@contextmanager
def stats_lines(stats: str | Path | Callable[[Stats], None] | None, jobs: Sequence[Job]) -> Iterator[None]:
    """Write a line of each job every second during the block."""
    if stats is None:
        yield
        return
    take = stats_file(stats) if isinstance(stats, str | Path) else stats
    lines = StatsLines([job.meter for job in jobs], take)
    try:
        yield
    finally:
        problem = lines.close()
        if problem:
            jobs[0].warnings.append(problem)
        if isinstance(take, StatsFile):
            take.close()


def stats_file(path: str | Path) -> StatsFile:
    try:
        return StatsFile(path)
    except OSError as error:
        raise VideoError(f"{path}: cannot be written ({error.strerror})") from error


def stats_paths(stats: object) -> list[Path]:
    return [Path(stats)] if isinstance(stats, str | Path) and str(stats) != "-" else []
