"""The benchmark that compares all systems: their commands, equal time, the table, and the published masks."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from benchmarks.table import __main__ as program
from benchmarks.table import rendered
from benchmarks.table import systems as made
from benchmarks.table.halves import as_found, published_parts
from benchmarks.table.published import PUBLISHED, published_table
from benchmarks.table.systems import Shared, systems
from streamparts.errors import StreampartsError
from train import dff
from train.judging.found import Finder, RawParts
from train.judging.side_by_side import TILE
from train.labels.values import TRUE, EvaluationSet, LabelledFrame

SETTINGS = Shared(Path("clips"), 7, "background", (Path("a.npz"), Path("b.npz")), minutes=2.0)


def test_every_system_of_the_papers_has_a_command_that_its_trainer_takes() -> None:
    found = systems(replace(SETTINGS, subject="auto"))
    assert tuple(found) == program.NAMES
    assert tuple(systems(SETTINGS)) == program.NAMES[:-1]
    assert len(found) == 10  # N-EM and R-NEM are two, and so is Motion Co-part
    for system in found.values():
        words = ["clips", "--out", "run", *system.flags, "--seed", "3"]
        if system.name == "DFF":
            assert dff.parser().parse_args(words).num_parts == 7
            continue
        steps = [word for flag, count in system.scaled for word in (flag, str(count))]
        module = system.module + (".__main__" if system.module == "train.baselines" else "")
        config = import_module(module).parse_config([*words, *steps])
        assert (config.seed, config.steps) == (3, system.scaled[0][1])
        assert system.name in ("Assembly", "SCOPS", "ULD") or config.num_parts == 7 + ("nem" in system.name)
    assert "--loss.no-saliency" not in found["ULD"].flags
    assert found["ULD"].flags[found["ULD"].flags.index("--loss.semantic") + 1] == "0.0"


def test_steps_follow_from_the_processor_time_of_a_trial(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[dict[str, str]] = []

    def command(module: str, *words: str, check: bool = True) -> None:
        out, flags = Path(words[words.index("--out") + 1]), dict(zip(words[1::2], words[2::2], strict=False))
        out.mkdir(exist_ok=True)
        calls.append(flags)
        # warm-up 5 s, then half a second a step, and two seconds after each line for its picture
        rows = [{"stage": "x", "processor_seconds": seconds} for seconds in (5.0, 12.0, 16.0)]
        (out / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    monkeypatch.setattr(made, "command", command)
    system = made.System("one", "train.one", (), (("--steps", 1000), ("--fade-steps", 100)), 1000)
    about = made.train(system, SETTINGS, 0, tmp_path / "one-0")
    assert about == {"steps": {"--steps": 240, "--fade-steps": 24}, "minutes": 0.27}
    assert [flags["--steps"] for flags in calls] == ["24", "240"]
    assert made.train(system, SETTINGS, 0, tmp_path / "one-0") == about
    assert len(calls) == 2


def test_a_system_that_does_not_train_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(made, "command", lambda *words, check=True: None)
    system = made.System("one", "train.one", (), (("--steps", 10),), 10)
    with pytest.raises(StreampartsError, match="one"):
        made.train(system, SETTINGS, 0, tmp_path / "one-0")


def test_the_table_has_means_over_seeds_and_no_row_without_figures() -> None:
    sections = [{"foreground": {"iou": 0.5}, "parts": None}, {"foreground": {"iou": 0.7}, "parts": None}]
    columns = [program.Column("a", sections, [1.0, 2.0], {"--steps": 9}), program.Column("b", [{"foreground": None}])]
    lines = program.as_markdown(columns).splitlines()
    assert "| foreground IoU | 0.600 | - |" in lines
    assert "| processor minutes | 1.5 | - |" in lines
    assert "| steps | 9 | - |" in lines
    assert not any("part IoU" in line for line in lines)


def test_the_picture_has_a_column_for_the_truth_and_one_for_each_system() -> None:
    labels = np.zeros((32, 32), np.uint8)
    labels[8:24, 8:24] = 2
    frame = LabelledFrame(np.full((32, 32, 3), 90, np.uint8), 0, labels=labels)
    labelled = EvaluationSet("one", TRUE, 1, lambda: iter([frame]), part_names=("a", "b"))

    def everything(image: np.ndarray) -> RawParts:
        return RawParts(np.ones((32, 32), np.uint8), np.array([[[1, 0, 0], [0, 1, 0]]], np.float32), None)

    finder = Finder({}, ("x",), (32, 32), everything)
    drawn = program.picture([program.Column("a", find=program.finding(finder)), program.Column("published")], labelled)
    assert drawn.shape == (TILE + program.TITLE, 2 * TILE, 3)
    below = drawn[program.TITLE :]
    assert (below[TILE // 2 - 40, TILE // 2 - 40] != below[5, 5]).any()  # the true part on its background
    assert (below[5, 5] != below[5, TILE + 5]).any()  # the found part is everywhere


def test_published_figures_are_marked_as_of_other_data() -> None:
    lines = published_table(["SCOPS", "nem"]).splitlines()[2:]
    assert len(lines) == 5
    assert all("(other data)" in line for line in lines)
    assert any("0.251" in line for line in lines)
    assert all(set(values) <= set(program.NAMES) for *_, values in PUBLISHED)


def test_published_masks_are_read_from_colours_on_white() -> None:
    half = np.full((2, 3, 3), 250, np.uint8)
    half[0, 0], half[0, 1] = (255, 0, 0), (0, 255, 255)  # hues of 0 and 180 degrees
    assert published_parts(half).tolist() == [[1, 6, 0], [0, 0, 0]]
    found = as_found(published_parts(half))
    assert found.frame_hw == (2, 3)
    assert found.foreground().sum() == 2


def test_the_exercise_setting_has_pairs_of_small_pictures_with_three_true_parts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(rendered, "NUM_PAIRS", 2)
    monkeypatch.setattr(rendered, "NUM_UNSEEN_PAIRS", 3)
    clips, labelled = rendered.SETTINGS["exercise"].make(tmp_path, 6, 1)
    assert sorted(path.name for path in clips.glob("*.mp4")) == ["clip_0000.mp4", "clip_0001.mp4"]
    frames = list(labelled.read())
    assert [frame.clip for frame in frames] == [0, 0, 1, 1, 2, 2]
    assert all(frame.image.shape == (64, 64, 3) for frame in frames)
    assert labelled.part_names == ("upper body", "left leg", "right leg")
    assert {int(value) for frame in frames for value in np.unique(frame.labels)} == {0, 1, 2, 3}
    for first, second in zip(frames[::2], frames[1::2], strict=True):
        still = (first.labels == 0) & (second.labels == 0)
        assert np.abs(first.image.astype(int) - second.image)[still].mean() < 8
        assert (first.labels != second.labels).mean() > 0.002
    made_at = (tmp_path / "pairs" / "clip_0000.mp4").stat().st_mtime_ns
    rendered.SETTINGS["exercise"].make(tmp_path, 6, 1)
    assert (tmp_path / "pairs" / "clip_0000.mp4").stat().st_mtime_ns == made_at


def test_the_three_parts_of_a_puppet_are_its_legs_and_the_rest() -> None:
    assert [rendered.region(part) for part in ("torso", "left_forearm", "left_shin", "right_thigh")] == [0, 0, 1, 2]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--minutes", "0"], "--minutes"),
        (["--features", "none.npz"], "none.npz"),
        (["--labels", "magic:x"], "magic"),
        (["--setting", "exercise"], "--setting"),
    ],
)
def test_wrong_values_are_refused_before_anything_is_trained(
    words: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f.npz").touch()
    given = [str(tmp_path), "--labels", "puppets", "--features", str(tmp_path / "f.npz"), "--out", str(tmp_path / "t")]
    assert program.main([*given, *words]) == 1
    assert named in capsys.readouterr().err
    assert not (tmp_path / "t").exists()
