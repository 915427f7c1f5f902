"""`streamparts doctor`: checks this machine, and whether runs work."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

DOCTOR_EXAMPLES = """examples:
  streamparts doctor
      takes about ten seconds; exit code 1 if no run can work
  streamparts doctor --json > doctor.json
      the same as JSON, for programs and bug reports
"""


def add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the others."""
    doctor = commands.add_parser(
        "doctor",
        help="check this machine and try a run",
        description="Check versions, backends, cameras, decoders and encoders, with reasons for what is not "
        "available, and whether a run works: a self-test of about five seconds tracks a test pattern "
        "and verifies its outputs.",
        epilog=DOCTOR_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    doctor.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    doctor.add_argument("--debug", action="store_true", help="show a traceback on errors")
    doctor.set_defaults(command=_doctor)


def _doctor(args: argparse.Namespace) -> int:
    from streamparts.doctor import examine
    from streamparts.doctor.report import block, is_well, to_json, verdict

    every = []
    width = min(shutil.get_terminal_size().columns, 120)
    with _ending_tidily():
        for examined in examine():
            every.append(examined)
            if not args.json:
                print(block(examined, width), end="\n\n", flush=True)
    print(to_json(every) if args.json else verdict(every))
    return 0 if is_well(every) else 1


@contextmanager
def _ending_tidily() -> Iterator[None]:
    """SIGTERM ends it like Ctrl-C, with its processes and files."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
