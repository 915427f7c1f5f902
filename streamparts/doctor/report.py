"""Formats the findings for people and for programs."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from streamparts.doctor import Examined
from streamparts.doctor.finding import Finding

_WORDS = {"ok": "", "absent": "no: ", "warning": "WARNING: ", "failed": "FAILED: "}


def block(examined: Examined, width: int = 100) -> str:
    """A topic with its findings below it, one per line, wrapped at `width`."""
    names = max((len(finding.name) for finding in examined.findings), default=0)
    lines = [examined.title]
    for finding in examined.findings:
        indent = f"  {finding.name:<{names}}  "
        text = _WORDS[finding.state] + (finding.text or "yes")
        lines += textwrap.wrap(
            text,
            max(width, len(indent) + 40),
            initial_indent=indent,
            subsequent_indent=" " * len(indent),
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join(lines)


def verdict(every: Iterable[Examined]) -> str:
    """One line: OK, or the failures."""
    every = list(every)
    failed, warned = _in_state(every, "failed"), _in_state(every, "warning")
    hint = f" ({len(warned)} warnings above)" if len(warned) > 1 else " (1 warning above)" if warned else ""
    if not failed:
        return f"OK: runs work on this machine{hint}"
    return "FAILED: " + "; ".join(f"{title}, {finding.name}: {finding.text}" for title, finding in failed)


def is_well(every: Iterable[Examined]) -> bool:
    """True if nothing has failed."""
    return not _in_state(every, "failed")


def to_json(every: Sequence[Examined]) -> str:
    """{"ok": ..., "verdict": ..., "topics": {title: [{"name", "text", "state", "data"}]}}"""
    topics = {examined.title: [asdict(finding) for finding in examined.findings] for examined in every}
    return json.dumps({"ok": is_well(every), "verdict": verdict(every), "topics": topics}, indent=2)


def _in_state(every: Iterable[Examined], state: str) -> list[tuple[str, Finding]]:
    return [(examined.title, finding) for examined in every for finding in examined.findings if finding.state == state]
