"""Lets code be imported on a machine without packages that it will not use there.

`python -m benchmarks.absent train.supervised ...` runs a trainer that reads pictures where PyAV and decord are missing,
which read videos. benchmarks/device.py uses the functions.

A GPU machine may have torch, but neither PyAV nor decord, and no package registry. A package that is `allowed` to be
absent can then be imported; everything imported from it is a stand-in, whose use fails.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import runpy
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any


class _Nothing(type):
    """Metaclass of stand-ins for absent classes: any attribute can be named, none can be used."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return absent(f"{cls.__name__}.{name}")

    def __call__(cls, *_: object, **__: object) -> Any:
        return absent(f"{cls.__name__}()")

    def __iter__(cls) -> Any:
        raise ModuleNotFoundError(f"{cls.__name__} is of a package that is not installed here")

    __len__ = __enter__ = __int__ = __float__ = __bool__ = __iter__

    def __getitem__(cls, _: object) -> Any:
        return cls


def absent(name: str) -> Any:
    """A class without values."""
    return _Nothing(name, (), {})


class _Module(ModuleType):
    """A module that has every attribute."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return absent(f"{self.__name__}.{name}")


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, packages: Sequence[str]) -> None:
        self.packages = tuple(packages)

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        if name.partition(".")[0] not in self.packages:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to execute."""


def allow_absent(*packages: str) -> list[str]:
    """Make these packages importable if they are missing; return the missing ones."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    for name in missing:
        sys.modules.pop(name, None)  # None there forbids the import
    sys.meta_path.insert(0, _Finder(missing))  # before an installed one that is to count as missing
    return missing


def use_fabric_of_lightning() -> None:
    """If lightning-fabric is missing, use the same code of the package lightning, if that is installed."""
    if importlib.util.find_spec("lightning_fabric") is not None or importlib.util.find_spec("lightning") is None:
        return
    for name in ("", ".plugins", ".plugins.precision", ".wrappers"):
        sys.modules[f"lightning_fabric{name}"] = importlib.import_module(f"lightning.fabric{name}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a module with its flags."""
    module, *flags = sys.argv[1:] if argv is None else argv
    use_fabric_of_lightning()
    allow_absent("av", "decord")
    sys.argv = [module, *flags]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
