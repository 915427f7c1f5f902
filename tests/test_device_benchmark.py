"""The script for a GPU machine, rehearsed; and its kernel with known results around TensorRT's plumbing."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from benchmarks import device
from benchmarks.known_kernel import copy_on_host, known_results, known_slots
from tests.conftest import ROOT, environment
from tests.fake_cuda import FakeCuda


@pytest.mark.slow
def test_the_rehearsal_runs_every_part_where_much_is_missing(tmp_path: Path) -> None:
    """The GPU machine has torch, but not these packages."""
    blocked = "import sys\nfor name in ('av', 'decord', 'msgspec', 'tyro'):\n    sys.modules[name] = None\n"
    flags = ["--rehearse", "--budget", "5000", "--out", str(tmp_path)]
    run = f"from benchmarks.device import main\nraise SystemExit(main({flags}))"
    done = subprocess.run(
        [sys.executable, "-c", blocked + run],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**environment(), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "device.json").read_text())
    failed = {name: part["failed"] for name, part in report["parts"].items() if "failed" in part}
    assert set(failed) == {"onnxruntime-cuda"}, failed
    assert report["parts"]["plumbing"]["wrong"] == 0
    assert report["parts"]["training"]["absent"] == ["av", "decord", "tyro"]
    for name in ("training", "training-fused"):
        assert report["parts"][name]["steps_per_second"][-1] > 0 and report["parts"][name]["notices"] == []
    assert "not here" in report["parts"]["decoding"]["run --hwaccel gpu"]
    for name in device.VARIANTS:
        part = report["parts"][name]
        assert part["agreement"]["worst_labels"] > 0.99 and set(part["graphs"].values()) == {True}


def test_a_part_that_no_longer_fits_is_left_out_and_the_report_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = device.DeviceSettings(
        device.GpuInput(_bundle(), np.zeros((1, 8, 8, 3), np.uint8), True, (1,), 0.1), True, tmp_path
    )
    parts = [("one", 0.0, lambda: {"x": 1}), ("broken", 0.0, lambda: 1 / 0), ("long", 1e9, lambda: {"x": 3})]
    monkeypatch.setattr(device, "parts_of", lambda settings: parts)
    device.run_parts(settings, tmp_path / "out", 10.0)
    found = json.loads((tmp_path / "out" / "device.json").read_text())["parts"]
    assert found["one"]["x"] == 1
    assert found["broken"]["failed"].startswith("ZeroDivisionError")
    assert "s were left of the" in found["long"]["left out"]


def _bundle() -> object:
    from types import SimpleNamespace

    return SimpleNamespace(sha256="none")


def test_the_kernel_with_known_results_shows_a_batch_that_is_mixed_up() -> None:
    fake = FakeCuda()
    with ExitStack() as stack:
        slots = known_slots(
            fake, stack, lambda stream, work: fake.enqueue(stream, ("kernel",), work), copy_on_host, 32, 64
        )
        assert device._wrong_results(slots, 32, 30) == 0
        images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
        slots.submit(images)
        got = slots.collect()
        assert not np.array_equal(got.labels, known_results(images[::-1]).labels)
        slots.clear()
    assert fake.live == {}


@pytest.mark.cuda
def test_the_plumbing_of_tensorrt_runs_on_a_gpu_with_a_known_kernel() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no GPU: TensorRT's slots are not executed")
    settings = device.DeviceSettings(
        device.GpuInput(_bundle(), np.zeros((1, 8, 8, 3), np.uint8), True, (1,), 0.1), False, Path()
    )
    assert device.plumbing_part(settings)["wrong"] == 0
