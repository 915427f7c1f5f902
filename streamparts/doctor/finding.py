"""What an examination finds: one line of a topic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

State = Literal["ok", "absent", "warning", "failed"]
"""It is there and works; it is not there, which harms nobody who does not want it; it is worth a look; no run can work
like this."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    text: str = ""
    """What was found, or why it is not there, in one line. May be empty where the state says all."""
    state: State = "ok"
    data: dict[str, float | int | str] = field(default_factory=dict)
    """Figures, for programs."""


Probe = Callable[[], Iterator[Finding]]
"""Looks at one topic, and says what it has found as it goes: what comes before a hang or a crash is kept."""


def absent(name: str, reason: str) -> Finding:
    return Finding(name, reason, "absent")
