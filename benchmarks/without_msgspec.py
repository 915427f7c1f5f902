"""A stand-in for msgspec on a GPU machine without it and without a package registry; enough for a model's description.

Import this before streamparts. Where msgspec is installed, nothing happens. It checks fields and their types less
strictly, and is far slower: for the benchmarks, of models that were checked elsewhere.
"""

from __future__ import annotations

import importlib.util
import inspect
import json as plain_json
import sys
import types
import typing
from typing import Any


class ValidationError(ValueError):
    """msgspec's error for data that does not fit."""


class Struct:
    """Fields with defaults, given by keyword or in order."""

    __struct_fields__: typing.ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__()
        own = [name for name, hint in inspect.get_annotations(cls).items() if "ClassVar" not in str(hint)]
        cls.__struct_fields__ = tuple(dict.fromkeys((*cls.__struct_fields__, *own)))

    def __init__(self, *values: object, **fields: object) -> None:
        given = {**dict(zip(self.__struct_fields__, values, strict=False)), **fields}
        if unknown := set(given) - set(self.__struct_fields__):
            raise TypeError(f"unexpected fields {sorted(unknown)}")
        for name in self.__struct_fields__:
            if name not in given and not hasattr(type(self), name):
                raise TypeError(f"missing field {name}")
            value = given.get(name, getattr(type(self), name, None))
            object.__setattr__(self, name, value.copy() if isinstance(value, dict | list) else value)
        if hasattr(self, "__post_init__"):
            self.__post_init__()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and _fields(self) == _fields(other)

    def __hash__(self) -> int:
        return hash(plain_json.dumps(to_builtins(self), sort_keys=True))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in _fields(self).items())})"


def _fields(value: Struct) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}


def replace(value: Any, **changes: object) -> Any:
    """msgspec.structs.replace"""
    return type(value)(**{**_fields(value), **changes})


def to_builtins(value: Any) -> Any:
    """msgspec.to_builtins"""
    if isinstance(value, Struct):
        return {name: to_builtins(each) for name, each in _fields(value).items()}
    if hasattr(value, "__dataclass_fields__"):
        return {name: to_builtins(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, dict):
        return {key: to_builtins(each) for key, each in value.items()}
    return [to_builtins(each) for each in value] if isinstance(value, list | tuple) else value


def convert(value: Any, hint: Any) -> Any:
    """A value of JSON as the type that `hint` names. Raises ValidationError."""
    kind, inner = typing.get_origin(hint), typing.get_args(hint)
    if kind in (typing.Union, types.UnionType):
        return None if value is None else convert(value, next(each for each in inner if each is not type(None)))
    if kind is tuple:
        wanted = [inner[0]] * len(value) if inner[1:] == (...,) else inner
        return tuple(convert(each, one) for each, one in zip(value, wanted, strict=True))
    if isinstance(hint, type) and (issubclass(hint, Struct) or hasattr(hint, "__dataclass_fields__")):
        hints = typing.get_type_hints(hint)
        if not isinstance(value, dict) or set(value) - set(hints):
            raise ValidationError(f"not the fields of {hint.__name__}: {sorted(value)[:5]}")
        return hint(**{name: convert(each, hints[name]) for name, each in value.items()})
    return value


def decode(data: bytes | str, type: Any = dict) -> Any:
    """msgspec.json.decode"""
    try:
        return convert(plain_json.loads(data), type)
    except (ValueError, TypeError) as error:
        raise ValidationError(str(error)) from error


def encode(value: Any) -> bytes:
    """msgspec.json.encode"""
    return plain_json.dumps(to_builtins(value), separators=(",", ":"), ensure_ascii=False).encode()


def pretty(data: bytes, indent: int = 2) -> bytes:
    """msgspec.json.format"""
    return plain_json.dumps(plain_json.loads(data), indent=indent, ensure_ascii=False).encode()


def stand_in() -> types.ModuleType:
    """A module with the parts of msgspec that are needed."""
    module: Any = types.ModuleType("msgspec")
    module.Struct, module.Meta, module.field = Struct, lambda **_: None, lambda **given: given.get("default")
    module.ValidationError = module.DecodeError = module.MsgspecError = ValidationError
    module.to_builtins, module.convert = to_builtins, convert
    module.structs = types.SimpleNamespace(replace=replace)
    module.json = types.SimpleNamespace(decode=decode, encode=encode, format=pretty)
    return module  # type: ignore[no-any-return]


def is_missing() -> bool:
    """True if msgspec cannot be imported here."""
    return importlib.util.find_spec("msgspec") is None


if is_missing():
    sys.modules["msgspec"] = stand_in()


def as_builtins(value: Any) -> Any:
    """A report as dicts, lists and numbers, by msgspec or its stand-in."""
    import msgspec

    return msgspec.to_builtins(value)
