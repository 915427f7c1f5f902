"""The whole process at a tiny size: raw clips -> teacher -> parts -> student -> ONNX -> tracks."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lightning_fabric import Fabric  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

import streamparts  # noqa: E402
from benchmarks.ablation import VARIANTS, row  # noqa: E402
from export import onnx_model  # noqa: E402
from export.parity import TOLERANCES  # noqa: E402
from export.trained import given_names, part_names  # noqa: E402
from streamparts.backends.loading import load_model  # noqa: E402
from streamparts.bundle.agreement import Tolerance  # noqa: E402
from streamparts.errors import ModelError, StreampartsError, VideoError  # noqa: E402
from streamparts.models import assembly  # noqa: E402
from streamparts.models.assembly import Assembly, AssemblyConfig  # noqa: E402
from streamparts.models.assembly_paper import PaperAssemblyConfig  # noqa: E402
from streamparts.models.checkpoint import load_weights, read_metadata  # noqa: E402
from streamparts.models.layers import _has_bfloat16  # noqa: E402
from streamparts.models.student import STUDENT_SIZES, Student, StudentConfig, StudentSize  # noqa: E402
from streamparts.models.trained import load_student  # noqa: E402
from streamparts.sources.rescale import Rescaler  # noqa: E402
from tests.two_processes import train_in_one_and_two  # noqa: E402
from train import evaluate  # noqa: E402
from train.assembly import main, train  # noqa: E402
from train.drawing.puppet_clips import write_clips  # noqa: E402
from train.judging.finding import open_finder  # noqa: E402
from train.presets.assembly import TrainingConfig, parse_config  # noqa: E402
from train.running.quick import checks_at, compiled, drawn_ahead  # noqa: E402
from train.running.run_folder import RunLog, require_finite  # noqa: E402

SMALL = AssemblyConfig(
    num_parts=5, latent_channels=6, widths=(8, 12, 16, 24, 24), feature_channels=24, decoder_width=12
)
SMALL_PAPER = PaperAssemblyConfig(3, 64, 4, (8, 8, 8), (16, 16, 16), 32, (8, 8, 8, 8, 8))


def tiny(clips: Path, out: Path, **changes: object) -> TrainingConfig:
    base = TrainingConfig(
        clips=clips, out=out, steps=60, student_steps=40, batch_size=4, student_batch_size=8, student_pixels=64,
        bootstrap_steps=30, gate_steps=20, checkpoint_every=20, network=SMALL, learning_rate=3e-3,
        student_learning_rate=6e-3, device="cpu", subject="background", student_encoder="unet",
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_clips(folder, "human", num_clips=3, num_frames=24, size_hw=(96, 96))
    (folder / "broken.mp4").write_text("not a video")
    return folder


@pytest.fixture(scope="module")
def run(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    train(tiny(clips, out))
    return out


def log_of(run: Path, stage: str) -> list[dict[str, float]]:
    return [row for row in map(json.loads, (run / "log.jsonl").read_text().splitlines()) if row["stage"] == stage]


@pytest.mark.slow
def test_the_teacher_learns_to_rebuild_a_few_clips(run: Path) -> None:
    first, *_, last = log_of(run, "teacher")
    assert last["target"] < 0.75 * first["target"]
    assert last["silhouette"] < 0.75 * first["silhouette"]


@pytest.mark.slow
def test_the_teacher_is_evaluated_as_the_student_is(run: Path, tmp_path: Path) -> None:
    sets, few = {}, ["--puppet-num-clips", "1", "--puppet-num-frames", "6", "--puppet-size", "96"]
    for name, model in (("teacher", run / "teacher.safetensors"), ("student", run)):
        out = tmp_path / f"{name}.json"
        assert evaluate.main([str(model), "puppets", *few, "--out", str(out)]) == 0
        sets[name] = json.loads(out.read_text())
    num_parts = len(json.loads((run / "parts.json").read_text())["groups"])
    assert len(sets["teacher"]["parts"]) == len(sets["student"]["parts"]) == num_parts
    (teacher,), (student,) = (x["sets"].values() for x in sets.values())
    assert 0 < teacher["foreground"]["iou"] <= 1 and teacher["frames"] == student["frames"]
    with pytest.raises(ModelError, match=r"parts\.json and config\.json"):
        (tmp_path / "teacher.safetensors").write_bytes((run / "teacher.safetensors").read_bytes())
        open_finder(str(tmp_path / "teacher.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"merge": False}, {"follow_camera": False}, {"soft_argmax": False}])
def test_each_addition_can_be_left_out(clips: Path, tmp_path: Path, change: dict[str, bool]) -> None:
    network = replace(SMALL, soft_argmax=change.pop("soft_argmax", True))
    train(tiny(clips, tmp_path / "x", network=network, steps=20, student_steps=0, **change))
    groups = json.loads((tmp_path / "x" / "parts.json").read_text())["groups"]
    assert not (tmp_path / "x" / "student.safetensors").exists()
    assert all(len(group) == 1 for group in groups) or change != {"merge": False}
    assert open_finder(str(tmp_path / "x" / "teacher.safetensors")).part_names


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_of_the_ablation_changes_the_run(variant: str) -> None:
    default, changed = (parse_config(["x", "--out", "y", *VARIANTS[name]]) for name in ("default", variant))
    assert (changed == default) == (variant == "default")


def test_the_ablation_tells_means_and_seeds(tmp_path: Path) -> None:
    for seed, iou in enumerate((0.4, 0.6)):
        figures = {"foreground": {"iou": 0.9}, "parts": {"iou": iou, "merged_iou": 0.7}, "pose": None, "time": None}
        (tmp_path / f"{seed}.json").write_text(json.dumps({"sets": {"puppets:human": figures}}))
    paths = [tmp_path / f"{seed}.json" for seed in (0, 1)]
    assert row("default", paths) == "| default | 0.9 | 0.5 | 0.7 | - | - | 0.400, 0.600 |"


@pytest.mark.slow
def test_the_student_learns_from_the_teacher(run: Path) -> None:
    first, *_, last = log_of(run, "student")
    assert last["masks"] < 0.9 * first["masks"]


@pytest.mark.slow
def test_a_run_leaves_a_contact_sheet_of_its_parts(run: Path) -> None:
    assert (run / "parts.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_an_interrupted_run_resumes_to_the_very_same_weights(clips: Path, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "resumed"
    short = tiny(clips, out)

    class Stopped(Exception): ...

    add = RunLog.add

    def stop_at_40(self: RunLog, step: int, terms: dict[str, torch.Tensor]) -> None:
        if step == 40:
            raise Stopped
        add(self, step, terms)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.assembly.RunLog.add", stop_at_40)
        with pytest.raises(Stopped):
            train(short)
    assert read_metadata(out / "teacher.safetensors")[0] == 40
    train(replace(short, resume=True))
    for name in ("teacher", "student"):
        resumed, whole = (load_file(folder / f"{name}.safetensors") for folder in (out, run))
        assert resumed.keys() == whole.keys()
        assert all(torch.equal(resumed[key], whole[key]) for key in whole)


@pytest.mark.slow
def test_a_terminated_run_saves_its_step_and_resumes_to_the_very_same_weights(
    clips: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "stopped"

    add = RunLog.add

    def stop_at_7(self: RunLog, step: int, terms: dict[str, torch.Tensor]) -> None:
        add(self, step, terms)
        if step == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.assembly.RunLog.add", stop_at_7)
        patch.setattr("train.assembly.parse_config", lambda *_: tiny(clips, out))
        assert main([]) == 128 + signal.SIGTERM
    assert "stopped by SIGTERM at step 7; continue with --resume" in capsys.readouterr().err
    assert read_metadata(out / "teacher.safetensors")[0] == 7
    train(tiny(clips, out, resume=True, student_steps=2))
    resumed, whole = (load_file(folder / "teacher.safetensors") for folder in (out, run))
    assert all(torch.equal(resumed[key], whole[key]) for key in whole)


class Screen(io.StringIO):
    """A standard error that is or is not a terminal."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


