"""Looks names and calls up in bindings made with pybind11 or Cython: python tests/api_check.py MODULE < uses.json

Prints a JSON list of what does not fit. Needs nothing but the module, so that it runs where only that can be imported.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from typing import Any

Signature = tuple[list[str], int]
"""Names of the arguments without self, and how many must be given."""


def problems(module: Any, uses: list[dict[str, Any]]) -> list[str]:
    return [f"line {use['line']}: {text}" for use in uses if (text := problem(module, use)) is not None]


def problem(module: Any, use: dict[str, Any]) -> str | None:
    name = ".".join(use["path"])
    found, owner = module, None
    for part in use["path"]:
        if isinstance(found, property):
            return None  # what a property gives is known at run time only
        if not hasattr(found, part):
            return f"there is no {name}"
        owner, found = found, getattr(found, part)
    if use["is_assigned"]:
        return None if isinstance(found, property) and found.fset else f"{name} cannot be assigned"
    if use["num_arguments"] is None:
        return None
    if isinstance(found, property) or not callable(found):
        return f"{name} cannot be called"
    signatures = signatures_of(found)
    if any(fits(signature, use) for signature in signatures):
        return None
    return f"{name} is called with {use['num_arguments']} arguments {use['keywords']}, but takes {signatures} ({owner})"


def fits(signature: Signature, use: dict[str, Any]) -> bool:
    names, required = signature
    positional, keywords = use["num_arguments"], use["keywords"]
    given = positional + len(keywords)
    return required <= given <= len(names) and set(keywords) <= set(names[positional:])


def signatures_of(function: Any) -> list[Signature]:
    """From the documentation, where pybind11 and Cython put them."""
    target = function.__init__ if isinstance(function, type) else function
    name = target.__name__
    found = []
    for match in re.finditer(rf"^\s*(?:\d+\. )?{re.escape(name)}\(", target.__doc__ or "", re.MULTILINE):
        arguments = split(target.__doc__[match.end() :])
        if arguments[:1] != ["*args"]:
            own = [text for text in arguments if text.split(":")[0].strip() != "self"]
            required = sum(not has_default(text) for text in own)
            found.append(([text.split(":")[0].split("=")[0].split()[-1] for text in own], required))
    return found


def has_default(argument: str) -> bool:
    return re.search(r"(?<![<>=!])=(?!=)", argument) is not None


def split(text: str) -> list[str]:
    """Arguments up to the closing parenthesis, at their commas but not at those within types."""
    parts, depth, current = [], 0, ""
    for letter in text:
        if letter in ")" and depth == 0:
            break
        depth += (letter in "([<{") - (letter in ")]>}")
        if letter == "," and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += letter
    return [part for part in (*parts, current.strip()) if part]


if __name__ == "__main__":
    library = importlib.import_module(sys.argv[1])
    print(json.dumps({"version": library.__version__, "problems": problems(library, json.load(sys.stdin))}))
