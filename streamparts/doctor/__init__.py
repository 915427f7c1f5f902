"""`streamparts doctor`: what this machine has, what of it works, and whether a run works.

Each topic that loads libraries or asks drivers is checked in its own process with a time limit: a hanging driver, or a
library that crashes the process, is a finding like any other.
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from streamparts.doctor.finding import Finding
from streamparts.doctor.isolated import Child, Here

AT_ONCE = 3
"""Number of topics checked in parallel; the self-test runs alone."""


@dataclass(frozen=True, slots=True)
class Topic:
    """Something to check."""

    title: str
    probe: str
    """"module:function" of a finding.Probe."""
    needed: bool = False
    """True if no run can work when the check itself fails."""
    seconds: float = 30.0
    """Time limit. Loading a library from a cold disk can take ten seconds."""
    alone: bool = False
    """True if it starts only after everything before it, because it measures time."""
    may_crash: bool = True
    """False if it only reads files: then it needs no process of its own."""


@dataclass(frozen=True, slots=True)
class Examined:
    """A topic and its findings."""

    title: str
    findings: tuple[Finding, ...]


_PROBES = "streamparts.doctor.probes"
TOPICS = (
    Topic("versions", "streamparts.doctor.packages:versions", needed=True),
    Topic("machine", "streamparts.doctor.machine:machine", may_crash=False),
    Topic("optional packages", "streamparts.doctor.packages:extras", may_crash=False),
    Topic("backends", f"{_PROBES}:backends"),
    Topic("GPU", f"{_PROBES}:gpu"),
    Topic("cameras", f"{_PROBES}:cameras"),
    Topic("hardware decoders", f"{_PROBES}:decoders"),
    Topic("overlay encoders", f"{_PROBES}:encoders"),
    Topic("engine cache", f"{_PROBES}:engine_cache", may_crash=False),
    Topic("live preview", f"{_PROBES}:preview"),
    Topic("self-test", "streamparts.doctor.self_test:self_test", needed=True, seconds=120.0, alone=True),
)


def examine(topics: Sequence[Topic] | None = None) -> Generator[Examined]:
    """Check each topic (None: TOPICS), and yield them in order when they are done. Errors in a check are never raised;
    closing the iterator ends running checks."""
    topics = TOPICS if topics is None else topics
    with tempfile.TemporaryDirectory(prefix="streamparts-doctor-", ignore_cleanup_errors=True) as folder:
        children = [
            Child(topic.probe, Path(folder) / str(number)) if topic.may_crash else Here(topic.probe)
            for number, topic in enumerate(topics)
        ]
        pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="doctor")
        try:
            pending = {
                topic: pool.submit(child.examine, topic.seconds)
                for topic, child in zip(topics, children, strict=True)
                if not topic.alone
            }
            for topic, child in zip(topics, children, strict=True):
                outcome = child.examine(topic.seconds) if topic.alone else pending[topic].result()
                yield _examined(topic, *outcome)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in children:
                child.kill()


def _examined(topic: Topic, findings: list[Finding], problem: str | None) -> Examined:
    if problem is not None:
        findings = [*findings, Finding("examination", problem, "failed" if topic.needed else "warning")]
    return Examined(topic.title, tuple(findings))
