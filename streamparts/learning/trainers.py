"""The trainers' commands: where their modules are, their parsers, and how they report failures.

The trainers are streamparts.train and streamparts.export in an installed wheel, and the folders train/ and export/ in a
checkout, where `python -m train.assembly` is the same program as `streamparts train`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, cast

import streamparts
from streamparts.errors import MissingExtraError, StreampartsError, message_of

Main = Callable[[Sequence[str]], int]


class Trainer(NamedTuple):
    """One command of the trainers."""

    module: str
    """Its module, as it is named in a checkout."""
    help: str
    extra: str = "train"
    """The pip extra that installs what the module imports."""


TRAINERS = {
    "train": Trainer("train.assembly", "train parts on raw clips, without labels"),
    "train-scops": Trainer("train.scops", "train parts on images of one category, without labels"),
    "train-supervised": Trainer("train.supervised", "train on rendered images whose parts are known"),
    "train-baseline": Trainer("train.baselines.__main__", "train a system that the papers compare with"),
    "train-dff": Trainer("train.dff", "factorise the features of a pretrained network into parts"),
    "adapt": Trainer("train.adapt", "adapt a model to clips, without labels"),
    "export": Trainer("export.onnx_model", "export a training run as a model"),
    "export-precision": Trainer("export.precision", "convert a model to fp16, bf16 or int8"),
    "evaluate": Trainer("train.evaluate", "evaluate a model on labelled sets"),
    "evaluate-rendered": Trainer("train.held_out", "evaluate a supervised run on rendered images"),
    "find-subject": Trainer("train.subject.__main__", "show the subject that training on clips would use"),
    "render-people": Trainer("train.bodies.__main__", "render people, hands, animals or arms, with parts", "bodies"),
    "render-puppets": Trainer("train.puppets", "render jointed figures with exact parts"),
}
"""Commands by name."""


def locate(module: str) -> str:
    """Return the full name of a module of the trainers, given its name in a checkout, and make it importable: in the
    installed package, or else in the checkout that contains this package. Raises MissingExtraError without both."""
    package = module.split(".")[0]
    if find_spec(f"streamparts.{package}"):
        return f"streamparts.{module}"
    checkout = Path(streamparts.__file__).parent.parent
    if not (checkout / package / "__init__.py").is_file():
        raise MissingExtraError("the trainers are not part of this installation; pip install 'streamparts[train]'")
    if sys.path[0] != str(checkout):
        sys.path.insert(0, str(checkout))  # before the working directory, which may have a folder train/ of its own
    return module


def load_command(command: str) -> Main:
    """Import the module of a command and return its `main`. Raises MissingExtraError, naming the extra, if a package
    that it imports is not installed."""
    trainer = TRAINERS[command]
    full_name = locate(trainer.module)
    try:
        return cast(Main, import_module(full_name).main)
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] in ("streamparts", "train", "export"):
            raise
        wanted = f"streamparts {command} needs {error.name}"
        raise MissingExtraError(f"{wanted}; pip install 'streamparts[{trainer.extra}]'") from error


def trainer_parser(command: str, description: str, examples: str) -> argparse.ArgumentParser:
    """Return the parser of a command, without its own arguments, in the form of the other commands' parsers."""
    parser = argparse.ArgumentParser(
        f"streamparts {command}",
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--debug", action="store_true", help="show a traceback on errors")
    return parser


def exit_code(
    work: Callable[[], object],
    debug: bool,
    expected: tuple[type[Exception], ...] = (StreampartsError, OSError, ValueError),
) -> int:
    """Do the work of a command. Returns 0, 1 after printing one line on an error, or 130 after Ctrl-C. Messages of
    `expected` errors are for users; all others are reported as unexpected. With `debug`, errors are raised."""
    try:
        work()
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if debug:
            raise
        text = " ".join(str(error).split()) if isinstance(error, expected) else message_of(error)
        print(f"streamparts: error: {text}", file=sys.stderr)
        return 1
    return 0
