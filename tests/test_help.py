"""`--help`: a description, valid examples, and a help text with the default for every flag."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shlex
from importlib import import_module

import pytest

from streamparts.cli import _parser, main
from streamparts.cli.output_flags import with_show_kind
from streamparts.learning.trainers import TRAINERS
from tests.test_docs import check_command

PARSER = _parser()
(SUBPARSERS,) = (action for action in PARSER._actions if isinstance(action, argparse._SubParsersAction))
COMMANDS: dict[str, argparse.ArgumentParser] = dict(SUBPARSERS.choices)
GENERATED = {"train", "train-baseline", "train-scops", "train-supervised", "adapt"}
"""Commands whose flags are generated from dataclasses."""

each_command = pytest.mark.parametrize("name", sorted(COMMANDS.keys() - TRAINERS.keys()))


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of a trainer's command."""
    pytest.importorskip("torch")
    pytest.importorskip("tyro")
    loaded = import_module(TRAINERS[command].module)
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


@pytest.mark.parametrize("command", sorted(TRAINERS.keys() - GENERATED))
def test_a_trainers_command_does_the_same(command: str) -> None:
    parser = parser_of(command)
    assert complaints(parser) == []
    assert parser.prog == f"streamparts {command}"
    assert "--debug" in parser.format_help()
    for words in examples(parser.epilog or ""):
        assert words[:2] == ["streamparts", command]
        check_command(f"{command} --help", words)


@pytest.mark.parametrize("command", sorted(GENERATED))
def test_generated_flags_are_shown_in_the_same_form(command: str) -> None:
    """tyro makes the flags; train/presets/flags.py prints them with argparse."""
    pytest.importorskip("tyro")
    text = help_of(command)
    shown = examples(text)
    assert shown
    for words in shown:
        assert words[:2] == ["streamparts", command]
        check_command(f"{command} --help", words)
    assert re.match(rf"usage: streamparts {command} \[-h\] \[OPTIONS\] \w+", text)
    silent = re.findall(r"^  (--\S+(?: \S+)*)(?:\n {20,}|  +)\(default", text, re.MULTILINE)
    assert silent == [], "a default is all that is said of these"
    config = import_module(TRAINERS[command].module)
    flags = set(re.findall(r"(?<=  )--[\w.-]+(?=[ ,\n])", text))
    assert {"--debug", "--out", "--resume" if command != "adapt" else "--minutes"} <= flags
    assert text.count("(default: ") > 5
    assert hasattr(config, "parse_config")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "--out"),
        (["clips", "--out", "run", "--steps", "many"], "--steps"),
        (["clips", "--out", "run", "--stepss", "3"], "--stepss"),
        (["clips", "--out", "run", "--schedule", "none"], "--schedule"),
        (["clips", "--out", "run", "--preset", "none"], "--preset"),
    ],
)
def test_wrong_flags_of_a_trainer_are_one_line(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tyro")
    with pytest.raises(SystemExit) as end:
        main(["train", *words])
    usage, *lines = capsys.readouterr().err.splitlines()
    assert end.value.code == 2 and usage.startswith("usage: streamparts train")
    assert lines[-1].startswith("streamparts train: error: ") and reason in lines[-1]


def help_of(command: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as said, pytest.raises(SystemExit) as end:
        main([command, "--help"])
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
