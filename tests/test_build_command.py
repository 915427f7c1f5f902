"""`streamparts build`, `run --trust-engine` and `info` of engines, with a fake GPU."""

import json
from pathlib import Path

import pytest

from streamparts.backends.tensorrt.info import read_info, sidecar_path
from streamparts.cli import main
from tests.fake_tensorrt import FakeGpu


def test_a_model_becomes_an_engine_that_runs_a_video(
    model: Path, video: Path, fake_gpu: FakeGpu, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = tmp_path / "tiny.engine"
    flags = ["--frames", str(video), "--num-frames", "6", "--max-batch", "3", "--opt-batch", "2"]
    assert main(["build", str(model), "-o", str(engine), "--report", str(tmp_path / "r.json"), *flags]) == 0
    text = capsys.readouterr().out
    assert "with tensorrt 10.99.0 for Fake GPU (9.0), fp32" in text and "labels agree on 100.000% of pixels" in text
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["frames"] == str(video) and report["agreement"]["num_frames"] == 8
    assert [shape[0] for shape in fake_gpu.profile] == [1, 2, 3]
    tracks = {}
    for name in (engine, model):
        tracks[name] = tmp_path / f"{name.suffix[1:]}.jsonl"
        assert main(["run", str(video), "--model", str(name), "--tracks", str(tracks[name]), "--quiet"]) == 0
    lines = [[json.loads(line).get("parts") for line in path.read_text().splitlines()] for path in tracks.values()]
    assert lines[0] == lines[1] and len(lines[0]) > 30


def test_a_foreign_engine_runs_only_with_the_flag(
    built: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    words = ["run", str(video), "--model", str(built), "--tracks", str(tmp_path / "t.jsonl"), "--quiet"]
    assert main(words) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "t.jsonl").exists()
    assert main([*words, "--trust-engine"]) == 0


def test_an_engine_is_described_without_being_loaded(
    built: Path, fake_gpu: FakeGpu, capsys: pytest.CaptureFixture[str]
) -> None:
    made = fake_gpu.num_runtimes
    assert main(["info", str(built)]) == 0
    text = capsys.readouterr().out
    assert "tiny (assembly), fp32" in text and "yes, on a GPU" in text and read_info(built).plan_sha256 in text
    assert fake_gpu.num_runtimes == made


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["MODEL", "-o", "OUT/x.onnx"], ".engine"),
        (["MODEL", "-o", "OUT/nowhere/x.engine"], "does not exist; create it first"),
        (["MODEL", "-o", "OUT/there.engine"], "exists already; use --force"),
        (["MODEL", "-o", "OUT/x.engine", "--report", "OUT/there.engine"], "exists already; use --force"),
        (["OUT/there.engine", "-o", "OUT/x.engine"], "there.engine: "),
        (["OUT/missing.onnx", "-o", "OUT/x.engine"], "no such model file"),
        (["MODEL", "-o", "OUT/x.engine", "--frames", "OUT/missing.mp4"], "no such file"),
        (["MODEL", "-o", "OUT/x.engine", "--frames", "OUT"], "no video and no image in this folder"),
        (["MODEL", "-o", "OUT/x.engine", "--precision", "int8"], "--calibrate"),
        (["MODEL", "-o", "OUT/x.engine", "--target", "sm80"], "--target"),
    ],
)
def test_what_cannot_be_built_is_told_in_one_line(
    model: Path, fake_gpu: FakeGpu, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], reason: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "there.engine").write_bytes(b"precious")
    assert main(["build", *(word.replace("MODEL", str(model)).replace("OUT", str(out)) for word in words)]) == 1
    said = capsys.readouterr().err
    assert reason in said and said.count("\n") == 1
    assert [path.name for path in out.iterdir()] == ["there.engine"]
    assert (out / "there.engine").read_bytes() == b"precious"


@pytest.mark.parametrize(
    "words",
    [["--max-batch", "0"], ["--max-batch", "x"], ["--max-batch", "2", "--opt-batch", "3"], ["--precision", "fp8"]],
)
def test_wrong_flags_are_told_before_anything_is_loaded(model: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["build", str(model), "-o", "x.engine", *words])
    assert caught.value.code == 2


def test_without_a_gpu_the_full_library_builds_nothing(
    model: Path, fake_gpu: FakeGpu, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_gpu.cuda.num_gpus = 0
    assert main(["build", str(model), "-o", str(tmp_path / "x.engine")]) == 1
    assert "--target" in capsys.readouterr().err
    assert fake_gpu.num_builds == 0


def test_force_replaces_an_engine_and_its_description(built: Path, model: Path) -> None:
    before = read_info(built)
    assert main(["build", str(model), "-o", str(built), "--force"]) == 0
    assert read_info(built).plan_sha256 != before.plan_sha256
    assert sidecar_path(built).exists()
