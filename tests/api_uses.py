"""Collects the names and calls of a library in source code, for libraries that cannot be imported everywhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Use:
    """One place where the source touches the library."""

    path: tuple[str, ...]
    """("BuilderFlag", "TF32"): attributes from the module on."""
    line: int
    function: str
    """Enclosing function; "" at module level."""
    is_assigned: bool = False
    num_arguments: int | None = None
    """Arguments of a call; None if it is not a call, or has starred arguments."""
    keywords: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def uses(source: str, roots: dict[str, tuple[str, ...]]) -> list[Use]:
    """Every attribute in `source` of the variables in `roots`, or of `self._` and their names.

    `roots` maps a variable to what it is: () the module itself, ("Builder",) an object of that class.
    """
    return list(_Collector(roots).collect(ast.parse(source), "", {}))


class _Collector:
    def __init__(self, roots: dict[str, tuple[str, ...]]) -> None:
        self._roots = roots

    def collect(self, node: ast.AST, function: str, parents: dict[ast.AST, ast.AST]) -> Iterator[Use]:
        for child in ast.iter_child_nodes(node):
            parents[child] = node
            inside = child.name if isinstance(child, ast.FunctionDef) and not function else function
            if isinstance(child, ast.Attribute) and not self._continues(child, parents):
                start = self._path(child.value)
                if start is not None:
                    yield self._use(child, (*start, child.attr), inside, parents)
            yield from self.collect(child, inside, parents)

    def _continues(self, node: ast.Attribute, parents: dict[ast.AST, ast.AST]) -> bool:
        """True if the node starts a longer chain, which is collected as a whole."""
        return isinstance(parents.get(node), ast.Attribute)

    def _path(self, node: ast.expr) -> tuple[str, ...] | None:
        if isinstance(node, ast.Name):
            return self._roots.get(node.id)
        if not isinstance(node, ast.Attribute):
            return None
        of_self = isinstance(node.value, ast.Name) and node.value.id == "self"
        if of_self and node.attr.startswith("_") and node.attr[1:] in self._roots:
            return self._roots[node.attr[1:]]
        start = self._path(node.value)
        return None if start is None else (*start, node.attr)

    def _use(self, node: ast.Attribute, path: tuple[str, ...], function: str, parents: dict[ast.AST, ast.AST]) -> Use:
        parent = parents.get(node)
        call = parent if isinstance(parent, ast.Call) and parent.func is node else None
        starred = call is not None and any(isinstance(argument, ast.Starred) for argument in call.args)
        return Use(
            path,
            node.lineno,
            function,
            isinstance(node.ctx, ast.Store),
            None if call is None or starred else len(call.args),
            () if call is None else tuple(keyword.arg or "**" for keyword in call.keywords),
        )
