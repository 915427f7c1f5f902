"""Runs jobs side by side, until each is done."""

from __future__ import annotations

from collections.abc import Sequence

from streamparts.runtime.job import Job


def run_jobs(jobs: Sequence[Job]) -> None:
    """Start the jobs and wait until each is done or abandoned. An exception in the waiting thread, such as Ctrl-C, ends
    all of them within GRACE_SECONDS."""
    for job in jobs:
        job.start()
    try:
        _wait_for(jobs)
    except BaseException:
        for job in jobs:
            job.end()
        _wait_for(jobs)
        raise


def _wait_for(jobs: Sequence[Job]) -> None:
    for job in jobs:
        while not job.done.wait(0.05):  # never long at a time: some systems deliver signals only between waits
            for other in jobs:
                other.watch()
