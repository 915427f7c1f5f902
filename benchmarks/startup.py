"""Cost of getting started: seconds of `import streamparts`, and megabytes of a fresh environment without extras.

python -m benchmarks.startup [--venv .venv-demo] [--demo]

With --demo, a copy of the checkout in a new folder runs `make demo` twice: the first run includes downloads; the second
has an existing environment.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.place import ROOT, python_with_pip, repository_files

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


def measure(venv: Path | None, repeats: int) -> dict[str, object]:
    python = str(venv / "bin" / "python") if venv else sys.executable
    seconds, torch_loaded = import_seconds(python, repeats)
    report: dict[str, object] = {"import seconds": round(seconds, 3), "loads torch": torch_loaded}
    if venv:
        report["environment MB"] = round(megabytes(venv), 1)
    return report


def demo(repeats: int) -> dict[str, object]:
    """Run `make demo` in a copy of the checkout; also return the result of `measure` for its environment. Raises
    RuntimeError if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        for name in repository_files():
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, Path(folder) / name)
        first, again = (_make_demo(folder) for _ in range(2))
        found = measure(Path(folder) / ".venv-demo", repeats)
    return {**found, "make demo seconds": first, "make demo again seconds": again}


def _make_demo(folder: str) -> float:
    began = time.perf_counter()
    command = ["make", "-C", folder, "demo", f"PYTHON={python_with_pip()}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"make demo failed: {result.stderr.strip().splitlines()[-1]}")
    return round(time.perf_counter() - began, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=Path, help="environment to measure (default: the running one)")
    parser.add_argument(
        "--demo", action="store_true", help="run `make demo` in a copy of the checkout, and measure that environment"
    )
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    print(json.dumps(demo(args.repeats) if args.demo else measure(args.venv, args.repeats)))


if __name__ == "__main__":
    main()
