"""Reads and writes the wire format of protobuf: fields, numbers and texts, without a library, and within a budget."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from streamparts.errors import ModelError

MAX_FIELDS = 1_000_000
"""Maximum number of fields read in the whole file."""
TEXTS = {"model": (2, 3, 4, 6), "graph": (2, 10), "node": (1, 2, 3, 4, 6, 8), "tensor": (8, 12), "value": (1, 3)}
"""Fields that contain text. ONNX Runtime accepts any bytes as a name, and prints them."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class DamagedError(Exception):
    """Raised for bytes that are not protobuf, or not a model."""


class Field(NamedTuple):
    number: int
    wire: int
    value: int
    """A number, or the length of `data`."""
    data: memoryview


class _Budget(threading.local):
    left: int | None = None
    """Number of fields that may still be read; None for no limit."""


_budget = _Budget()
NOTHING = memoryview(b"")


@contextmanager
def limited_fields() -> Iterator[None]:
    """Within the block, this thread may read MAX_FIELDS fields."""
    _budget.left = MAX_FIELDS
    try:
        yield
    finally:
        _budget.left = None


def last(message: memoryview, wanted: int, kind: str = "") -> memoryview:
    """Content of a field; the last occurrence counts, as in protobuf."""
    found = NOTHING
    for number, wire, _, data in fields(message, kind):
        if number == wanted and wire == BYTES:
            found = data
    return found


def text_of(data: memoryview) -> str:
    try:
        return bytes(data).decode()
    except UnicodeDecodeError as error:
        raise DamagedError("a text in it is not UTF-8") from error


def packed(data: memoryview) -> list[int]:
    values, at = [], 0
    while at < len(data):
        value, at = varint(data, at)
        values.append(value)
    return values


def fields(message: memoryview, kind: str = "") -> Iterator[Field]:
    """Yield the fields of a message; those of TEXTS[kind] are text."""
    at, end, texts = 0, len(message), TEXTS.get(kind, ())
    while at < end:
        if _budget.left is not None:
            _budget.left -= 1
            if _budget.left < 0:
                raise ModelError(
                    f"has more than {MAX_FIELDS} fields, the limit for a model of streamparts; export it again"
                )
        tag, at = varint(message, at)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 2**29:
            raise DamagedError(f"no field has the number {number}")
        if wire == VARINT:
            value, at = varint(message, at)
            yield Field(number, wire, value, NOTHING)
            continue
        if wire == BYTES:
            length, at = varint(message, at)
        elif wire in (FIXED32, FIXED64):
            length = 4 if wire == FIXED32 else 8
        else:
            raise DamagedError(f"no field has the wire type {wire}")
        if length > end - at:
            raise DamagedError("it is truncated")
        if number in texts:
            text_of(message[at : at + length])
        yield Field(number, wire, length, message[at : at + length])
        at += length


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the number that starts at `at`, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise DamagedError("it is truncated")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), at
    raise DamagedError("a number of more than ten bytes")


def packet(number: int, data: bytes) -> bytes:
    """A field of bytes."""
    return encoded(number << 3 | BYTES) + encoded(len(data)) + data


def encoded(value: int) -> bytes:
    """Encode a protobuf varint: seven bits per byte, lowest first."""
    groups = [value >> shift & 0x7F for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


def end_of(message: memoryview, at: int) -> int:
    """Return the end of the field that starts at `at`."""
    tag, at = varint(message, at)
    match tag & 7:
        case 0:
            return varint(message, at)[1]
        case 2:
            length, at = varint(message, at)
            return at + length
        case wire:
            return at + (4 if wire == FIXED32 else 8)
