"""The trainers' commands: found in the wheel or the checkout, and one clear line if something is missing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import streamparts
from streamparts.cli import main
from streamparts.errors import MissingExtraError, ModelError
from streamparts.learning import trainers
from tests.conftest import ROOT, environment


def test_every_command_is_a_module_with_a_main_function() -> None:
    for trainer in trainers.TRAINERS.values():
        text = (ROOT / f"{trainer.module.replace('.', '/')}.py").read_text(encoding="utf-8")
        assert "\ndef main(argv: Sequence[str] | None = None) -> int:" in text
        assert '__name__ == "__main__"' in text, "python -m runs it in a checkout"


def test_the_packaged_module_comes_before_the_checkouts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert trainers.locate("train.assembly") == "train.assembly"
    monkeypatch.setattr(trainers, "find_spec", lambda name: name if name == "streamparts.train" else None)
    assert trainers.locate("train.assembly") == "streamparts.train.assembly"
    assert trainers.locate("export.onnx_model") == "export.onnx_model"


def test_without_both_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(streamparts, "__file__", str(tmp_path / "streamparts" / "__init__.py"))
    with pytest.raises(MissingExtraError, match=r"streamparts\[train\]"):
        trainers.locate("train.assembly")
    assert main(["train", "clips", "--out", "run"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(("command", "extra"), [("train", "train"), ("render-people", "bodies")])
def test_a_missing_package_names_the_extra(
    command: str, extra: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(name: str) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(trainers, "import_module", fail)
    assert main([command, "--help"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "torch" in line and f"pip install 'streamparts[{extra}]'" in line


def test_a_fault_of_the_trainers_themselves_is_no_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ModuleNotFoundError("No module named 'train.gone'", name="train.gone")

    monkeypatch.setattr(trainers, "import_module", fail)
    with pytest.raises(ModuleNotFoundError) as caught:
        trainers.load_command("train")
    assert not isinstance(caught.value, MissingExtraError)


def test_a_folder_train_in_the_working_directory_is_not_taken_for_the_trainers(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    words = ["-m", "streamparts", "render-puppets", "--help"]
    done = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and done.stdout.startswith("usage: streamparts render-puppets"), done.stderr


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ModelError("no model\nhere"), "streamparts: error: no model here"),
        (ValueError("7 is odd"), "streamparts: error: 7 is odd"),
        (ZeroDivisionError("by zero"), "streamparts: error: unexpected ZeroDivisionError: by zero; run again with"),
    ],
)
def test_errors_are_one_line_and_with_debug_are_raised(
    error: Exception, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        raise error

    assert trainers.exit_code(work, debug=False) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(line)
    with pytest.raises(type(error)):
        trainers.exit_code(work, debug=True)


def test_ctrl_c_ends_a_command_quietly(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise KeyboardInterrupt

    assert trainers.exit_code(work, debug=False) == 130
    assert capsys.readouterr().err == ""


def test_importing_streamparts_does_not_import_the_trainers() -> None:
    code = "import streamparts.cli as cli, sys; cli._parser(); print(*{'train', 'export', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
    assert importlib.util.find_spec("streamparts.train") is None, "a checkout has them beside the package"


@pytest.mark.slow
def test_only_rendering_needs_the_extra_bodies() -> None:
    """Training on rendered images, and adapting, need the extra `train` alone."""
    pytest.importorskip("torch")
    pytest.importorskip("tyro")
    code = "import sys; sys.modules['numba'] = sys.modules['anny'] = None\n"
    code += "import train.adapt, train.supervised, train.held_out, train.evaluate, train.assembly, train.scops"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(), check=True)
