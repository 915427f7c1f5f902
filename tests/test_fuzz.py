"""Two thousand damaged models, none of which may crash, hang on to memory or be believed."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import ROOT, environment
from tests.tiny_model import write_tiny_model

NUM_DAMAGED = 2000


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory limit is set by Linux's means")
def test_a_damaged_model_runs_soundly_or_is_refused_in_one_line(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny.onnx", (16, 16))
    words = [sys.executable, "-m", "tests.damage", str(model), "0", str(NUM_DAMAGED)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, cwd=ROOT, env=environment())
    rows = [line.split(" ", 1) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"the process died of seed {rows[-1] if rows else 'none'}: {done.stderr[-500:]}"
    assert [row for row in rows if len(row) != 2 or row[1] not in ("runs", "refused")] == []
    assert [int(seed) for seed, _ in rows] == list(range(NUM_DAMAGED))
    counts = Counter(result for _, result in rows)
    assert min(counts["runs"], counts["refused"]) > NUM_DAMAGED / 20, "the damage is too light or too heavy to tell"
