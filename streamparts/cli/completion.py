"""`streamparts completion`: prints a shell script that completes commands, flags, values and files."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial

from streamparts.errors import MissingExtraError

SHELLS = ("bash", "zsh", "fish")
COMPLETION_EXAMPLES = """examples:
  streamparts completion bash
      prints the script; to use it, add this line to ~/.bashrc:
      eval "$(streamparts completion bash)"
  streamparts completion zsh > ~/.zfunc/_streamparts
      in ~/.zshrc, before compinit: fpath+=~/.zfunc
  streamparts completion fish > ~/.config/fish/completions/streamparts.fish
"""
_SUFFIXES = {
    "FILE.mp4": ("*.mp4",),
    "FILE.jsonl": ("*.jsonl",),
    "TRACKS.jsonl": ("*.jsonl",),
    "FILE.json": ("*.json",),
    "FILE.json|PAIRS": ("*.json",),
    "FILE.onnx": ("*.onnx",),
    "FILE.engine": ("*.engine",),
    "FILE.png": ("*.png",),
}
"""File patterns by the metavar of a flag."""
_ANY_FILE = ("SOURCE", "FILE", "INPUT", "OUTPUT", "VIDEO", "VIDEO|FOLDER", "MODEL|SOURCE")
_MODELS = ("MODEL", "NAME_OR_PATH")

Completers = dict[str, object]
"""Completion of a value for shtab: a function name, or a call, for each shell."""


def add_completion(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], make_parser: Callable[[], argparse.ArgumentParser]
) -> None:
    """Add the command; `make_parser` returns the parser of all commands."""
    completion = commands.add_parser(
        "completion",
        help="print a shell completion script",
        description="Print a shell script that completes commands, flags, values, models and files.",
        epilog=COMPLETION_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    completion.add_argument("shell", choices=SHELLS, help="shell to complete in")
    completion.add_argument("--debug", action="store_true", help="show a traceback on errors")
    completion.set_defaults(command=partial(_completion, make_parser))


def _completion(make_parser: Callable[[], argparse.ArgumentParser], args: argparse.Namespace) -> int:
    print(script(make_parser(), args.shell), end="")
    return 0


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the script for one of SHELLS. Raises MissingExtraError without shtab."""
    try:
        import shtab
    except ImportError as error:
        raise MissingExtraError(f"shtab cannot be imported ({error}); pip install shtab") from error
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for listed in action._choices_actions:  # use the short help, where shtab uses the whole description
                action.choices[listed.dest].description = listed.help
    for action in _values(parser):
        if action.metavar in _MODELS:
            action.complete = _models()  # type: ignore[attr-defined]
        elif action.metavar == "DIR":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.metavar in _ANY_FILE:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif str(action.metavar) in _SUFFIXES:
            action.complete = shtab.glob(*_SUFFIXES[str(action.metavar)])  # type: ignore[attr-defined]
    text: str = shtab.complete(parser, shell)
    return text if text.endswith("\n") else f"{text}\n"


def _values(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """All arguments that take a value, of all commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _values(command)
        elif action.nargs != 0 and not action.choices:
            yield action


def _models() -> Completers:
    """Complete bundled models and model files."""
    from streamparts.bundle.shipped import model_names

    names = " ".join(model_names())
    patterns = ("*.onnx", "*.engine")
    bash = "".join(f"  compgen -f -X '!{pattern}' -- \"$1\"\n" for pattern in patterns)
    zsh = (
        f"  _alternative 'models:model:({names})' "
        "'files:model file:_path_files -g \"*.(onnx|engine)\"' 'folders:folder:_path_files -/'\n"
    )
    fish = "  __fish_complete_path (commandline -ct) | string match -r '.*(?:\\.onnx|\\.engine|/)(?:\\t.*)?$'\n"
    return {
        "bash": "_streamparts_model_files",
        "zsh": "_streamparts_models",
        "fish": "(_streamparts_models)",
        "preamble": {
            "bash": f'_streamparts_model_files() {{\n  compgen -W "{names}" -- "$1"\n{bash}  compgen -d -- "$1"\n}}\n',
            "zsh": f"_streamparts_models() {{\n{zsh}}}\n",
            "fish": f"function _streamparts_models\n  printf '%s\\n' {names}\n{fish}end\n",
        },
    }
