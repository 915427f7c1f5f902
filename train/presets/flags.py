"""A trainer's flags: made from the dataclass of its configuration, on top of a preset."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import tyro

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")


def parse_flags(
    args: Sequence[str],
    kind: type[Config],
    presets: Mapping[str, tuple[str, dict[str, object]]],
    default: str,
    description: str | None,
    prog: str,
) -> Config:
    """Flags of a dataclass whose first two fields are its input and `out`, on top of a preset. `--help` lists the
    presets and every flag with the preset's value."""
    first = argparse.ArgumentParser(prog=prog, add_help=False)
    first.add_argument("--preset", choices=sorted(presets), default=default)
    chosen, rest = first.parse_known_args(args)
    costs = "; ".join(f"--preset {name}: {cost}" for name, (cost, _) in presets.items())
    base = replace(kind(tyro.MISSING, tyro.MISSING), **presets[chosen.preset][1])  # type: ignore[call-arg]
    return tyro.cli(kind, args=rest, default=base, description=f"{description}\n\n{costs}.", prog=prog)
