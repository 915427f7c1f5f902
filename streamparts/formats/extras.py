"""Libraries that only some formats need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from streamparts.errors import MissingExtraError


def need(module: str, what: str, extra: str = "formats") -> Any:
    """The module. Raises MissingExtraError, which names the extra, where it cannot be imported."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise MissingExtraError(f"{what} needs {package} ({error}); pip install 'streamparts[{extra}]'") from error
