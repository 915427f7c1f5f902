"""The command line: `streamparts COMMAND`; each command has its own file."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import NoReturn

from streamparts import __version__
from streamparts.cli.build import add_build
from streamparts.cli.completion import add_completion
from streamparts.cli.convert import add_convert
from streamparts.cli.doctor import add_doctor
from streamparts.cli.info import add_bench, add_info, add_models, add_schema
from streamparts.cli.learn import add_learn
from streamparts.cli.name import add_name
from streamparts.cli.output_flags import with_show_kind
from streamparts.cli.run import add_run
from streamparts.cli.skeleton import add_skeleton
from streamparts.cli.streams import provide_streams
from streamparts.cli.trainers import add_trainers
from streamparts.cli.types import one_line

DOCUMENTATION = """examples and all flags: streamparts COMMAND --help
check this machine:     streamparts doctor
documentation:          docs/index.md of the source tree; start with docs/quickstart.md
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code: 0, 1 for an error, 128 + n if ended by signal n. Raises SystemExit
    with 2 for wrong usage."""
    provide_streams()
    words = sys.argv[1:] if argv is None else argv
    parser = _parser()
    if not words:
        parser.exit(2, parser.format_help())
    args = argparse.Namespace(debug="--debug" in words)
    try:
        args = parser.parse_args(with_show_kind(words))  # some flags' types import what may be too old
        command: Callable[[argparse.Namespace], int] = args.command
        code = command(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:  # the reader of our output, such as head, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing to flush at exit
        return 128 + signal.SIGPIPE if hasattr(signal, "SIGPIPE") else 1
    except Exception as error:
        if args.debug:
            raise
        print(f"streamparts: error: {one_line(error)}", file=sys.stderr)
        for note in getattr(error, "__notes__", ()):
            print(f"streamparts: warning: {note}", file=sys.stderr)
        return 1


def command_line() -> NoReturn:
    """Run `main` as a process. If a thread was abandoned, the process ends without the usual cleanup, which would touch
    what the thread hangs in."""
    code = main()
    if any(thread.name.startswith("streamparts") for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="streamparts",
        description="Track the parts of a moving object in video.",
        epilog=DOCUMENTATION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"streamparts {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (
        add_run, add_learn, add_models, add_info, add_build, add_bench, add_name, add_skeleton, add_convert, add_schema,
        add_doctor, add_trainers,
    ):  # fmt: skip
        add(commands)
    add_completion(commands, _parser)
    return parser
