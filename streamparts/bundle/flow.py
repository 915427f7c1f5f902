"""Which tensors of a graph depend on the values of its inputs."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Protocol

SHAPE = b"Shape"
"""The operator whose output depends only on the size of its input."""


class Step(Protocol):
    """One node of a graph, as far as it matters here."""

    @property
    def operator(self) -> bytes: ...

    @property
    def inputs(self) -> list[bytes]: ...

    @property
    def outputs(self) -> list[bytes]: ...


def depending(steps: Sequence[Step], inputs: Iterable[bytes]) -> set[bytes]:
    """Names of the tensors whose values may change with those of `inputs`, in steps of any order."""
    users = defaultdict[bytes, list[Step]](list)
    for step in steps:
        for name in step.inputs if step.operator != SHAPE else ():
            users[name].append(step)
    found = {name for name in inputs if name}
    waiting = deque(found)
    while waiting:
        for step in users.pop(waiting.popleft(), ()):
            new = {name for name in step.outputs if name and name not in found}
            found |= new
            waiting.extend(new)
    return found
