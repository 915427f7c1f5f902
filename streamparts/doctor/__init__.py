"""`streamparts doctor`: what is on this machine, what of it works, and whether a run does.

Every topic is examined in a process of its own with a time limit: a driver that hangs and a library that takes the
process down with it are findings like others.
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from streamparts.doctor.finding import Finding
from streamparts.doctor.isolated import Child

AT_ONCE = 3
"""Topics examined at the same time, the self-test alone."""


@dataclass(frozen=True, slots=True)
class Topic:
    """Something to examine."""

    title: str
    probe: str
    """"module:function" of a finding.Probe."""
    needed: bool = False
    """Whether no run can work where the examination itself fails."""
    seconds: float = 30.0
    """How long it may take. A cold disk alone can take ten to load a library."""
    alone: bool = False
    """Whether it starts only when everything before it has ended, because it measures."""


@dataclass(frozen=True, slots=True)
class Examined:
    """A topic and what was found."""

    title: str
    findings: tuple[Finding, ...]


_PROBES = "streamparts.doctor.probes"
TOPICS = (
    Topic("versions", "streamparts.doctor.packages:versions", needed=True),
    Topic("machine", "streamparts.doctor.machine:machine"),
    Topic("optional packages", "streamparts.doctor.packages:extras"),
    Topic("backends", f"{_PROBES}:backends"),
    Topic("GPU", f"{_PROBES}:gpu"),
    Topic("cameras", f"{_PROBES}:cameras"),
    Topic("hardware decoders", f"{_PROBES}:decoders"),
    Topic("overlay encoders", f"{_PROBES}:encoders"),
    Topic("engine cache", f"{_PROBES}:engine_cache"),
    Topic("live preview", f"{_PROBES}:preview"),
    Topic("self-test", "streamparts.doctor.self_test:self_test", needed=True, seconds=120.0, alone=True),
)


def examine(topics: Sequence[Topic] | None = None) -> Generator[Examined]:
    """Examine each topic (None: TOPICS), and give them in order as they are done. Raises nothing that an examination
    does; closing it ends what still goes on."""
    topics = TOPICS if topics is None else topics
    with tempfile.TemporaryDirectory(prefix="streamparts-doctor-", ignore_cleanup_errors=True) as folder:
        children = [Child(topic.probe, Path(folder) / str(number)) for number, topic in enumerate(topics)]
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
