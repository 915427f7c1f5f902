"""The public API of `streamparts` equals tests/public_api.txt. After an intended change, update that file with
`python -m tests.test_public_api > tests/public_api.txt`; the diff shows the change.

griffe does not replace it: it reads the source, where a default is a name (`AUTO`), so that a changed value passes; and
its check for breaking changes needs an earlier release, and passes additions.
"""

from __future__ import annotations

import ast
import inspect
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import FunctionType

import pytest

import streamparts
from tests.conftest import ROOT

SNAPSHOT = Path(__file__).with_name("public_api.txt")
CLASSES = [name for name in streamparts.__all__ if inspect.isclass(getattr(streamparts, name))]
FUNCTIONS = [name for name in streamparts.__all__ if name not in CLASSES]


def listing() -> str:
    """Classes with their fields and methods, then functions, one argument a line."""
    blocks = [class_lines(name, getattr(streamparts, name)) for name in CLASSES]
    blocks += [signature_lines(getattr(streamparts, name)) for name in FUNCTIONS]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def class_lines(name: str, kind: type) -> list[str]:
    lines = [f"class {name}({', '.join(base.__name__ for base in kind.__bases__ if base is not object)})"]
    lines[0] = lines[0].removesuffix("()")
    if is_dataclass(kind):
        for field in fields(kind):
            default = "" if field.default is MISSING else f" = {shown(field.default)}"
            lines.append(f"    {field.name}: {field.type}{default}")
    for name in getattr(kind, "__struct_fields__", ()):
        lines.append(f"    {name}: {annotations(kind)[name]}")
    for method, function in methods(kind):
        if isinstance(function, property):
            lines.append(f"    {method} -> {annotations(function.fget)['return']}")
        else:
            lines += [f"    {line}" for line in signature_lines(function)]
    return lines


def methods(kind: type) -> Iterator[tuple[str, FunctionType | property]]:
    """Public members in the order of the source; __init__ if it is written out."""
    for name, value in vars(kind).items():
        function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        written = not name.startswith("_") or (name == "__init__" and not is_dataclass(kind))
        if written and isinstance(function, FunctionType | property):
            yield name, function


def signature_lines(function: object) -> list[str]:
    signature = inspect.signature(function)  # type: ignore[arg-type]
    arguments, star = [], False
    for argument in signature.parameters.values():
        if argument.kind is argument.KEYWORD_ONLY and not star:
            star = True
            arguments.append("*")
        hint = "" if argument.annotation is argument.empty else f": {argument.annotation}"
        default = "" if argument.default is argument.empty else f" = {shown(argument.default)}"
        arguments.append(f"{argument.name}{hint}{default}")
    name = function.__name__  # type: ignore[attr-defined]
    prefix = "async def" if inspect.isasyncgenfunction(function) else "def"
    return [f"{prefix} {name}(", *(f"    {argument}," for argument in arguments), f") -> {signature.return_annotation}"]


def shown(default: object) -> str:
    """Literals as they are written; objects by their kind, for their own fields are not this signature's."""
    try:
        ast.literal_eval(repr(default))
    except (ValueError, SyntaxError):
        return f"{type(default).__name__}(...)"
    return repr(default)


def annotations(function: object) -> dict[str, object]:
    return inspect.get_annotations(function)  # type: ignore[arg-type]


def documented(value: object) -> bool:
    """True if there is a docstring: dataclasses without one have their signature instead."""
    if inspect.isclass(value):
        text = vars(value).get("__doc__") or ""
        return bool(text) and not text.startswith(f"{value.__name__}(")
    return bool(inspect.getdoc(value))


def test_the_public_api_is_what_the_snapshot_says() -> None:
    assert listing() == SNAPSHOT.read_text(encoding="utf-8"), "if it is meant, write tests/public_api.txt again"


def test_everything_exported_is_there_and_nothing_else_is_promised() -> None:
    assert streamparts.__all__ == sorted(streamparts.__all__)
    assert set(streamparts.__all__) <= set(dir(streamparts))
    assert set(streamparts._HOME_OF) <= set(streamparts.__all__)
    with pytest.raises(AttributeError, match="no attribute 'tracks'"):
        streamparts.tracks  # noqa: B018


def test_type_checkers_see_the_same_names_from_the_same_modules() -> None:
    """Names that are loaded when first needed are imported for type checkers alone: both lists must agree."""
    tree = ast.parse((ROOT / "streamparts" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert seen == streamparts._HOME_OF


@pytest.mark.parametrize("name", streamparts.__all__)
def test_it_has_a_docstring(name: str) -> None:
    value = getattr(streamparts, name)
    assert documented(value), name
    if inspect.isclass(value):
        undocumented = [method for method, function in methods(value) if not documented(function)]
        simple = {"pts_seconds", "index", "num_parts", "__init__"}  # said by their names, or by the class
        assert set(undocumented) <= simple, name


@pytest.mark.parametrize("name", streamparts.__all__)
def test_it_is_annotated_in_full(name: str) -> None:
    value = getattr(streamparts, name)
    functions = [function for _, function in methods(value)] if inspect.isclass(value) else [value]
    for function in functions:
        function = function.fget if isinstance(function, property) else function
        arguments = [argument for argument in inspect.signature(function).parameters if argument not in ("self", "cls")]
        missing = {*arguments, "return"} - annotations(function).keys()
        assert not missing, f"{name}.{function.__name__}"


def test_the_wheel_says_that_it_is_typed() -> None:
    """`.ci/run` looks into the installed wheel as well."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    wheel = build["wheel"]
    assert wheel["packages"] == ["streamparts", "train", "export"], "everything in them that git does not ignore"
    assert wheel["sources"] == {name: f"streamparts/{name}" for name in ("train", "export")}
    assert wheel["exclude"] == ["train/LOG.md"]
    assert (ROOT / "streamparts" / "py.typed").is_file()
    if (ROOT / ".git").exists():
        ignored = subprocess.run(["git", "check-ignore", "-q", "streamparts/py.typed"], cwd=ROOT, check=False)
        assert ignored.returncode == 1


if __name__ == "__main__":
    print(listing(), end="")
