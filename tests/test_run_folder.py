"""A run folder: two runs are not mixed, and a resumed run is the same run."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from streamparts.errors import StreampartsError
from streamparts.models.run_files import CONFIG, TEACHER
from train.running.loop import trainer_exit_code
from train.running.run_folder import Stopped, open_run


@dataclass(frozen=True)
class Weights:
    motion: float = 20.0
    edges: float = 4.0


@dataclass(frozen=True)
class Settings:
    clips: Path
    out: Path
    steps: int = 10
    seed: int = 0
    threads: int = 0
    loss: Weights = field(default_factory=Weights)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a run that has written a checkpoint."""
    made = Settings(tmp_path / "clips", tmp_path / "run")
    open_run(made.out, made, resume=False)
    (made.out / TEACHER).write_bytes(b"")
    return made


def test_a_second_run_is_refused(settings: Settings) -> None:
    with pytest.raises(StreampartsError, match="--resume"):
        open_run(settings.out, settings, resume=False)


def test_a_run_that_failed_before_its_first_checkpoint_can_be_started_again(settings: Settings) -> None:
    (settings.out / TEACHER).unlink()
    open_run(settings.out, replace(settings, seed=7), resume=False)
    assert json.loads((settings.out / CONFIG).read_text())["seed"] == 7


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        ({"seed": 1}, "--seed"),
        ({"clips": Path("elsewhere")}, "--clips"),
        ({"loss": Weights(edges=0.0)}, "--loss.edges"),
    ],
)
def test_a_resumed_run_with_other_settings_is_refused_and_nothing_is_written(
    settings: Settings, change: dict[str, object], flag: str
) -> None:
    before = (settings.out / CONFIG).read_bytes()
    with pytest.raises(StreampartsError) as caught:
        open_run(settings.out, replace(settings, **change), resume=True)  # type: ignore[arg-type]
    assert flag in str(caught.value) and len(str(caught.value).splitlines()) == 1
    assert (settings.out / CONFIG).read_bytes() == before


def test_a_resumed_run_may_be_longer_and_use_other_threads(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(settings.clips.parent)
    same = replace(settings, clips=Path("clips"))  # the same folder, written differently
    open_run(settings.out, replace(same, steps=99, threads=1), resume=True)
    stored = json.loads((settings.out / CONFIG).read_text())
    assert (stored["steps"], stored["threads"]) == (99, 1)


def test_an_unreadable_config_is_one_line(settings: Settings) -> None:
    (settings.out / CONFIG).write_text("not JSON")
    with pytest.raises(StreampartsError, match="cannot be read"):
        open_run(settings.out, settings, resume=True)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (Stopped(signal.SIGTERM, 7), 143, "stopped by SIGTERM at step 7; continue with --resume"),
        (KeyboardInterrupt(), 130, "stopped; continue with --resume"),
        (StreampartsError("no clips"), 1, "streamparts: error: no clips"),
        (ValueError("odd"), 1, "streamparts: error: unexpected ValueError: odd"),
    ],
)
def test_how_a_trainer_ends_is_its_exit_code_and_one_line(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        raise error

    assert trainer_exit_code(work, debug=False) == code
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert said.startswith(line)
