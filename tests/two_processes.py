"""The same training in one process and in two that share its batch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def train_in_one_and_two(script: str, data: Path, folder: Path, machines: int = 1) -> tuple[Path, Path]:
    """Run `script` with the words DATA OUT BATCH_SIZE, 4 in one process and 2 in each of two; the two OUTs.

    With `machines` 2 each of the two is started by a torchrun of its own, as on two machines that share a disk.
    """
    file = folder / "script.py"
    file.write_text(script)
    torchrun = [sys.executable, "-m", "torch.distributed.run", *_of(machines)]
    _all_succeed([[sys.executable, str(file), str(data), str(folder / "one"), "4"]])
    _all_succeed([[*torchrun, str(file), str(data), str(folder / "two"), "2"]] * machines)
    return folder / "one", folder / "two"


def _of(machines: int) -> list[str]:
    if machines == 1:
        return ["--standalone", "--nproc-per-node", "2"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", address, "--rdzv-id", "two"]
    return ["--nnodes", str(machines), "--nproc-per-node", "1", *meeting]


def _all_succeed(commands: list[list[str]]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(words, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for words in commands
    ]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=240)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
            process.wait()
