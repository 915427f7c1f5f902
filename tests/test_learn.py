"""From a camera or clips to a model in one call."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import streamparts
from streamparts.cli import main
from streamparts.errors import MissingExtraError, ModelError, VideoError
from streamparts.learning import learn as learning
from streamparts.learning.fitting import best_model
from streamparts.learning.record import record
from streamparts.sources import open_source
from tests.media import decode, write_video

PEOPLE = Path(__file__).parent.parent / "examples" / "people.mp4"


def test_a_recording_keeps_times_and_pictures(tmp_path: Path) -> None:
    said: list[str] = []
    with open_source("test://?size=161x90&fps=10&seconds=5") as source:
        assert record(source, tmp_path / "clip.mp4", 2.0, said.append) == 20
    times = [float(time) for _, time in decode(tmp_path / "clip.mp4")]
    assert times == pytest.approx([k / 10 for k in range(20)], abs=1e-3)
    assert "turn around" in said[0]


def test_a_source_of_one_frame_is_refused(tmp_path: Path) -> None:
    with open_source("test://?size=64x64&fps=10&seconds=5") as source, pytest.raises(VideoError, match="at least two"):
        record(source, tmp_path / "clip.mp4", 0.05, print)


def test_the_model_that_fits_is_the_one_that_finds_its_subject(tmp_path: Path) -> None:
    assert best_model(PEOPLE, print) == "person"
    frames = np.full((12, 120, 160, 3), 200, np.uint8)
    for k, frame in enumerate(frames):
        frame[40:70, 10 * k : 10 * k + 30] = 30
    write_video(tmp_path / "square.mp4", frames)
    assert best_model(tmp_path, print) == ""


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The trainers' commands, which are not run; the export leaves a model."""
    seen: list[tuple[str, ...]] = []

    def step(command: str, *words: str) -> None:
        seen.append((command, *words))
        if command == "export":
            shutil.copy(Path(streamparts.__file__).parent / "assets" / "person.onnx", words[2])

    monkeypatch.setattr(learning, "_step", step)
    return seen


def test_clips_that_no_model_knows_are_learned_from_scratch(
    tmp_path: Path, steps: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["test://?size=64x64&fps=10&seconds=3", "--out", str(tmp_path / "arm"), "--record", "1", "--minutes", "2.5"]
    assert main(["learn", *words, "--begin", "scratch", "--no-show"]) == 0
    folder = tmp_path / "arm"
    assert steps[0][:3] == ("train", str(folder / "clips"), "--out")
    assert "--preset" in steps[0] and steps[0][steps[0].index("--steps") + 1] == "250"
    assert steps[1][0] == "export" and (folder / "clips" / "recorded.mp4").exists()
    out = capsys.readouterr()
    assert out.out == f"{folder / 'model.onnx'}\n" and "--show" in out.err


def test_clips_that_a_model_knows_adapt_it(tmp_path: Path, steps: list[tuple[str, ...]]) -> None:
    made = streamparts.learn(PEOPLE, tmp_path / "people", minutes=1, say=lambda line: None)
    assert made.began_as == "person" and made.model == tmp_path / "people" / "model.onnx"
    clips = tmp_path / "people" / "clips"
    assert steps[0] == ("adapt", "person", str(clips), "--out", str(made.run), "--minutes", "1")
    assert [clip.name for clip in clips.iterdir()] == [PEOPLE.name], "the trainers take folders"


def test_a_folder_in_use_and_missing_trainers_are_refused_before_anything(
    tmp_path: Path, steps: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ModelError, match="not empty"):
        streamparts.learn(PEOPLE, tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="train"):
        streamparts.learn(PEOPLE, tmp_path / "new")
    assert not steps and not (tmp_path / "new").exists()


def test_a_step_that_fails_ends_with_its_own_words(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("import sys; sys.exit('streamparts: error: nothing moves in these clips; film it moving')")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "PROGRAM", (sys.executable, str(broken)))
        with pytest.raises(VideoError, match=r"^nothing moves"):
            learning._step("train")
    assert "nothing moves" in capfd.readouterr().err


def test_the_flags_are_those_of_the_quick_preset() -> None:
    pytest.importorskip("torch")
    from train.presets.assembly import parse_config

    quick = ["clips", "--out", "run", "--preset", "quick"]
    same = parse_config([*quick, *learning._steps_for(learning.QUICK_MINUTES)])
    assert same == parse_config(quick), "the preset's own steps at its own minutes"
    words = [*quick, *learning._steps_for(10)]
    config = parse_config(words)
    assert (config.steps, config.student_steps, config.gate_steps) == (1000, 800, 150)
