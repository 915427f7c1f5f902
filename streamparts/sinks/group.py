"""Several sinks as one, each of which may fail independently."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from streamparts.data import Tracks
from streamparts.errors import VideoError
from streamparts.sinks import Sink
from streamparts.threads import DaemonThread


@dataclass(frozen=True, slots=True)
class SinkReport:
    """Report of a sink."""

    paths: tuple[Path, ...] = ()
    """Files written, in order."""
    notes: tuple[str, ...] = ()
    """Remarks for the user."""


@dataclass(frozen=True, slots=True)
class Member:
    """One sink of a group."""

    name: str
    """Name for messages: its file, or a description."""
    sink: Sink[Tracks]
    report: Callable[[], SinkReport] = SinkReport
    """Called at any time."""
    is_file: bool = True
    """True if it writes files."""
    num_lost: Callable[[], int] = lambda: 0
    """Number of frames it skipped to avoid delays. Called at any time."""


class SinkGroup:
    """Passes every frame to all its sinks. A sink that fails is skipped from then on, and the others continue.

    Use it in a `with` block, or close it. Errors are raised when the last sink has failed, or else at the end. If there
    were files, the last file counts: a preview alone is not worth a run.
    """

    def __init__(self, members: Iterable[Member], failed: Callable[[Member, Exception], None] | None = None) -> None:
        """`failed` is notified at once of a failed sink, in the thread that writes."""
        self.members = tuple(members)
        self._alive = list(self.members)
        self._failed = failed
        self._failures: list[tuple[Member, Exception]] = []
        self._told = False
        self._closers: list[tuple[Member, DaemonThread]] = []
        self._had_files = any(member.is_file for member in self.members)

    @property
    def failures(self) -> tuple[tuple[Member, Exception], ...]:
        """The sinks that failed so far, in order."""
        return tuple(self._failures)

    @property
    def unfinished(self) -> tuple[Member, ...]:
        """The sinks that `close` is waiting for."""
        return tuple(member for member, closer in self._closers if closer.is_alive())

    @property
    def num_files(self) -> int:
        """Sinks that write files and have not failed."""
        return sum(member.is_file for member in self._alive)

    @property
    def num_lost(self) -> int:
        """Frames skipped by sinks, counted once per sink."""
        return sum(member.num_lost() for member in self.members)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Files written by all sinks, including failed ones."""
        return tuple(path for member in self.members for path in member.report().paths)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(note for member in self.members for note in member.report().notes)

    def write(self, tracks: Tracks) -> None:
        """Write one frame to every working sink. Raises the error once none works."""
        for member in tuple(self._alive):
            try:
                member.sink.write(tracks)
            except Exception as error:
                self._leave_out(member, error)
        if self._failures and not (self.num_files or (self._alive and not self._had_files)):
            self._raise()

    def close(self) -> None:
        """Finish all outputs in parallel, then raise the errors since the start, unless `write` has raised them.

        Safe to call again."""
        self._closers = [
            (member, DaemonThread("sink-closer", member.sink.close, keeps_error=True)) for member in self._alive
        ]
        for member, closer in self._closers:
            closer.ends()
            if isinstance(closer.error, Exception):
                self._note_failure(member, closer.error)
        self._alive.clear()
        if self._failures and not self._told:
            self._raise()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes; an exception that ends the block is kept, with a note for each failed sink."""
        if error is None:
            self.close()
            return
        told_before = self._told
        self._told = True
        self.close()
        if not told_before:
            for _, failure in self._failures:
                error.add_note(f"and: {failure}")

    def _leave_out(self, member: Member, error: Exception) -> None:
        with suppress(Exception):
            member.sink.close()
        self._note_failure(member, error)

    def _note_failure(self, member: Member, error: Exception) -> None:
        self._alive.remove(member)
        self._failures.append((member, error))
        if self._failed:
            self._failed(member, error)

    def _raise(self) -> None:
        self._told = True
        errors = [error for _, error in self._failures]
        if len(errors) == 1:
            raise errors[0]
        raise VideoError(f"{len(errors)} outputs failed: " + "; ".join(map(str, errors))) from errors[0]