@pytest.mark.parametrize("is_terminal", [False, True])
def test_training_says_a_line_every_so_often_where_standard_error_is_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    screen = Screen(is_terminal)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr("train.running.run_folder.PlainLines.is_due", lambda lines: True)
    log = RunLog(tmp_path, "teacher", 3, 10, 5, Fabric(accelerator="cpu", devices=1))
    for step in (3, 4):
        log.add(step, {"loss": torch.tensor(1.0)})
    log.close()
    said = [line for line in screen.getvalue().splitlines() if line.endswith("steps per second")]
    assert [line.partition(",")[0] for line in said] == (
        [] if is_terminal else ["teacher: step 4 of 10", "teacher: step 5 of 10"]
    )


@pytest.mark.slow
def test_the_paper_preset_trains_and_exports(clips: Path, tmp_path: Path) -> None:
    words = [str(clips), "--out", str(tmp_path / "paper"), "--preset", "paper", "--features", "random"]
    preset = parse_config([*words, "--device", "cpu"])
    out = replace(preset, network=SMALL_PAPER, steps=3, student_steps=2, student_pixels=64, checkpoint_every=2)
    train(out)
    assert log_of(tmp_path / "paper", "teacher")[-1].keys() >= {
        "source",
        "target",
        "equivariance",
        "canonical_concentration",
    }
    assert load_student(tmp_path / "paper" / "student.safetensors").config.image_size == 64


