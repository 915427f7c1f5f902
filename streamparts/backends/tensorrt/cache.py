"""The cache of engines built by this user, and of the hashes of engines that may be loaded. No other user may write
there."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from streamparts.errors import ModelError
from streamparts.files import user_cache, write_whole

FILE_MODE = 0o600
FOLDER_MODE = 0o700
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def cache_folder() -> Path:
    """The folder of engines, see user_cache. Raises ModelError for a user without a home folder."""
    try:
        return user_cache("engines")
    except OSError as error:
        raise ModelError(f"no folder for engines: {error}") from error


@dataclass(frozen=True, slots=True)
class EngineCache:
    """A folder that only this user can write to. Files in it appear atomically."""

    folder: Path

    def record(self, plan_sha256: str) -> None:
        """Record that a plan was built here, so that load_engine accepts it."""
        self.write(self._trusted(plan_sha256), plan_sha256.encode())

    def is_recorded(self, plan_sha256: str) -> bool:
        return self._holds(self._trusted(plan_sha256), plan_sha256)

    def record_verified(self, plan_sha256: str, compute_capability: str) -> None:
        """Record that a plan gave correct results on a GPU like this one."""
        self.write(self._verified(plan_sha256, compute_capability), plan_sha256.encode())

    def is_verified(self, plan_sha256: str, compute_capability: str) -> bool:
        return self._holds(self._verified(plan_sha256, compute_capability), plan_sha256)

    def engine_path(self, key: str) -> Path:
        return self.folder / f"{key}.engine"

    def timing_path(self, library: str, gpu: str) -> Path:
        return self.folder / f"timing-{digest(library, gpu)[:32]}.cache"

    def kernels_path(self, plan_sha256: str, version: str) -> Path:
        return self.folder / f"kernels-{digest(plan_sha256, version)[:32]}.cache"

    def read(self, path: Path) -> bytes | None:
        """Read a file of the cache; None if it does not exist. Raises ModelError unless it is a plain file of this
        user."""
        if not self.folder.exists():
            return None
        self._require_own_folders()
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ModelError(f"{path}: not a plain file of the engine cache ({error.strerror}); remove it") from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or _is_foreign(status):
            os.close(descriptor)
            raise ModelError(f"{path}: other users may have written it; remove it, and the engine is built again")
        with os.fdopen(descriptor, "rb") as file:
            return file.read()

    def write(self, path: Path, data: bytes) -> None:
        """Write a file to the cache, readable only by this user."""
        self._make()
        write_atomically(path, data, FILE_MODE)

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Lock held by one process at a time, so that the second finds the engine built by the first."""
        self._make()
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        try:
            descriptor = os.open(self.folder / f"{key}.lock", flags, FILE_MODE)
        except OSError as error:
            raise ModelError(f"{self.folder}: cannot lock the engine cache ({error.strerror})") from error
        try:
            _lock(descriptor)
            yield
        finally:
            os.close(descriptor)  # closing it unlocks

    def _trusted(self, plan_sha256: str) -> Path:
        return self.folder / f"{plan_sha256}.built"

    def _verified(self, plan_sha256: str, compute_capability: str) -> Path:
        return self.folder / f"{plan_sha256}-{compute_capability}.verified"

    def _holds(self, path: Path, text: str) -> bool:
        return self.read(path) == text.encode()

    def _make(self) -> None:
        try:
            self.folder.parent.parent.mkdir(parents=True, exist_ok=True)
            for folder in (self.folder.parent, self.folder):
                folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        except OSError as error:
            raise ModelError(f"{self.folder}: the engine cache cannot be created there ({error.strerror})") from error
        self._require_own_folders()

    def _require_own_folders(self) -> None:
        for folder in (self.folder.parent, self.folder):
            status = folder.lstat()
            if not stat.S_ISDIR(status.st_mode):
                raise ModelError(f"{folder}: the engine cache must be a folder, not a link or a file")
            if _is_foreign(status):
                raise ModelError(
                    f"{folder}: the engine cache must be private, but other users can write there (mode "
                    f"{stat.S_IMODE(status.st_mode):o}); delete it, or set XDG_CACHE_HOME to another folder"
                )


def digest(*words: object) -> str:
    """SHA-256 of a list of words; different lists have different digests."""
    return hashlib.sha256(json.dumps([str(word) for word in words]).encode()).hexdigest()


def write_atomically(path: Path, data: bytes, mode: int | None = None) -> None:
    """files.write_whole, but raises ModelError."""
    try:
        write_whole(path, data, mode)
    except OSError as error:
        raise ModelError(f"{path}: cannot be written ({error.strerror})") from error


def _is_foreign(status: os.stat_result) -> bool:
    """True if another user owns it or may write to it. Windows separates users' folders by other means."""
    if os.name != "posix":
        return False
    return status.st_uid != os.geteuid() or bool(status.st_mode & _OTHERS_MAY_WRITE)


def _lock(descriptor: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: two parallel builds waste time, and the last one remains
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX)
