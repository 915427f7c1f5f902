"""The same training in one process and in two that share its batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def train_in_one_and_two(script: str, data: Path, folder: Path) -> tuple[Path, Path]:
    """Run `script` with the words DATA OUT BATCH_SIZE, 4 in one process and 2 in each of two; the two OUTs."""
    file = folder / "script.py"
    file.write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, launcher, batch_size in (("one", [sys.executable], 4), ("two", torchrun, 2)):
        words = [*launcher, str(file), str(data), str(folder / name), str(batch_size)]
        done = subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
    return folder / "one", folder / "two"
