"""Training on clips whose subject is found first: crops that follow it -> teacher -> parts -> student -> ONNX."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from export import onnx_model  # noqa: E402
from streamparts.backends.loading import load_model  # noqa: E402
from streamparts.errors import VideoError  # noqa: E402
from streamparts.models.checkpoint import read_config, read_metadata  # noqa: E402
from streamparts.models.student import StudentConfig  # noqa: E402
from tests.test_training import tiny  # noqa: E402
from train.assembly import train  # noqa: E402
from train.drawing.puppet_clips import write_clips  # noqa: E402
from train.subject.find import Effort  # noqa: E402

LITTLE = Effort(keys=24, steps=12, rounds=2, again=6, batch_size=4, side=64)


@pytest.fixture(scope="module")
def little_effort() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.subject.find.Effort", lambda: LITTLE)
        yield


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_clips(folder, "human", num_clips=2, num_frames=20, size_hw=(96, 96))
    return folder


@pytest.fixture(scope="module")
def run(clips: Path, tmp_path_factory: pytest.TempPathFactory, little_effort: object) -> Path:
    out = tmp_path_factory.mktemp("runs") / "close"
    train(tiny(clips, out, subject="motion", student_encoder="lite0", student_size="nano", steps=40, student_steps=6))
    return out


@pytest.mark.slow
def test_the_student_has_the_encoder_that_was_asked_for(run: Path) -> None:
    assert read_config(run / "student.safetensors", StudentConfig).encoder == "lite0"
    assert (run / "parts.png").stat().st_size > 1000


@pytest.mark.slow
def test_silhouettes_come_from_the_subject_and_are_learned(run: Path) -> None:
    rows = [row for row in map(json.loads, (run / "log.jsonl").read_text().splitlines()) if row["stage"] == "teacher"]
    assert rows[-1]["silhouette"] < rows[0]["silhouette"]


@pytest.mark.slow
def test_what_was_learned_is_exported_and_checked(run: Path, clips: Path, tmp_path: Path) -> None:
    output = tmp_path / "close.onnx"
    words = [str(run), "-o", str(output), "--num-frames", "4", "--frames", str(clips)]
    assert onnx_model.main(words) == 0
    assert load_model(output).spec.network["encoder"] == "lite0"


@pytest.mark.slow
def test_a_finished_run_goes_on_with_its_student(run: Path, clips: Path) -> None:
    before = read_metadata(run / "student.safetensors")[0]
    train(
        tiny(
            clips, run, subject="motion", student_encoder="lite0", student_size="nano", steps=40,
            student_steps=before + 2, resume=True,
        )
    )  # fmt: skip
    assert read_metadata(run / "student.safetensors")[0] == before + 2


def test_clips_in_which_nothing_moves_are_refused_before_training(tmp_path: Path, little_effort: object) -> None:
    import numpy as np

    from tests.media import write_video

    folder = tmp_path / "still"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    write_video(folder / "a.mp4", [noise] * 20)
    with pytest.raises(VideoError):
        train(tiny(folder, tmp_path / "run", subject="motion"))
    assert not (tmp_path / "run" / "teacher.safetensors").exists()
