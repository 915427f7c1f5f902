"""`--help`: a description, valid examples, and a help text with the default for every flag."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shlex
from importlib import import_module

import pytest

from streamparts.cli import _parser
from streamparts.cli.output_flags import with_show_kind
from tests.test_docs import check_command

PARSER = _parser()
(SUBPARSERS,) = (action for action in PARSER._actions if isinstance(action, argparse._SubParsersAction))
COMMANDS: dict[str, argparse.ArgumentParser] = dict(SUBPARSERS.choices)
MODULES = (
    "train.puppets",
    "train.evaluate",
    "train.dff",
    "train.subject.__main__",
    "export.onnx_model",
    "export.precision",
)
"""Programs with a parser of argparse."""
TRAINERS = ("train.assembly", "train.scops")
"""Programs whose flags are generated from dataclasses."""

each_command = pytest.mark.parametrize("name", COMMANDS)


def parser_of(module: str) -> argparse.ArgumentParser:
    pytest.importorskip("torch")
    pytest.importorskip("tyro")
    loaded = import_module(module)
    make = getattr(loaded, "parser", None) or loaded._parser
    return make()  # type: ignore[no-any-return]


def complaints(parser: argparse.ArgumentParser) -> list[str]:
    """Missing elements of a help text, one line each."""
    found = [] if parser.description else ["no description"]
    if not examples(parser.epilog or parser.description or ""):
        found.append("no example")
    return found + [f"{label(action)}: {wrong}" for action in parser._actions if (wrong := complaint(action))]


def label(action: argparse.Action) -> str:
    return "/".join(action.option_strings) or str(action.metavar or action.dest)


def complaint(action: argparse.Action) -> str | None:
    help_text = (action.help or "").strip()
    if len(help_text.split()) < 2:
        return f"says {help_text!r}"
    takes_value = action.nargs != 0 and action.option_strings
    if takes_value and not action.required and action.default not in (None, "", [], argparse.SUPPRESS):
        return None if re.search(r"\bdefault: ", help_text) else "tells no default"
    return None


def examples(text: str) -> list[list[str]]:
    """The commands below the line "examples:", as words."""
    _, _, below = text.partition("examples:\n")
    lines = (line.strip() for line in below.splitlines())
    commands = (line for line in lines if re.match(r"(streamparts|python -m) ", line))
    return [shlex.split(line.partition(" > ")[0], comments=True) for line in commands]


@each_command
def test_a_command_says_what_it_does_with_examples_and_a_word_on_every_flag(name: str) -> None:
    assert complaints(COMMANDS[name]) == []


@each_command
def test_examples_of_a_command_are_of_that_command_and_can_be_typed(name: str) -> None:
    for words in examples(COMMANDS[name].epilog or ""):
        assert words[:2] == ["streamparts", name]
        with contextlib.redirect_stderr(io.StringIO()) as said:
            try:
                PARSER.parse_args(with_show_kind(words[1:]))
            except SystemExit:
                pytest.fail(f"{shlex.join(words)}: {said.getvalue()}")


@each_command
def test_every_command_can_show_its_traceback(name: str) -> None:
    flags = {flag for action in COMMANDS[name]._actions for flag in action.option_strings}
    assert {"--debug", "--help"} <= flags


def test_the_first_help_lists_every_command_with_a_word() -> None:
    text = PARSER.format_help()
    listed = {action.dest: action.help for action in SUBPARSERS._choices_actions}
    assert listed.keys() == COMMANDS.keys()
    assert all(word and word in text for word in listed.values())
    assert "streamparts COMMAND --help" in text


@pytest.mark.parametrize("module", MODULES)
def test_a_program_of_the_checkout_does_the_same(module: str) -> None:
    parser = parser_of(module)
    assert complaints(parser) == []
    program = module.removesuffix(".__main__")
    assert parser.prog == f"python -m {program}"
    for words in examples(parser.epilog or ""):
        assert words[:3] == ["python", "-m", program]
        check_command(f"{module} --help", words)


@pytest.mark.parametrize("module", TRAINERS)
def test_a_trainer_does_the_same(module: str) -> None:
    """Its flags are generated from the fields of dataclasses, with their defaults."""
    pytest.importorskip("tyro")
    text = help_of(module)
    commands = examples(import_module(module).__doc__ or "")
    assert commands
    for words in commands:
        assert words[:3] == ["python", "-m", module]
        check_command(f"{module} --help", words)
        assert shlex.join(words) in text, "not shown, or not in one line"
    silent = re.findall(r"^│ (--[\w.-]+)[^│\n]*│\n│ {20,}\(default", text, re.MULTILINE)
    assert silent == [], "a default is all that is said of these"
    assert text.count("(default: ") > 20


def help_of(module: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as said, pytest.raises(SystemExit) as end:
        import_module(module).main(["--help"])
    assert not end.value.code
    return said.getvalue()


def test_a_help_text_with_gaps_is_noticed() -> None:
    parser = argparse.ArgumentParser("streamparts bad", epilog="examples:\n  nothing to type\n")
    parser.add_argument("file")
    parser.add_argument("--size", type=int, default=3, help="of the picture")
    parser.add_argument("--flag", action="store_true", help="word")
    assert complaints(parser) == [
        "no description",
        "no example",
        "file: says ''",
        "--size: tells no default",
        "--flag: says 'word'",
    ]
