"""The manifest of a corpus: one JSON line per video, written only by the driver."""

from __future__ import annotations

import time
from collections.abc import Callable
from io import FileIO

import msgspec

from streamparts.corpus.places import MANIFEST, Folder, LocalFolder, is_inside
from streamparts.corpus.records import SCHEMA, CorpusResult
from streamparts.errors import VideoError

PUT_SECONDS = 10.0
"""Interval at which a manifest in a store, which does not allow appending, is uploaded."""


class Manifest:
    """Results by name. Lines are appended atomically; the last one of a name counts, and opening and closing keep only
    those."""

    def __init__(self, folder: Folder) -> None:
        """Read the existing file. Raises VideoError if it is not a manifest of this version."""
        self._folder = folder
        self._file: FileIO | None = None
        self._put_at = time.monotonic()
        data = folder.read(MANIFEST) or b""
        self._num_lines = 0
        self.results: dict[str, CorpusResult] = {}
        """Results by name."""
        whole = data[: data.rfind(b"\n") + 1]  # a killed driver may have left an incomplete line
        for number, line in enumerate(whole.splitlines(), 1):
            result = _decoded(number, line)
            self.results[result.name] = result
            self._num_lines += 1
        if len(data) > len(whole) or self._num_lines > len(self.results):
            self._rewrite()

    @property
    def names(self) -> dict[str, str]:
        """Names by source address."""
        return {result.source: name for name, result in self.results.items()}

    def add(self, result: CorpusResult) -> None:
        """Raises VideoError if writing fails, for example on a full disk."""
        self.results[result.name] = result
        self._num_lines += 1
        if isinstance(self._folder, LocalFolder):
            self._append(msgspec.json.encode(result) + b"\n")
        elif time.monotonic() - self._put_at > PUT_SECONDS:
            self._rewrite()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._num_lines > len(self.results) or not isinstance(self._folder, LocalFolder):
            self._rewrite()

    def _append(self, line: bytes) -> None:
        assert isinstance(self._folder, LocalFolder)
        path = self._folder.path / MANIFEST
        try:
            if self._file is None:
                self._file = path.open("ab", buffering=0)
            if self._file.write(line) != len(line):
                raise OSError(None, "no space on the disk")
        except OSError as error:
            raise VideoError(f"{path}: writing failed ({error.strerror})") from error

    def _rewrite(self) -> None:
        lines = b"".join(msgspec.json.encode(result) + b"\n" for result in self.results.values())
        self._folder.write(MANIFEST, lines)
        self._num_lines, self._put_at = len(self.results), time.monotonic()


def read_manifest(folder: Folder) -> dict[str, CorpusResult]:
    """Read results by name, without changing the file."""
    data = folder.read(MANIFEST) or b""
    results = (_decoded(number, line) for number, line in enumerate(data.split(b"\n")[:-1], 1))
    return {result.name: result for result in results}


def _decoded(number: int, line: bytes, decode: Callable[..., CorpusResult] = msgspec.json.decode) -> CorpusResult:
    try:
        result = decode(line, type=CorpusResult)
    except msgspec.DecodeError as error:
        raise VideoError(
            f"{MANIFEST}: line {number} is damaged ({error}); delete it, and its video is processed again"
        ) from None
    if result.schema != SCHEMA:
        raise VideoError(
            f"{MANIFEST}: line {number} has schema {result.schema!r}, not {SCHEMA}; give another --out-dir"
        )
    for name in (result.name, *(output.path for output in result.outputs)):
        if not is_inside(name):
            raise VideoError(f"{MANIFEST}: line {number}: the name {name!r} points outside the folder; delete the line")
    return result
