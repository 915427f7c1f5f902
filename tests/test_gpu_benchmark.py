"""benchmarks.gpu with a fake GPU and without one: the figures are meaningless, but the report must be complete."""

import json
from pathlib import Path

import pytest

from benchmarks.gpu import main
from tests.fake_tensorrt import FakeGpu

QUICK = ["--batches", "2", "--seconds", "0.001", "--num-frames", "3"]


def report(model: Path, folder: Path, *flags: str) -> dict[str, dict[str, dict[str, object]]]:
    out = folder / "gpu.json"
    assert main(["--model", str(model), "--out", str(out), *QUICK, *flags]) == 0
    found: dict[str, dict[str, dict[str, object]]] = json.loads(out.read_text())
    return found


def test_a_part_that_fails_says_why_and_the_others_go_on(
    model: Path, fake_gpu: FakeGpu, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_gpu.cuda.num_gpus = 0
    found = report(model, tmp_path)
    for name in ("gpu", "tensorrt fp32", "tensorrt int8"):
        assert "no CUDA driver or GPU here" in str(found["parts"][name]["failed"])
    assert "failed" in found["parts"]["torch eager"]
    assert found["bars"]["b1 latency p50 ms"] is None and found["bars"]["frames per second"] is None
    assert "could not" in capsys.readouterr().out


def test_engines_are_built_compared_and_timed(model: Path, fake_gpu: FakeGpu, tmp_path: Path) -> None:
    found = report(model, tmp_path, "--precisions", "fp32")
    part = found["parts"]["tensorrt fp32"]
    assert set(part["frames_per_second"]) == set(part["frames_per_second_overlapped"]) == {"1", "2"}  # type: ignore[call-overload]
    assert part["agreement"]["worst_labels"] == 1  # type: ignore[index]
    assert found["parts"]["gpu"]["name"] == "Fake GPU"
    assert found["bars"]["frames per second"] is not None
    assert {"commit", "versions", "model_sha256", "command"} <= set(found)
    assert fake_gpu.cuda.live == {}, "every engine gives its memory back"


def test_one_precision_that_cannot_be_built_leaves_the_others(
    model: Path, fake_gpu: FakeGpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streamparts.backends.tensorrt import make

    sound = make.convert

    def convert(request: make.Request) -> object:
        if request.precision == "fp16":
            raise RuntimeError("no such\nconversion")
        return sound(request)

    monkeypatch.setattr(make, "convert", convert)
    parts = report(model, tmp_path, "--precisions", "fp16", "fp32")["parts"]
    assert parts["tensorrt fp16"]["failed"] == "RuntimeError: no such conversion"
    assert "failed" not in parts["tensorrt fp32"]
