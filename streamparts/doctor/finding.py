"""A finding: one line of a topic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

State = Literal["ok", "absent", "warning", "failed"]
"""It works; it is not available, which affects only users who need it; it deserves attention; no run can work like
this."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One item that was checked."""

    name: str
    text: str = ""
    """The result, or why it is not available, in one line. Empty if the state is sufficient."""
    state: State = "ok"
    data: dict[str, float | int | str] = field(default_factory=dict)
    """Values for programs."""


Probe = Callable[[], Iterator[Finding]]
"""Checks one topic and yields findings as it goes, so that those before a hang or a crash are kept."""


def absent(name: str, reason: str) -> Finding:
    return Finding(name, reason, "absent")
