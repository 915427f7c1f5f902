"""Reads lists and tuples of numbers and text from pickled bytes, without unpickling.

pandas stores the column names of an HDF5 table as pickles. Unpickling would run code from an untrusted file. This
module only reads the opcodes, and refuses any that would look up, call or build an object.
"""

from __future__ import annotations

import pickletools
from typing import Any

_MARK = object()
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_VALUES = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_PLAIN = ("UNICODE", "STRING", "INT", "INT1", "INT2", "LONG", "LONG1", "FLOAT")
_IGNORED = {"PROTO", "FRAME"}


def literal(data: bytes) -> Any:
    """Return the value. Raises ValueError for bytes that contain anything but lists, tuples, dicts, numbers and
    text."""
    stack, memo = list[Any](), dict[int, Any]()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return stack[-1]
            _step(opcode.name, argument, stack, memo)
    except (IndexError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a pickled literal ({error})") from error
    raise ValueError("not a pickled literal (no end)")


def _step(name: str, argument: Any, stack: list[Any], memo: dict[int, Any]) -> None:
    if name in _IGNORED:
        return
    if name == "MARK":
        stack.append(_MARK)
    elif name in _TUPLES:
        stack.append(tuple(_pop(stack, _TUPLES[name])))
    elif name == "TUPLE":
        stack.append(tuple(_since_mark(stack)))
    elif name in ("LIST", "EMPTY_LIST"):
        stack.append(_since_mark(stack) if name == "LIST" else [])
    elif name in ("DICT", "EMPTY_DICT"):
        items = _since_mark(stack) if name == "DICT" else []
        stack.append(dict(zip(items[::2], items[1::2], strict=True)))
    elif name in ("APPEND", "APPENDS"):
        items = _since_mark(stack) if name == "APPENDS" else [stack.pop()]
        stack[-1].extend(items)
    elif name in ("SETITEM", "SETITEMS"):
        items = _since_mark(stack) if name == "SETITEMS" else _pop(stack, 2)
        stack[-1].update(zip(items[::2], items[1::2], strict=True))
    elif name == "MEMOIZE":
        memo[len(memo)] = stack[-1]
    elif name.endswith("PUT"):
        memo[argument] = stack[-1]
    elif name.endswith("GET"):
        stack.append(memo[argument])
    elif name in _VALUES:
        stack.append(_VALUES[name])
    elif isinstance(argument, str | int | float) and name.endswith(_PLAIN):
        stack.append(argument)
    else:
        raise ValueError(f"not a pickled literal (it contains {name})")


def _pop(stack: list[Any], count: int) -> list[Any]:
    return [stack.pop() for _ in range(count)][::-1]


def _since_mark(stack: list[Any]) -> list[Any]:
    items = list[Any]()
    while (item := stack.pop()) is not _MARK:
        items.append(item)
    return items[::-1]
