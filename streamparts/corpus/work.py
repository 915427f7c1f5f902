"""Processes one video of a corpus such that repeating it changes nothing, and incomplete work is never taken for
complete.

An attempt writes into its own folder. When it is complete, it records the targets of its files (`Finished`), moves the
files into place, the driver writes the manifest's line, and then the folder is removed. After a kill at any point, the
next attempt finds out which steps were done, and does the rest.
"""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from streamparts import __version__
from streamparts.backends.choice import choose_backend
from streamparts.corpus.attempts import Finished, finish, finished_name, outputs_in, take_over, work_folder
from streamparts.corpus.options import Settings, Task
from streamparts.corpus.places import Folder, LocalFolder, Version, has_token, sha256_of, version_of
from streamparts.corpus.records import CorpusResult, OutputFile
from streamparts.errors import StreampartsError, TracksError, VideoError
from streamparts.machine import share_machine
from streamparts.runtime.options import Hooks, Network
from streamparts.runtime.runs import run_one
from streamparts.sinks.overlay.encoders import choose_encoder
from streamparts.sources.reading import open_reading
from streamparts.sources.redact import redact
from streamparts.texts import readable
from streamparts.tracksfile.resume import resume_point

if TYPE_CHECKING:
    from streamparts.runtime.summary import Summary

_IN_VAIN = (VideoError, ValueError, ImportError)
"""Errors that every attempt would repeat: corrupt files, full disks, missing packages."""

_FRAME_LINE = b'{"type":"frame"'

FrameCount = Callable[[int], None]
"""Receives the number of frames done in the current video."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A worker's answer to a task."""

    task: Task
    result: CorpusResult
    may_retry: bool = False
    """For a failed task: True if another attempt may succeed."""


class Worker:
    """A model and a backend, loaded once, for one video after another."""

    def __init__(self, settings: Settings) -> None:
        """Raises StreampartsError if this process cannot work: another version, no backend, another disk."""
        if settings.version != __version__:
            raise StreampartsError(
                f"{platform.node()}: has streamparts {__version__}, but the run was started by {settings.version}; "
                "install the same version on all machines"
            )
        self._settings, self._bundle = settings, settings.bundle
        self.folder = open_folder(settings.out_dir)
        if not has_token(self.folder, settings.token):
            raise VideoError(
                f"{redact(settings.out_dir)}: on {platform.node()} this is not the folder of the run; give one on a "
                "disk that all machines share, or an address such as s3://..."
            )
        if settings.threads is not None:
            share_machine(settings.threads)
        if settings.options.outputs.overlay:
            choose_encoder(settings.options.outputs.encoder)
        self.chosen = choose_backend(self._bundle, settings.backend, settings.threads)

    def do(self, task: Task, stop: threading.Event | None = None, count: FrameCount | None = None) -> Answer:
        """Process one video. Any failure is in the answer; setting `stop` ends it after the current frame."""
        job = _Job(self, task, self._settings, stop or threading.Event(), count)
        began = _now()
        try:
            result = job.result()
            may_retry = False
        except Exception as error:
            result = job.blank("failed", error=_line(error))
            may_retry = not isinstance(error, _IN_VAIN)
        result = msgspec.structs.replace(
            result, began=began, ended=_now(), attempts=task.attempt, host=platform.node(), backend=job.backend
        )
        return Answer(task, result, may_retry)


