"""Videos and outputs in stores (s3://, gs://, hf:// and others supported by fsspec); needs the `remote` extra."""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from glob import has_magic
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from streamparts.corpus.places import OWN, TOKEN, Version, is_inside, require_inside, token_file
from streamparts.errors import MissingExtraError, StreampartsError, VideoError
from streamparts.sources.folders import VIDEO_SUFFIXES, is_hidden, tracks_beside
from streamparts.sources.redact import redact
from streamparts.threads import DaemonThread

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

T = TypeVar("T")

HOLD_SECONDS = 30.0
"""Interval at which a run renews its lock."""
STALE_SECONDS = 150.0
"""Age of a lock after which another run may take it over."""
_SETTLE_SECONDS = 1.0
_MARKS = ("ETag", "etag", "md5Hash", "crc32c", "mtime", "LastModified", "last_modified", "updated", "created")
"""Keys that file systems use for a value that changes with the file."""


class RemoteFolder:
    """A Folder in a store. Uploads are atomic, as in stores."""

    def __init__(self, address: str) -> None:
        """Raises VideoError or MissingExtraError if there is no such store."""
        self.address = address.rstrip("/")
        self._store, self._path = _opened(self.address)
        self._listed: dict[str, int] | None = None

    def list(self) -> None:
        """Fetch all sizes with one request to the store, instead of one per file."""
        self._store.invalidate_cache()
        path = self._path.rstrip("/")
        found = _asked(self.address, lambda: self._store.find(path, detail=True), missing=dict)
        self._listed = {name[len(path) :].lstrip("/"): int(info["size"] or 0) for name, info in found.items()}

    def read(self, name: str) -> bytes | None:
        data: bytes | None = _asked(self._shown(name), lambda: self._store.cat_file(self._at(name)), missing=_none)
        return data

    def write(self, name: str, data: bytes) -> None:
        _asked(self._shown(name), lambda: self._store.pipe_file(self._at(name), data))

    def put(self, file: Path, name: str) -> None:
        _asked(self._shown(name), lambda: self._store.put_file(str(file), self._at(name)))

    def size(self, name: str) -> int | None:
        if self._listed is not None:
            return self._listed.get(name)
        info = _asked(self._shown(name), lambda: self._store.info(self._at(name), refresh=True), missing=_none)
        return None if info is None else int(info["size"])

    def remove(self, name: str) -> None:
        _asked(self._shown(name), lambda: self._store.rm(self._at(name), recursive=True), missing=_none)

    def _at(self, name: str) -> str:
        return f"{self._path.rstrip('/')}/{require_inside(name)}"

    def _shown(self, name: str) -> str:
        return f"{self.address}/{name}"


def expand_address(word: str) -> tuple[str, list[str]]:
    """Return (the folder below which names start, the videos' addresses) for an address with *, of a folder or of a
    file. Raises VideoError if there is no video, MissingExtraError if the store needs a package."""
    store, path = _opened(word)
    store.invalidate_cache()
    if has_magic(path):
        fixed = path[: next(n for n, letter in enumerate(path) if letter in "*?[")]
        root = fixed.rpartition("/")[0]
        found = _videos(_asked(word, lambda: store.glob(path)), root, _asking(word, store))
    elif not _is_video(path) and _asked(word, lambda: store.isdir(path)):
        root = path.rstrip("/")
        found = _videos(_asked(word, lambda: store.find(path)), root, _asking(word, store))
    else:
        found, root = [path], path.rpartition("/")[0]
    if not found:
        raise VideoError(f"{redact(word)}: there is no video (looked for {', '.join(sorted(VIDEO_SUFFIXES))})")
    before = word.removesuffix(path) if word.endswith(path) else store.unstrip_protocol("")
    return before + root, [before + name for name in sorted(found)]


@contextmanager
def fetched(address: str) -> Iterator[tuple[Path, Version]]:
    """Provide a local copy with the same name during the block. Raises VideoError if there is no such file,
    StreampartsError if it is temporarily unavailable."""
    store, path = _opened(address)
    with TemporaryDirectory(prefix="streamparts-") as folder:
        version = remote_version(address)
        name = path.rpartition("/")[2]
        file = Path(folder) / (name if is_inside(name) else "video")
        _asked(address, lambda: store.get_file(path, str(file)))
        if file.stat().st_size != version.size:
            raise StreampartsError(f"{redact(address)}: the download is incomplete, or the file was changed meanwhile")
        yield file, version


