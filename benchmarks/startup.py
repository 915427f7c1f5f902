"""What it costs to begin: seconds of `import streamparts`, and megabytes of a fresh environment without extras.

python -m benchmarks.startup [--venv .venv-demo]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

IMPORT = """
import sys, time
begin = time.perf_counter()
import streamparts
print(time.perf_counter() - begin, "torch" in sys.modules)
"""


def import_seconds(python: str, repeats: int) -> tuple[float, bool]:
    """Median seconds of the import in a new process, and whether it loaded torch."""
    command = [python, "-c", IMPORT]
    lines = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(repeats)]
    return statistics.median(float(seconds) for seconds, _ in lines), any(torch == "True" for _, torch in lines)


def megabytes(folder: Path) -> float:
    """Size of all regular files below `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=Path, help="environment to measure (default: the running one)")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    python = str(args.venv / "bin" / "python") if args.venv else sys.executable
    seconds, torch_loaded = import_seconds(python, args.repeats)
    report: dict[str, object] = {"import seconds": round(seconds, 3), "loads torch": torch_loaded}
    if args.venv:
        report["environment MB"] = round(megabytes(args.venv), 1)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
