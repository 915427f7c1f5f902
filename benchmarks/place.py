"""The context of a figure: machine, libraries, commit, and the load from other programs."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from streamparts.machine import installed_versions, processor_name, usable_cores

ROOT = Path(__file__).parents[1]
MADE = ("benchmarks/results", "benchmarks/RESULTS.md")
"""Files that measuring writes, which do not count as changes."""
BUSY_CORES = 0.15
"""Maximum mean load from other programs on an idle machine."""
_MEASURED = ("--", ".", *(f":(exclude){path}" for path in MADE))
PACKAGES = (
    "av",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "opencv-python-headless",
    "openvino",
    "torch",
    "tensorrt",
    "tensorrt-rtx",
)


def machine() -> dict[str, str | int]:
    return {
        "processor": processor_name(),
        "cores": usable_cores(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}, {platform.machine()}",
        "python": platform.python_version(),
    }


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Versions of the installed packages."""
    return installed_versions(packages)


def commit() -> str:
    """Commit of the checkout, followed by "+" if other files than the results were changed; "unknown" without git."""
    head = _git("rev-parse", "--short=7", "HEAD").strip()
    return (head + ("+" if _changes() else "")) if head else "unknown"


def python_with_pip() -> str:
    """This Python, or the one its environment was created with. Raises RuntimeError if neither has pip."""
    for python in (sys.executable, getattr(sys, "_base_executable", sys.executable)):
        if subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0:
            return str(python)
    raise RuntimeError("needs pip, which neither this environment nor the Python it was made with has")


def repository_files() -> list[str]:
    """Files of the checkout, including new ones, without ignored ones. Raises RuntimeError without git."""
    found = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    names = [name for name in found if name and (ROOT / name).is_file()]
    if not names:
        raise RuntimeError("needs git and a checkout, to know which files are the project's")
    return names


def _changes() -> str:
    return _git("status", "--porcelain", *_MEASURED)


def _git(*words: str) -> str:
    """Output of git; empty without git or a checkout."""
    try:
        result = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return result.stdout if result.returncode == 0 else ""


class Others:
    """Number of cores used by other programs since creation: figures of a busy machine are unreliable."""

    def __init__(self) -> None:
        self._begin = (time.monotonic(), _busy_seconds(), _own_seconds())

    def cores(self) -> float | None:
        """The mean; None if the system does not report it. Children count as own once they were waited for."""
        wall, busy, own = self._begin
        now = _busy_seconds()
        if now is None or busy is None:
            return None
        return max(0.0, (now - busy - (_own_seconds() - own)) / max(time.monotonic() - wall, 1e-3))


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _busy_seconds() -> float | None:
    """Busy seconds of all cores together since the machine started: all but idle and waiting for disks."""
    path = Path("/proc/stat")
    if not path.exists():
        return None
    user, nice, system, _, _, irq, soft_irq, steal = map(
        int, path.read_text(encoding="utf-8").split("\n")[0].split()[1:9]
    )
    return (user + nice + system + irq + soft_irq + steal) / os.sysconf("SC_CLK_TCK")