def remote_version(address: str) -> Version:
    """Raises VideoError if there is no such file, StreampartsError if it is temporarily unavailable."""
    store, path = _opened(address)
    info: dict[str, Any] = _asked(address, lambda: store.info(path))
    mark = next((str(info[key]) for key in _MARKS if info.get(key) is not None), "")
    return Version(int(info.get("size") or 0), mark)


@contextmanager
def held(folder: RemoteFolder, token: str) -> Iterator[None]:
    """Lock the folder against other runs during the block. Stores have no locks: a run writes a mark, and checks after
    a moment whether its mark is still the last one; a mark that is no longer renewed is ignored."""
    here = f"process {os.getpid()} on {platform.node()}"

    def mark() -> None:
        folder.write(TOKEN, token_file(token, here, time.time()))

    _require_free(folder, token)
    mark()
    time.sleep(_SETTLE_SECONDS)
    _require_free(folder, token)
    folder.list()
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(HOLD_SECONDS):
            try:
                mark()
            except StreampartsError:
                continue  # retried at the next interval, or the run finds that the store is gone

    thread = DaemonThread("hold", renew)
    try:
        yield
    finally:
        ended.set()
        thread.ends()
        folder.remove(TOKEN)


def _require_free(folder: RemoteFolder, token: str) -> None:
    try:
        other = json.loads(folder.read(TOKEN) or b"{}")
    except ValueError:
        other = {}
    if other and other.get("token") != token and time.time() - float(other.get("at", 0)) < STALE_SECONDS:
        raise VideoError(
            f"{redact(folder.address)}: another run writes there ({other.get('who')}); wait for its end, or stop it;"
            f" if it was killed, try again in {STALE_SECONDS / 60:.1g} minutes, or remove {OWN} there"
        )


def _is_video(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in VIDEO_SUFFIXES


def _asking(word: str, store: AbstractFileSystem) -> Callable[[str], bool]:
    return lambda path: bool(_asked(word, lambda: store.exists(path)))


def _videos(paths: Sequence[str], root: str, is_there: Callable[[str], bool]) -> list[str]:
    """The videos among files below `root`, by the rule for folders. Overlays are known by the tracks beside them,
    because a look at their metadata would be a download."""
    shown = [path for path in paths if not any(map(is_hidden, PurePosixPath(path.removeprefix(root)).parts))]
    tracks = {path: tracks_beside(path) for path in shown if _is_video(path)}
    return [path for path, beside in tracks.items() if beside is None or not is_there(beside)]


def _none() -> None:
    return None


def _opened(address: str) -> tuple[AbstractFileSystem, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingExtraError(f"{redact(address)}: needs fsspec; pip install 'streamparts[remote]'") from error
    try:
        store, path = url_to_fs(address)
    except ImportError as error:
        raise MissingExtraError(f"{redact(address)}: {error}; streamparts[remote] supports only s3://") from error
    except ValueError as error:
        raise VideoError(f"{redact(address)}: {redact(str(error))}") from error
    return store, path


def _asked(address: str, question: Callable[[], T], missing: Callable[[], Any] | None = None) -> T:
    """Return the answer of a store, or `missing()` if there is nothing. Raises VideoError if there is nothing, or no
    permission; StreampartsError for temporary failures."""
    try:
        return question()
    except FileNotFoundError as error:
        if missing is not None:
            return missing()  # type: ignore[no-any-return]
        raise VideoError(f"{redact(address)}: there is no such file") from error
    except VideoError:
        raise
    except PermissionError as error:
        raise VideoError(f"{redact(address)}: no permission ({_reason(error)}); check the credentials") from error
    except Exception as error:  # stores raise their libraries' exceptions
        raise StreampartsError(f"{redact(address)}: the store returned an error ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    return redact(" ".join((str(error) or type(error).__name__).split()))[:200]
