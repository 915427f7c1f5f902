"""The commands of the trainers: `streamparts train`, `streamparts export` and others. Their modules parse the flags."""

from __future__ import annotations

import argparse

from streamparts.learning.trainers import TRAINERS, load_command


def add_trainers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the others. Their flags are not known here, because the modules that define them load
    torch."""
    for name, trainer in TRAINERS.items():
        # No word begins with a zero byte: all words, --help too, are positional and reach the module.
        parser = commands.add_parser(name, help=trainer.help, add_help=False, prefix_chars="\0")
        parser.add_argument("words", nargs="*", metavar="FILE", help="see --help")
        parser.set_defaults(command=_command, trainer=name)


def _command(args: argparse.Namespace) -> int:
    args.debug = "--debug" in args.words
    return load_command(args.trainer)(args.words)
