"""Where outputs go and videos come from: folders of this machine here, stores of others in remote.py."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from streamparts.errors import VideoError
from streamparts.files import write_whole

OWN = ".streamparts"
"""Folder, in that of the outputs, of what is half done and of the lock."""
TOKEN = f"{OWN}/run.json"
"""Of the run that has the lock."""
MANIFEST = "manifest.jsonl"


class Version(NamedTuple):
    """What tells, without reading it, that a video was changed."""

    size: int
    """Bytes."""
    mark: str
    """Time of modification in nanoseconds, or what a store calls its version."""


def is_inside(name: str) -> bool:
    """Whether a name with slashes stays below the folder that it is of, whoever wrote it."""
    foreign = "\\:\0" if os.name == "nt" else "\0"
    return all(piece not in ("", ".", "..") for piece in name.split("/")) and not any(one in name for one in foreign)


def require_inside(name: str) -> str:
    """`name`. Raises VideoError."""
    if not is_inside(name):
        raise VideoError(f"{name!r}: is no name of something in a folder; it would lead out of that of the outputs")
    return name


class Folder(Protocol):
    """Holds outputs. Names have slashes and are relative; with one that leads out of the folder, and where reading or
    writing fails, all methods raise VideoError, in one line."""

    def read(self, name: str) -> bytes | None:
        """None where there is no such file."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """A whole file, or none."""
        ...

    def put(self, file: Path, name: str) -> None:
        """Take over a file of this machine, whole."""
        ...

    def size(self, name: str) -> int | None:
        """In bytes; None where there is no such file."""
        ...

    def remove(self, name: str) -> None:
        """A file or a whole folder, if it is there."""
        ...


class LocalFolder:
    """A Folder of this machine, or of a disk that several share."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str) -> bytes | None:
        path = self._at(name)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except NotADirectoryError as error:
            raise VideoError(f"{self.path}: is a file, and outputs need a folder; give another --out-dir") from error
        except OSError as error:
            raise VideoError(f"{self.path / name}: cannot be read ({error.strerror})") from error

    def write(self, name: str, data: bytes) -> None:
        path = self._at(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, data)
        except OSError as error:
            raise self._unwritten(name, error) from error

    def put(self, file: Path, name: str) -> None:
        path = self._at(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file.replace(path)
        except OSError as error:
            raise self._unwritten(name, error) from error

    def size(self, name: str) -> int | None:
        path = self._at(name)
        try:
            return path.stat().st_size
        except OSError:
            return None

    def remove(self, name: str) -> None:
        import shutil

        path = self._at(name)
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    def _at(self, name: str) -> Path:
        """Links in the folder may not lead out of it either; the file itself is replaced, and not followed."""
        path = self.path / require_inside(name)
        if not path.parent.resolve().is_relative_to(self.path.resolve()):
            raise VideoError(f"{path}: a link leads out of {self.path}; remove it, or give another --out-dir")
        return path

    def _unwritten(self, name: str, error: OSError) -> VideoError:
        return VideoError(f"{self.path / name}: cannot be written ({error.strerror})")


def token_file(token: str, who: str, at: float) -> bytes:
    """What TOKEN holds: the run's token, its process, and when (Unix seconds) it was last there."""
    return json.dumps({"token": token, "who": who, "at": at}).encode()


def has_token(folder: Folder, token: str) -> bool:
    """Whether the folder is that in which the run of this token writes."""
    try:
        found = json.loads(folder.read(TOKEN) or b"{}")
    except ValueError:
        return False
    return isinstance(found, dict) and found.get("token") == token


def version_of(source: Path) -> Version:
    """Of a file, or of a folder of pictures. Raises VideoError."""
    try:
        stats = [path.stat() for path in content_files(source)]
    except OSError as error:
        raise _unreadable(source, error) from error
    if not stats:
        raise VideoError(f"{source}: has no pictures any more")
    newest = max(stat.st_mtime_ns for stat in stats)
    mark = str(newest) if not source.is_dir() else f"{newest}/{len(stats)}"
    return Version(sum(stat.st_size for stat in stats), mark)


def sha256_of(source: Path) -> str:
    """Of a file's bytes; of a folder, of its pictures' names and bytes. Raises VideoError."""
    digest = hashlib.sha256()
    try:
        if source.is_dir():
            for path in content_files(source):
                digest.update(os.fsencode(path.name) + f"\0{_file_sha256(path)}\n".encode())
            return digest.hexdigest()
        return _file_sha256(source)
    except OSError as error:
        raise _unreadable(source, error) from error


def content_files(source: Path) -> Sequence[Path]:
    """The files that a source is made of."""
    from streamparts.sources.pictures import pictures_in

    return pictures_in(source) if source.is_dir() else [source]


def _file_sha256(path: Path) -> str:
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unreadable(source: Path, error: OSError) -> VideoError:
    if isinstance(error, FileNotFoundError):
        return VideoError(f"{source}: no such file (on {platform.node()})")
    return VideoError(f"{source}: cannot be read ({error.strerror})")
