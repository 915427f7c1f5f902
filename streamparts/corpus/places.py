"""Locations of outputs and videos: local folders here, stores in remote.py."""

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
"""Folder, in the output folder, for unfinished work and the lock."""
TOKEN = f"{OWN}/run.json"
"""File of the run that holds the lock."""
MANIFEST = "manifest.jsonl"


class Version(NamedTuple):
    """Detects a changed video without reading it."""

    size: int
    """Size in bytes."""
    mark: str
    """Modification time in nanoseconds, or a store's version identifier."""


def is_inside(name: str) -> bool:
    """True if a name with slashes stays inside its folder; names are untrusted."""
    foreign = "\\:\0" if os.name == "nt" else "\0"
    return all(piece not in ("", ".", "..") for piece in name.split("/")) and not any(one in name for one in foreign)


def require_inside(name: str) -> str:
    """Return `name`. Raises VideoError if it leaves the folder."""
    if not is_inside(name):
        raise VideoError(f"{name!r}: is not a valid name; it points outside the output folder")
    return name


class Folder(Protocol):
    """Stores outputs. Names have slashes and are relative. All methods raise VideoError with a one-line message for a
    name outside the folder, and on I/O errors."""

    def read(self, name: str) -> bytes | None:
        """None if the file does not exist."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Write a file atomically."""
        ...

    def put(self, file: Path, name: str) -> None:
        """Move a local file into the folder, atomically."""
        ...

    def size(self, name: str) -> int | None:
        """Size in bytes; None if the file does not exist."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file or a folder, if it exists."""
        ...


class LocalFolder:
    """A Folder on this machine, or on a shared disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str) -> bytes | None:
        path = self._at(name)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except NotADirectoryError as error:
            raise VideoError(f"{self.path}: is a file, but outputs need a folder; give another --out-dir") from error
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
        """Links inside the folder may not lead out of it, either; a link itself is replaced, not followed."""
        path = self.path / require_inside(name)
        if not path.parent.resolve().is_relative_to(self.path.resolve()):
            raise VideoError(f"{path}: a link points outside {self.path}; remove it, or give another --out-dir")
        return path

    def _unwritten(self, name: str, error: OSError) -> VideoError:
        return VideoError(f"{self.path / name}: cannot be written ({error.strerror})")


def token_file(token: str, who: str, at: float) -> bytes:
    """Content of TOKEN: the run's token, its process, and its last sign of life (Unix seconds)."""
    return json.dumps({"token": token, "who": who, "at": at}).encode()


def has_token(folder: Folder, token: str) -> bool:
    """True if this is the folder into which the run with this token writes."""
    try:
        found = json.loads(folder.read(TOKEN) or b"{}")
    except ValueError:
        return False
    return isinstance(found, dict) and found.get("token") == token


def version_of(source: Path) -> Version:
    """Version of a file, or of a folder of images. Raises VideoError."""
    try:
        stats = [path.stat() for path in content_files(source)]
    except OSError as error:
        raise _unreadable(source, error) from error
    if not stats:
        raise VideoError(f"{source}: no longer has images")
    newest = max(stat.st_mtime_ns for stat in stats)
    mark = str(newest) if not source.is_dir() else f"{newest}/{len(stats)}"
    return Version(sum(stat.st_size for stat in stats), mark)


def sha256_of(source: Path) -> str:
    """Hash of a file's bytes; for a folder, of its images' names and bytes. Raises VideoError."""
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
    """The files of a source."""
    from streamparts.sources.pictures import pictures_in

    return pictures_in(source) if source.is_dir() else [source]


def _file_sha256(path: Path) -> str:
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unreadable(source: Path, error: OSError) -> VideoError:
    if isinstance(error, FileNotFoundError):
        return VideoError(f"{source}: no such file (on {platform.node()})")
    return VideoError(f"{source}: cannot be read ({error.strerror})")
