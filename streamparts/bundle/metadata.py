"""Edits the metadata of an ONNX file, as bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from streamparts.bundle.protobuf import end_of, fields, last, packet, text_of
from streamparts.bundle.scan import scan


def with_metadata(data: bytes, key: str, text: str) -> bytes:
    """Return the ONNX file `data` with `text` as the metadata entry `key`; all other fields keep their bytes. Raises
    ModelError if `data` is no ONNX file."""
    scan(data)
    entry = packet(1, key.encode()) + packet(2, text.encode())
    return b"".join([*_without_metadata(data, key), packet(14, entry)])


def digest_without_metadata(data: bytes, key: str) -> str:
    """SHA-256, in hexadecimal, of the ONNX file `data` without the metadata entry `key`. Raises ModelError if `data` is
    no ONNX file."""
    scan(data)
    digest = hashlib.sha256()
    for piece in _without_metadata(data, key):
        digest.update(piece)
    return digest.hexdigest()


def _without_metadata(data: bytes, key: str) -> Iterator[memoryview]:
    """Yield the file's fields in order, except that one."""
    message, at = memoryview(data), 0
    for field in fields(message):
        first, at = at, end_of(message, at)
        if field.number != 14 or text_of(last(field.data, 1)) != key:
            yield message[first:at]
