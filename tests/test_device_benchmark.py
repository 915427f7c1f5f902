"""The script for a GPU machine, rehearsed; and its kernel with known results around TensorRT's plumbing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import device
from benchmarks.guarded import Part, run_guarded
from benchmarks.known_kernel import copy_on_host, known_results, known_slots
from tests.conftest import ROOT, environment
from tests.fake_cuda import FakeCuda

PACKAGES_OF_ENTRY_2 = 35_800_000 + 10_000_000 + 300_000
"""Bytes of PyAV, the needed part of PyNvVideoCodec, and msgspec, as GPU.md lists them."""


PACKAGES = ("av", "decord", "msgspec", "tyro")
"""The GPU machine has none of these."""


def run_without(packages: tuple[str, ...], code: str) -> subprocess.CompletedProcess[str]:
    blocked = f"import sys\nfor name in {packages}:\n    sys.modules[name] = None\n"
    return subprocess.run(
        [sys.executable, "-c", blocked + code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**environment(), "OMP_NUM_THREADS": "1"},
        check=False,
    )


@pytest.mark.slow
def test_the_rehearsal_runs_every_part_where_much_is_missing(tmp_path: Path) -> None:
    """The GPU machine has torch, but not these packages."""
    flags = ["--rehearse", "--budget", "5000", "--out", str(tmp_path)]
    run = f"from benchmarks.device import main\nraise SystemExit(main({flags}))"
    done = run_without(PACKAGES, run)
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


def test_a_part_that_crashes_or_hangs_costs_only_itself() -> None:
    ended, held = os.pipe()

    def crash() -> dict[str, int]:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    def hang() -> dict[str, int]:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=[held]).wait()
        return {}

    found: dict[str, dict[str, object]] = {}
    parts: list[Part] = [
        ("one", 30.0, lambda: {"batches": {1: 2}}),
        ("crash", 30.0, crash),
        ("two", 30.0, lambda: {"pid": os.getpid()}),
        ("hang", 2.0, hang),
        ("gone", 30.0, lambda: os._exit(7)),  # type: ignore[list-item]
        ("three", 30.0, lambda: {"pid": os.getpid()}),
    ]
    run_guarded(parts, 300.0, found.__setitem__, patience=2.0)
    assert list(found) == [name for name, _, _ in parts]
    assert found["one"]["batches"] == {"1": 2}
    assert found["crash"]["failed"] == "its process ended, signal SIGKILL"
    assert str(found["hang"]["failed"]).startswith("stopped after ")
    assert found["gone"]["failed"] == "its process ended, exit code 7"
    assert found["two"]["pid"] != found["three"]["pid"]
    os.close(held)
    assert os.read(ended, 1) == b"", "what a part started must end with it: nobody may hold the pipe"
    os.close(ended)


def test_parts_after_one_that_lost_the_device_have_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an illegal address, when every call of CUDA fails, and torch with it."""

    def lose() -> dict[str, int]:
        def synchronize() -> None:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

        cuda = SimpleNamespace(is_initialized=lambda: True, synchronize=synchronize)
        sys.modules["torch"] = SimpleNamespace(cuda=cuda)  # type: ignore[assignment]
        raise RuntimeError("illegal memory access")

    found: dict[str, dict[str, object]] = {}
    parts: list[Part] = [
        ("one", 0.0, lambda: {"pid": os.getpid()}),
        ("broken", 0.0, lambda: 1 / 0),  # type: ignore[list-item, return-value]
        ("two", 0.0, lambda: {"pid": os.getpid()}),
        ("lose", 0.0, lose),
        ("three", 0.0, lambda: {"pid": os.getpid()}),
    ]
    run_guarded(parts, 60.0, found.__setitem__)
    assert found["lose"]["failed"] == "RuntimeError: illegal memory access"
    assert found["one"]["pid"] == found["two"]["pid"] != found["three"]["pid"]


def test_some_parts_are_run_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = device.DeviceSettings(
        device.GpuInput(_bundle(), np.zeros((1, 8, 8, 3), np.uint8), True, (1,), 0.1), True, tmp_path
    )
    parts = [(name, 0.0, lambda: {"x": 1}) for name in ("probe", "kernels", "decoding")]
    monkeypatch.setattr(device, "parts_of", lambda settings: parts)
    assert list(device.run_parts(settings, tmp_path / "out", 10.0, ["decoding", "probe"])) == ["probe", "decoding"]
    with pytest.raises(ValueError, match="quick"):
        device.run_parts(settings, tmp_path / "out", 10.0, ["quick"])


def _bundle() -> object:
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


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["train.supervised", "train.scops"])
def test_a_trainer_of_pictures_starts_without_what_reads_videos(trainer: str) -> None:
    """As GPU.md has it: one call cannot carry PyAV, decord and enough pictures."""
    run = f"from benchmarks.absent import main\nmain(['{trainer}', '--help'])"
    done = run_without(PACKAGES[:2], run)
    assert done.returncode == 0 and "--steps" in done.stdout, done.stderr


def test_what_a_gpu_machine_is_sent_fits() -> None:
    """GPU.md: tracked files without the models beside the package's own, and the packages of entry 2, in 64 MiB."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a checkout")
    sizes = {name: (ROOT / name).stat().st_size for name in listed.stdout.split("\0") if (ROOT / name).is_file()}
    sent = sum(size for name, size in sizes.items() if not name.startswith("models/streamparts_models/"))
    assert sent + PACKAGES_OF_ENTRY_2 <= 64 << 20, f"{sent} bytes of tracked files: leave more out in GPU.md"


@pytest.mark.cuda
def test_the_plumbing_of_tensorrt_runs_on_a_gpu_with_a_known_kernel() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no GPU: TensorRT's slots are not executed")
    settings = device.DeviceSettings(
        device.GpuInput(_bundle(), np.zeros((1, 8, 8, 3), np.uint8), True, (1,), 0.1), False, Path()
    )
    assert device.plumbing_part(settings)["wrong"] == 0