@pytest.mark.slow
def test_triplets_of_frames_train_to_the_end(clips: Path, tmp_path: Path) -> None:
    train(tiny(clips, tmp_path / "triplets", neighbours=2, steps=20, student_steps=10))
    rows = log_of(tmp_path / "triplets", "teacher")
    assert all(row["velocity"] > 0 for row in rows) and rows[-1]["target"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("network", [SMALL, SMALL_PAPER], ids=["fast", "paper"])
def test_mixed_precision_trains_teacher_and_student_with_losses_in_float32(
    clips: Path, tmp_path: Path, network: AssemblyConfig | PaperAssemblyConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds: dict[str, set[torch.dtype]] = {}
    products: set[torch.dtype] = set()

    def spy(stage: str, step: int, terms: dict[str, torch.Tensor], check: bool = True) -> torch.Tensor:
        kinds.setdefault(stage, set()).update(term.dtype for term in terms.values())
        return require_finite(stage, step, terms, check)

    def watch(module: torch.nn.Module, _: object, output: object) -> None:
        if isinstance(module, torch.nn.Conv2d) and module.training:
            assert isinstance(output, torch.Tensor)
            products.add(output.dtype)

    monkeypatch.setattr("train.assembly.require_finite", spy)
    with torch.nn.modules.module.register_module_forward_hook(watch):
        train(tiny(clips, tmp_path, network=network, steps=3, student_steps=3, precision="bf16-mixed", neighbours=2))
    assert kinds == {"teacher": {torch.float32}, "student": {torch.float32}}
    assert torch.bfloat16 in products, "the networks computed in 16 bits"
    for stage in ("teacher", "student"):
        weights = load_file(tmp_path / f"{stage}.safetensors")
        numbers = [value for value in weights.values() if value.is_floating_point()]  # beside counts of batches
        assert all(value.dtype == torch.float32 and value.isfinite().all() for value in numbers)


@pytest.mark.slow
def test_a_run_too_short_to_find_parts_says_so_in_one_line(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for area in ("MIN_AREA", "THIN_AREA"):
        monkeypatch.setattr(f"train.students.merge.{area}", 2.0)  # more than any slot has
    words = [str(clips), "--out", str(tmp_path / "run"), "--steps", "1", "--batch-size", "1", "--device", "cpu"]
    assert main([*words, "--subject", "background"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("streamparts: error: no part found: nothing moves")
    assert (tmp_path / "run" / "teacher.safetensors").exists() and not (tmp_path / "run" / "parts.json").exists()


@pytest.mark.slow
def test_the_log_says_how_fast_it_goes_and_means_stay_exact(run: Path, tmp_path: Path) -> None:
    assert all(row["steps_per_second"] > 0 for row in log_of(run, "teacher") + log_of(run, "student"))
    log = RunLog(tmp_path, "teacher", 0, 3, 3, Fabric(accelerator="cpu", devices=1))
    for step, value in enumerate((1.0, 2.0, 6.0)):
        log.add(step, {"loss": torch.tensor(value)})
    log.close()
    assert log_of(tmp_path, "teacher")[0]["loss"] == 3


def test_batches_drawn_ahead_come_in_order_with_their_steps() -> None:
    def draw(step: int) -> tuple[int, str]:
        return step, threading.current_thread().name

    for device in ("cpu", "cuda"):
        drawn = list(drawn_ahead(draw, 3, 7, torch.device(device)))
        assert [(step, seen) for step, (seen, _) in drawn] == [(step, step) for step in range(3, 7)]
        assert all(name.startswith("drawn-ahead") == (device == "cuda") for _, (_, name) in drawn)
    assert list(drawn_ahead(draw, 5, 5, torch.device("cuda"))) == []


def test_a_gpu_is_not_waited_for_in_every_step_but_before_anything_is_written() -> None:
    gpu = torch.device("cuda")
    assert [step for step in range(60) if checks_at(step, step == 59, gpu)] == [0, 25, 50, 59]
    assert all(checks_at(step, False, torch.device("cpu")) for step in range(60))
    wrong = {"source": torch.tensor(float("inf"))}
    assert not require_finite("teacher", 1, wrong, check=False).isfinite()


@pytest.mark.slow
def test_a_compiled_teacher_learns_the_same(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Traced by the compiler's front end; Inductor's code is not built here."""
    compile_with, ways = torch.compile, []

    def traced(module: torch.nn.Module, **way: str) -> object:
        ways.append(way)
        return compile_with(module, backend="eager")

    monkeypatch.setattr(torch, "compile", traced)
    with caplog.at_level("WARNING", logger="train"):
        for how in ("off", "graphs"):
            settings = {"steps": 3, "student_steps": 0, "checkpoint_every": 1, "merge": False}
            train(tiny(clips, tmp_path / how, compile=how, **settings))
    assert ways == [{"backend": "cudagraphs"}] and "not compiled" not in caplog.text
    plain, quick = (log_of(tmp_path / how, "teacher") for how in ("off", "graphs"))
    for one, other in zip(plain, quick, strict=True):
        assert other["target"] == pytest.approx(one["target"], rel=1e-3)
        assert other["steps_per_second"] > 0


def test_what_cannot_be_compiled_trains_as_it_is_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(module: torch.nn.Module, mode: str) -> object:
        assert mode == "reduce-overhead"

        def fails(*_: object) -> object:
            raise RuntimeError("no C compiler\nhere")

        return fails

    monkeypatch.setattr(torch, "compile", broken)
    double = compiled(torch.nn.Linear(1, 1), "fused")
    with caplog.at_level("WARNING", logger="train"):
        results = [double(torch.ones(1)) for _ in range(2)]
    assert torch.equal(*results)
    assert caplog.text.count("not compiled, and slower: RuntimeError: no C compiler here") == 1


def test_a_loss_that_is_not_finite_is_named_with_its_step() -> None:
    terms = {"source": torch.tensor(1.0), "motion": torch.tensor(float("nan"))}
    with pytest.raises(StreampartsError, match=r"step 12\b.*motion.*nan"):
        require_finite("teacher", 12, terms)


def test_a_preset_changes_the_defaults_and_flags_change_the_preset(tmp_path: Path) -> None:
    cpu = parse_config([str(tmp_path), "--out", "x"])
    gpu = parse_config([str(tmp_path), "--out", "x", "--preset", "gpu", "--steps", "7"])
    assert cpu == TrainingConfig(tmp_path, Path("x"))
    paper = parse_config([str(tmp_path), "--out", "x", "--preset", "paper", "--network.num-parts", "6"])
    assert (paper.network, paper.gate) == (PaperAssemblyConfig(num_parts=6), 0)
    assert (gpu.steps, gpu.batch_size, gpu.network.image_size) == (7, 32, 128)


@pytest.mark.parametrize(("size", "millions"), [("nano", 0.5), ("small", 1.0), ("base", 3.0)])
def test_the_students_have_the_sizes_they_are_sold_as(size: StudentSize, millions: float) -> None:
    network = Student(StudentConfig(10, **STUDENT_SIZES[size]))
    count = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    assert 0.8 * millions <= count <= millions


TWO_PROCESSES = """
import json, sys
from pathlib import Path
from tests.test_training import tiny
from train.assembly import train

clips, out, batch_size = sys.argv[1:]
train(tiny(Path(clips), Path(out), steps=6, student_steps=1, batch_size=int(batch_size), checkpoint_every=3, threads=1))
"""


@pytest.mark.slow
def test_two_machines_have_the_losses_of_one_with_the_doubled_batch(clips: Path, tmp_path: Path) -> None:
    """Two launchers that find each other over the network; test_scops_training.py has two processes of one."""
    folders = train_in_one_and_two(TWO_PROCESSES, clips, tmp_path, machines=2)
    one, two = (log_of(folder, "teacher") for folder in folders)
    assert len(one) == len(two) == 2
    for term in one[0].keys() - {"stage", "step", "seconds", "processor_seconds", "steps_per_second"}:
        assert two[0][term] == pytest.approx(one[0][term], rel=0.003), term


@pytest.mark.slow
def test_two_runs_are_never_mixed_in_one_folder(clips: Path, run: Path) -> None:
    with pytest.raises(StreampartsError, match="--resume"):
        train(tiny(clips, run))


def test_a_folder_without_videos_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no video in"):
        train(tiny(tmp_path, tmp_path / "out"))


@pytest.mark.slow
def test_weights_of_another_shape_are_refused(run: Path) -> None:
    with pytest.raises(ModelError, match="does not fit"):
        load_weights(run / "teacher.safetensors", Assembly(replace(SMALL, num_parts=7)))


def test_one_frames_result_does_not_depend_on_its_batch() -> None:
    torch.manual_seed(0)
    network = Assembly(SMALL).eval()
    images = torch.rand(3, 3, 64, 64)
    with torch.no_grad():
        together, alone = network(images)[0][1], network(images[1:2])[0][0]
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.slow
def test_the_exported_run_streams_a_clip(clips: Path, run: Path, tmp_path: Path) -> None:
    model = tmp_path / "small.onnx"
    assert onnx_model.main([str(run), "-o", str(model), "--num-frames", "6"]) == 0
    spec = load_model(model).spec
    assert spec.input_hw == (64, 64) and spec.method == "assembly"
    found = list(streamparts.track(str(clips / "clip_0000.mp4"), model=str(model)))
    assert len(found) == 24
    assert all(np.isfinite(tracks.affines).all() for tracks in found)
    assert found[0].centers.shape == (spec.num_parts, 2)


@pytest.mark.slow
def test_pictures_serve_for_the_comparison_where_there_are_no_videos(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(9):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((40, 60, 3), 20 * number, np.uint8))
    words = [str(run), "-o", str(tmp_path / "x.onnx"), "--frames", str(folder), "--num-frames", "3"]
    assert onnx_model.main(words) == 0


@pytest.mark.slow
def test_nothing_is_written_when_the_graph_differs_from_the_network(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "bad.onnx"
    monkeypatch.setitem(TOLERANCES, "fp32", Tolerance(labels=0.999, pose_px=1e-9, score=1e-3, odd=1))
    assert onnx_model.main([str(run), "-o", str(model), "--num-frames", "2", "--report", str(tmp_path / "r.json")]) == 1
    said = capsys.readouterr().err
    assert "Nothing was written" in said and "bad.worst.png" in said and said.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.worst.png", "r.json"]
    report = json.loads((tmp_path / "r.json").read_text())
    assert not report["passes"] and len(report["frames"]) == 2 + 7
    assert cv2.imread(str(tmp_path / "bad.worst.png")).shape == (3 * 64, 3 * 3 * 64, 3)


@pytest.mark.slow
def test_parts_are_named_once_at_export_and_the_number_of_names_must_fit(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    num_parts = len(json.loads((run / "parts.json").read_text())["groups"])
    assert part_names(given_names("a, b", run), 2) == ("a", "b")
    assert given_names("", run) == tuple(f"part{k}" for k in range(num_parts))
    (tmp_path / "names.txt").write_text("# a note\nhead\n\n tail \n")
    assert given_names("", tmp_path) == ("head", "tail")
    names = ",".join(f"limb{k}" for k in range(num_parts + 1))
    assert onnx_model.main([str(run), "-o", str(tmp_path / "x.onnx"), "--parts", names]) == 1
    assert f"the network has {num_parts} parts" in capsys.readouterr().err


def test_export_says_in_one_line_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert onnx_model.main([str(tmp_path), "-o", str(tmp_path / "x.onnx")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_export_asks_for_frames_when_the_clips_of_the_run_are_gone(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = shutil.copytree(run, tmp_path / "run")
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps({**config, "clips": str(tmp_path / "gone")}))
    assert onnx_model.main([str(moved), "-o", str(tmp_path / "x.onnx")]) == 1
    said = capsys.readouterr().err
    assert "no longer exist; name a video or a folder with --frames" in said and said.count("\n") == 1
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.slow
def test_the_teacher_is_exported_as_a_model_of_the_same_kind(clips: Path, run: Path, tmp_path: Path) -> None:
    model = tmp_path / "teacher.onnx"
    assert onnx_model.main([str(run), "-o", str(model), "--teacher", "--num-frames", "4"]) == 0
    spec = load_model(model).spec
    assert spec.network["kind"] == "teacher" and spec.num_parts == len(given_names("", run))
    found = [tracks.labels for tracks in streamparts.track(str(clips / "clip_0000.mp4"), model=str(model))]
    finder = open_finder(str(run / "teacher.safetensors"))
    with streamparts.open_source(str(clips / "clip_0000.mp4")) as source:
        wanted = finder.run(Rescaler().rgb(next(iter(source)), spec.input_hw)).labels
    assert (found[0] == wanted).mean() > 0.999


@pytest.mark.parametrize(("known", "expected"), [({"avx2": True}, False), ({"amx_bf16": True}, True), ({}, False)])
def test_bfloat16_is_used_only_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, known: dict[str, bool], expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert _has_bfloat16.__wrapped__("cpu") is expected
    monkeypatch.setattr(assembly, "has_bfloat16", _has_bfloat16.__wrapped__)
    decoder, used = assembly.PartDecoder(6, 8).train(), list[torch.dtype]()
    decoder.layers.register_forward_hook(lambda module, inputs, output: used.append(output.dtype))
    decoder(torch.rand(1, 6, 4, 4))
    assert used == [torch.bfloat16 if expected else torch.float32]
