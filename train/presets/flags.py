"""A trainer's flags: tyro makes them from the dataclass of its configuration, on top of a preset; help and errors have
the form of the other commands. A field of type Annotated[..., tyro.conf.Positional] is an argument without a flag. Add
a command whose flags are made here to GENERATED in tests/test_help.py."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn, TypeVar

import tyro

from streamparts.learning.trainers import trainer_parser

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")
Presets = Mapping[str, tuple[str, dict[str, object]]]
"""Name -> its cost in words, and the fields that it changes."""

_COLUMNS = "80"
"""Width at which tyro writes its help in one column."""


def parse_flags(
    args: Sequence[str],
    kind: type[Config],
    doc: str | None,
    command: str,
    presets: Presets | None = None,
    default: str = "",
    flag: str = "preset",
) -> Config:
    """Parse the flags of a dataclass, on top of the fields of a preset.

    Args:
        args: the words of the command line; --debug is accepted and ignored.
        kind: the dataclass. With presets, its first two fields, the input and `out`, have no default.
        doc: the module's docstring: a description, then "examples:" and commands.
        command: name of the command, for help and errors.
        presets: the choices of the flag that chooses one; none without them.
        default: name of the default preset.
        flag: name of the flag that chooses it.

    `--help` lists every flag with its value in the preset. Raises SystemExit: 0 after the help, 2 after a one-line
    error.
    """
    description, _, examples = (doc or "").partition("examples:\n")
    shown = trainer_parser(command, description.strip(), f"examples:\n{examples.rstrip()}\n")
    own = [word for word in args if word != "--debug"]
    base: Config | None = None
    if presets:
        first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, prog=shown.prog)
        costs = "; ".join(f"{name}: {cost}" for name, (cost, _) in presets.items())
        about = f"{costs} (default: {default})"
        first.add_argument(f"--{flag}", dest="preset", choices=sorted(presets), default=default, help=about)
        chosen, own = first.parse_known_args(own)
        base = replace(kind(tyro.MISSING, tyro.MISSING), **presets[chosen.preset][1])  # type: ignore[call-arg]
        shown.add_argument(f"--{flag}", choices=sorted(presets), help=about)
    said = io.StringIO()
    try:
        with _columns(_COLUMNS), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            if base is None:
                return tyro.cli(kind, args=own, prog=shown.prog)
            return tyro.cli(kind, args=own, default=base, prog=shown.prog)
    except SystemExit as end:
        if not end.code:
            _add_flags(shown, said.getvalue())
            shown.print_help()
            raise
        _fail(shown, said.getvalue())


def _fail(shown: argparse.ArgumentParser, said: str) -> NoReturn:
    """Exit with tyro's message as one line. Its text is a title, a rule, the message, a rule, and advice."""
    shown.usage = "%(prog)s [-h] [OPTIONS] ..."
    _, message, *_ = [*re.split(r"^ +-+ *$", said, flags=re.MULTILINE), said]
    if message.lstrip().startswith("Missing from"):
        shown.error("these are required: " + ", ".join(re.findall(r"^ {5,7}(\S.*?) *$", message, re.MULTILINE)))
    shown.error(" ".join(message.split()))


def _add_flags(shown: argparse.ArgumentParser, said: str) -> None:
    """Add the flags in tyro's help to a parser, which only prints them.

    The text has groups: a title, a rule, possibly a description and another rule, then per flag a line indented by two
    and deeper lines that continue it.
    """
    usage = ["%(prog)s [-h] [OPTIONS]"]
    for title, body in re.findall(r"^ (\S.*?) *\n((?:  .*(?:\n|\Z)| -+ *\n)+)", said, re.MULTILINE):
        *description, rows = re.split(r"^ +-+ *\n", body, flags=re.MULTILINE)
        plain = title in ("options", "positional arguments")
        group = shown if plain else shown.add_argument_group(title, " ".join("".join(description).split()))
        for row in re.split(r"^  (?=\S)", rows, flags=re.MULTILINE)[1:]:
            flag, *words = re.split(r" {2,}|\n", row.strip(), maxsplit=1)
            usage += _add_flag(group, flag, " ".join("".join(words).split()).replace("%", "%%"))
    shown.usage = " ".join(usage)


def _add_flag(group: argparse._ActionsContainer, flag: str, about: str) -> list[str]:
    """Add a flag, written with its alternatives and values, or a positional argument, which is returned."""
    names = re.findall(r"(?<!\S)--?[\w.-]+", flag)
    values = flag.split()[len(names) :]
    if not names:
        group.add_argument(flag, help=about)
        return [flag]
    if values:
        metavar = values[0] if len(values) == 1 else tuple(values)
        group.add_argument(*names, nargs=len(values), metavar=metavar, help=about)
    elif "--help" not in names:
        group.add_argument(*names, action="store_true", help=about)
    return []


@contextlib.contextmanager
def _columns(width: str) -> Iterator[None]:
    """Set the width that shutil.get_terminal_size returns."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = width
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
