import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from streamparts.backends.choice import BACKENDS, Entry, find_backends
from streamparts.backends.loading import load_model
from streamparts.bundle.load import Bundle
from streamparts.bundle.shipped import model_names
from streamparts.cli import main
from streamparts.errors import BackendError, VideoError
from streamparts.models.segmenters import SEGMENTERS
from streamparts.runtime import bench as bench_module
from streamparts.runtime.bench import Times, bench, drawn_frame
from streamparts.tracking.segment import PartSegmenter
from tests.exported import exported_bundle

SHORT = 0.02
FULL = [name for name in model_names() if not name.endswith("-int8")]
"""Bundled models in full precision: PyTorch runs no int8."""


def test_every_backend_that_can_is_timed_and_the_others_say_why(bundle: Bundle) -> None:
    report = bench(bundle, batches=(1, 3), seconds=SHORT)
    can = [item.name for item in find_backends(bundle) if item.reason is None and item.name != "torch"]
    assert [(row.backend, row.batch) for row in report.rows] == [(name, batch) for name in can for batch in (1, 3)]
    assert set(report.not_timed) == set(BACKENDS) - {*can, "torch"}
    for row in report.rows:
        assert row.num_runs >= bench_module.FEWEST_RUNS
        assert row.fps > 0
        assert row.network_cpu_ms > 0
        for times in (row.network_ms, row.frame_ms):
            assert 0 < times.p50 <= times.p95 <= times.p99


@pytest.mark.slow
@pytest.mark.parametrize("model", ["student", "scops", "teacher", *SEGMENTERS, *FULL])
def test_every_exported_model_is_timed_on_every_installed_backend(model: str, tmp_path: Path) -> None:
    bundle = load_model(model) if model in FULL else exported_bundle(model, tmp_path)  # type: ignore[arg-type]
    report = bench(bundle, batches=(1, 3), seconds=0)
    installed = [item.name for item in find_backends() if item.reason is None and item.name != "torch"]
    assert [(row.backend, row.batch) for row in report.rows] == [(name, n) for name in installed for n in (1, 3)]
    assert {"onnxruntime", "torch-cpu"} <= set(installed)


def test_the_whole_way_of_a_frame_contains_the_network(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Times come from a clock that moves by 1 ms in each run of the network, and by 10 ms in each scaling."""
    now = [0.0]
    monkeypatch.setattr(bench_module.time, "perf_counter", lambda: now[0])
    real_run = bench_module.open_backend(bundle, "onnxruntime").run
    real_prepare = PartSegmenter.prepare

    class Slow:
        name = "slow"

        def run(self, images: np.ndarray) -> object:
            now[0] += 0.001
            return real_run(images)

    def prepare(segmenter: PartSegmenter, frame: object) -> object:
        now[0] += 0.010
        return real_prepare(segmenter, frame)  # type: ignore[arg-type]

    monkeypatch.setattr(PartSegmenter, "prepare", prepare)
    row = bench_module.time_backend(bundle, Slow(), [drawn_frame()], 4, 0.1)  # type: ignore[arg-type]
    assert row.network_ms == Times(1.0, 1.0, 1.0)
    assert row.frame_ms == pytest.approx(Times((4 * 10 + 1) / 4, 10.25, 10.25))
    assert row.fps == pytest.approx(1000 / 10.25, abs=0.1)


def test_a_backend_that_fails_does_not_stop_the_others(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> object:
        raise BackendError("out of order")

    def breaks(*_: object) -> object:
        raise RuntimeError("of an engine's own kind\nin two lines")

    monkeypatch.setitem(BACKENDS, "openvino", Entry(lambda bundle: None, fails))  # type: ignore[arg-type]
    monkeypatch.setitem(BACKENDS, "torch-cpu", Entry(lambda bundle: None, breaks))  # type: ignore[arg-type]
    report = bench(bundle, backends=["openvino", "torch-cpu", "onnxruntime"], batches=[1], seconds=SHORT)
    assert [row.backend for row in report.rows] == ["onnxruntime"]
    assert report.not_timed == {
        "openvino": "out of order",
        "torch-cpu": "unexpected RuntimeError: of an engine's own kind in two lines",
    }


def test_the_table_has_a_line_for_each_measurement(
    capsys: pytest.CaptureFixture[str], model_path: Path, video: Path
) -> None:
    args = ["bench", str(model_path), "--backend", "onnxruntime", "torch-cpu", "--batch", "1", "2"]
    assert main([*args, "--seconds", str(SHORT), "--video", str(video), "--threads", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "tiny, 64x64, fp32, 40 frames of 128x96 of numbered.mp4"
    assert "threads 1" in lines[1]
    assert "onnxruntime " in lines[2]
    table = [line.split() for line in lines[6:]]
    assert [line[:2] for line in table[:2]] == [["onnxruntime", "1"], ["onnxruntime", "2"]]
    assert all(len(line) == 10 and all(float(word) > 0 for word in line[1:]) for line in table[:2])
    assert " ".join(table[2]) == "torch-cpu the model file does not describe its network; export it again"


def test_json_says_machine_versions_and_figures(
    command: Callable[..., subprocess.CompletedProcess[str]], model_path: Path, bundle: Bundle
) -> None:
    result = command(
        "bench", model_path, "--backend", "onnxruntime", "--batch", 2, "--seconds", SHORT, "--json"
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["schema"] == "streamparts.bench/1"
    assert report["model"]["sha256"] == bundle.sha256
    assert report["machine"]["cores"] >= 1
    assert {"Python", "numpy"} <= set(report["versions"])
    (row,) = report["rows"]
    assert (row["backend"], row["batch"]) == ("onnxruntime", 2)
    assert set(row["network_ms"]) == set(row["frame_ms"]) == {"p50", "p95", "p99"}


def test_nothing_timed_is_an_error_that_says_why(capsys: pytest.CaptureFixture[str], model_path: Path) -> None:
    assert main(["bench", str(model_path), "--backend", "torch-cpu"]) == 1
    assert "does not describe its network" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [["--backend", "tpu"], ["--batch", "0"], ["--batch", "x"], ["--seconds", "0"], ["--seconds", "nan"],
     ["--threads", "-1"]],
)  # fmt: skip
def test_wrong_usage_is_refused(capsys: pytest.CaptureFixture[str], model_path: Path, wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["bench", str(model_path), *wrong])
    assert caught.value.code == 2
    assert wrong[1] in capsys.readouterr().err


def test_a_video_that_is_not_there_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(VideoError):
        bench(bundle, video=tmp_path / "none.mp4")
