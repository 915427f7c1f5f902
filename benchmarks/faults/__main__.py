"""Test the promises of docs/reliability.md: python -m benchmarks.faults [--only videos ...] [--size videos=1000 ...]

Prints a Markdown table. Without flags every trial has the promised size, which takes hours. The seeds are fixed. Needs
a checkout with the packages of the tests.
"""

from __future__ import annotations

import argparse
import time

from benchmarks.faults.trials import TRIALS, carried_out
from benchmarks.markdown import table
from benchmarks.place import commit, machine


def _size(text: str) -> tuple[str, int]:
    name, _, count = text.partition("=")
    if name not in TRIALS or not count.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a trial and a number like videos=1000")
    return name, int(count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=TRIALS, default=list(TRIALS), help="these trials (default: all)")
    parser.add_argument("--size", nargs="+", type=_size, default=[], metavar="NAME=N", help="repetitions of a trial")
    args = parser.parse_args()
    sizes = {name: count for name, (_, count, _) in TRIALS.items()} | dict(args.size)
    rows = []
    for name in (name for name in TRIALS if name in args.only):
        start = time.monotonic()
        what, came = carried_out(name, sizes[name])
        rows.append((name, f"{sizes[name]} {what}", came, f"{time.monotonic() - start:.0f} s"))
        print(" | ".join(rows[-1]), flush=True)
    print()
    print(table(("trial", "size", "outcome", "time"), rows))
    print(f"\nCommit {commit()}; {', '.join(f'{key} {value}' for key, value in machine().items())}.")


if __name__ == "__main__":
    main()