class _Job:
    """One attempt at one video."""

    def __init__(
        self, worker: Worker, task: Task, settings: Settings, stop: threading.Event, count: FrameCount | None
    ) -> None:
        self._worker, self._task, self._settings = worker, task, settings
        self._folder, self._stop, self._count = worker.folder, stop, count
        self._content: str | None = None
        self._version: Version | None = None
        self.backend: str | None = None

    def result(self) -> CorpusResult:
        """Return the result, or raise the failure."""
        if is_address(self._task.source):
            from streamparts.corpus.remote import fetched

            with fetched(self._task.source) as (path, version):
                return self._result(path, version)
        path = Path(self._task.source)
        return self._result(path, version_of(path))

    def blank(self, status: str, **values: object) -> CorpusResult:
        """An incomplete result of this video."""
        bundle, version = self._settings.bundle, self._version
        return CorpusResult(
            status=status,  # type: ignore[arg-type]
            name=self._task.name,
            source=redact(self._task.source),
            content_sha256=self._content,
            source_bytes=version.size if version else None,
            source_version=version.mark if version else None,
            model=bundle.spec.name,
            model_sha256=bundle.sha256,
            options_sha256=self._settings.options.sha256,
            streamparts=__version__,
            **values,  # type: ignore[arg-type]
        )

    def _result(self, path: Path, version: Version) -> CorpusResult:
        self._version = version
        if self._stop.is_set():
            return self.blank("interrupted")
        self._content = sha256_of(path)
        if self._content == self._task.known:
            return self.blank("skipped")
        self._require_own_name(self._content)
        identity = _identity(readable(path.name), self._content, self._settings)
        if (before := finish(self._folder, self._task.name, identity)) is not None:
            return before
        self.backend = self._worker.chosen.backend.name
        if not isinstance(self._folder, LocalFolder):
            with TemporaryDirectory(prefix="streamparts-") as temporary:
                return self._attempt(path, identity, Path(temporary))
        work = self._folder.path / work_folder(self._task.name)
        scratch = work / f"{self._task.attempt}-{secrets.token_hex(4)}"
        scratch.mkdir(parents=True)
        (scratch / "identity").write_text(identity, encoding="utf-8")
        take_over(work, scratch, identity, self._settings.options)
        return self._attempt(path, identity, scratch)

    def _require_own_name(self, content: str) -> None:
        if self._task.owner is not None and content != self._task.owner[0]:
            raise VideoError(
                f"{redact(self._task.source)}: {self._task.name} in the output folder belongs to another video, "
                f"{self._task.owner[1]}; give another --out-dir, or --force to replace it"
            )

    def _attempt(self, path: Path, identity: str, scratch: Path) -> CorpusResult:
        resumed_at, frames_before = self._taken_over(scratch / "tracks.jsonl")
        summary = self._run(path, scratch)
        if summary.interrupted:
            return self.blank("interrupted", frames=summary.num_frames)
        if not is_address(self._task.source) and version_of(path) != self._version:
            raise VideoError(f"{path}: was changed while it was read; run again when it is complete")
        files = outputs_in(scratch, self._task.name)
        result = self.blank(
            "done",
            outputs=tuple(OutputFile(name, file.stat().st_size) for file, name in files),
            frames=frames_before + summary.num_frames,
            seconds=round(summary.seconds, 3),
            fps=round(summary.fps, 1),
            resumed_at=resumed_at,
            notes=_notes(summary, scratch),
        )
        attempt = scratch.name if isinstance(self._folder, LocalFolder) else ""
        record = msgspec.json.encode(Finished(identity, attempt, result))
        self._folder.write(finished_name(self._task.name), record)
        for file, name in files:
            self._folder.put(file, name)
        return result

    def _taken_over(self, tracks: Path) -> tuple[int | None, int]:
        """Return the first frame that is not in the tracks of an earlier attempt, and the number that is; (None, 0)
        without any. Files that cannot be continued are removed."""
        options, bundle = self._settings.options, self._settings.bundle
        try:
            following = options.tracking.following(bundle.spec)
            point = resume_point(tracks, bundle, masks=options.outputs.masks, following=following)
        except TracksError:
            tracks.unlink()
            return None, 0
        if point is None or point.pts is None:
            return None, 0
        os.truncate(tracks, point.size_bytes)
        with tracks.open("rb") as file:
            num_frames = sum(line.startswith(_FRAME_LINE) for line in file)
        return point.next_index, num_frames

    def _run(self, path: Path, scratch: Path) -> Summary:
        options, count = self._settings.options, self._count
        outputs = options.outputs.named(scratch)
        return run_one(
            path,
            Network(self._settings.bundle, self._worker.chosen.backend),
            replace(outputs, force=True, resume=outputs.tracks is not None and outputs.overlay is None),
            options.tracking,
            Hooks(
                opener=partial(open_reading, reading=options.reading),
                stop=self._stop,
                progress=None if count is None else lambda _, now: count(now.num_frames),
            ),
        )


def open_folder(place: str) -> Folder:
    """Open the output folder on this machine, or its address in a store."""
    if is_address(place):
        from streamparts.corpus.remote import RemoteFolder

        return RemoteFolder(place)
    return LocalFolder(Path(place))


def current_version(source: str) -> Version:
    """Raises VideoError."""
    if is_address(source):
        from streamparts.corpus.remote import remote_version

        return remote_version(source)
    return version_of(Path(source))


def is_address(place: str) -> bool:
    from streamparts.corpus.plan import is_remote

    return is_remote(place)


def _identity(file_name: str, content: str, settings: Settings) -> str:
    """Identity of the input of unfinished outputs. The tracks' header has the name of the file."""
    words = (file_name, content, settings.bundle.sha256, settings.options.sha256)
    return hashlib.sha256(" ".join(words).encode()).hexdigest()


def _notes(summary: Summary, scratch: Path) -> tuple[str, ...]:
    notes = [note.replace(f"{scratch}/", "") for note in (*summary.notes, *summary.warnings)]
    notes += summary.counts.lines()
    return (*notes, summary.mismatch) if summary.mismatch else tuple(notes)


def _line(error: Exception) -> str:
    text = redact(" ".join(str(error).split()))
    return text if isinstance(error, StreampartsError) else f"unexpected {type(error).__name__}: {text}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
