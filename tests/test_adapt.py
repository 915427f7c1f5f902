"""Importing exported models, and adapting them to clips without labels."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from streamparts.backends.loading import load_model  # noqa: E402
from streamparts.bundle.load import find_model  # noqa: E402
from streamparts.errors import ModelError, StreampartsError  # noqa: E402
from streamparts.models.layers import Affine  # noqa: E402
from streamparts.models.readout import ExportedStudent  # noqa: E402
from streamparts.models.student import Student, StudentConfig, StudentOutput  # noqa: E402
from tests.tiny_model import write_tiny_model  # noqa: E402
from train import adapt  # noqa: E402
from train.bodies.shards import Shard, write_shard  # noqa: E402
from train.inputs.rendered import Truth  # noqa: E402
from train.inputs.views import box_mean  # noqa: E402
from train.judging.label_free import Steadiness, steadiness  # noqa: E402
from train.pretrained.exported import norms_from, read_student  # noqa: E402
from train.students.own_answers import OwnAnswers, mean_poses, mirror_images  # noqa: E402
from train.students.rehearsal import with_truth  # noqa: E402
from train.students.student import Lesson, StudentLoss, student_loss  # noqa: E402

PEOPLE = Path(__file__).parent.parent / "examples" / "people.mp4"


@pytest.fixture(scope="module")
def person() -> Student:
    return read_student("person")[0]


def test_a_student_that_was_read_back_gives_what_the_model_gives(person: Student) -> None:
    import onnxruntime

    frames = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), np.uint8)
    session = onnxruntime.InferenceSession(find_model("person"), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        read = ExportedStudent(person).eval()(torch.from_numpy(frames))
    for row, frame in enumerate(frames):
        scores, affines = session.run(["scores", "affines"], {"image": frame[None]})
        assert np.abs(read.scores[row].numpy() - scores[0]).max() < 1e-3
        assert np.abs(read.affines[row].numpy() - affines[0]).max() < 1e-3


def test_new_statistics_change_no_answer_in_evaluation_but_those_in_training() -> None:
    student, _ = read_student("person")
    images = torch.rand(4, 3, 128, 128)
    with torch.no_grad():
        before = student.eval()(images).logits
        learning_before = copy.deepcopy(student).train()(images).logits
        norms_from(student, images)
        after = student.eval()(images).logits
        learning_after = student.train()(images).logits
    assert (after - before).abs().max() < 1e-2
    assert (learning_after - before).abs().mean() < 0.05 * (learning_before - before).abs().mean()


def test_models_that_are_no_student_are_refused(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "tiny.onnx")
    with pytest.raises(ModelError, match="tiny"):
        read_student(str(path))


def test_mirror_images_are_pairs_of_names() -> None:
    assert mirror_images(["left_arm", "head", "right_arm"]).tolist() == [2, 1, 0]
    assert len(mirror_images(["part0", "part1"])) == 0


def test_the_mean_of_poses_weighs_views_by_how_far_they_agree() -> None:
    def pose(x: float, scale: float) -> Affine:
        return Affine(torch.tensor([[[1.0, 0.0]]]), torch.full((1, 1, 2), scale), torch.tensor([[[x, 0.0]]]))

    mean = mean_poses([pose(0.0, 1.0), pose(1.0, 4.0)], torch.tensor([[[3.0]], [[1.0]]]))
    assert mean.translation[0, 0].tolist() == pytest.approx([0.25, 0.0])
    assert mean.scale[0, 0].tolist() == pytest.approx([4**0.25] * 2)


def test_box_means_stop_at_the_borders() -> None:
    picture = torch.arange(12.0).reshape(1, 1, 3, 4)
    out = box_mean(picture, 3)[0, 0]
    assert out[1, 1].item() == pytest.approx(picture[0, 0, :3, :3].mean().item())
    assert out[0, 0].item() == pytest.approx(picture[0, 0, :2, :2].mean().item())
    assert out[2, 3].item() == pytest.approx(picture[0, 0, 1:, 2:].mean().item())


class AlwaysLeft(torch.nn.Module):
    """The bright area is the first of two parts, however the image is rotated."""

    def __init__(self) -> None:
        super().__init__()
        self.config = StudentConfig(2, 32)
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images: torch.Tensor) -> object:
        from streamparts.models.student import StudentOutput

        bright = images.mean(1)
        logits = torch.stack([0.5 - bright, bright - 0.5, 0 * bright - 1], 1) * 40
        poses = Affine(*(torch.ones(len(images), 2, 2) for _ in range(3)))
        return StudentOutput(logits, poses)


def test_sides_that_a_mirror_does_not_confirm_are_undecided() -> None:
    answers = OwnAnswers.__new__(OwnAnswers)
    answers.student, answers.device = AlwaysLeft(), torch.device("cpu")
    answers.order = torch.from_numpy(mirror_images(["left", "right"]))
    near = torch.zeros(1, 3, 48, 48)
    near[..., 16:32, 12:20] = 1
    masks, _ = answers.ask(near)
    body = masks[0, :, 14:18, 7:10].mean((1, 2))
    assert body[1] == pytest.approx(0.5, abs=0.1) and body[2] == pytest.approx(0.5, abs=0.1)


def test_steadiness_sees_flicker(person: Student) -> None:
    frame = next(iter(_frames(PEOPLE, 1)))
    still = np.stack([np.stack([frame, frame])] * 2)
    moved = np.stack([np.stack([frame, np.roll(frame, 40, axis=1)])] * 2)
    assert steadiness(person, still).consistency == 1.0
    assert steadiness(person, moved).consistency < 0.9


def _frames(clip: Path, count: int) -> list[np.ndarray]:
    from tests.media import decode
    from train.frames.readers import letterboxed

    return [letterboxed(image, 128) for image, _ in list(decode(clip))[:count]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapt")
    (folder / "clips").mkdir()
    shutil.copy(PEOPLE, folder / "clips")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.students.own_subject.MOST_FRAMES", 40)
        words = [
            "person",
            str(folder / "clips"),
            "--out",
            str(folder / "run"),
            "--minutes",
            "0.01",
            "--batch-size",
            "4",
        ]
        assert adapt.main(words) == 0
    return folder / "run"


@pytest.mark.slow
def test_an_adapted_model_keeps_its_names_and_is_exported(run: Path, tmp_path: Path) -> None:
    from export import onnx_model

    report = json.loads((run / "report.json").read_text())
    assert set(report) == {"before", "after"} and 0 < report["after"]["agreement"] <= 1
    assert (run / "before-after.png").stat().st_size > 1000
    assert onnx_model.main([str(run), "-o", str(tmp_path / "mine.onnx"), "--num-frames", "4"]) == 0
    spec, known = load_model(tmp_path / "mine.onnx").spec, load_model("person").spec
    assert (spec.parts, spec.method) == (known.parts, known.method)
    assert spec.subject is not None and "adapted" in spec.subject.source


@pytest.mark.slow
def test_the_subject_can_come_from_another_tools_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Masks of the right half of the image: crops, sheet and subject score are of what lies there."""
    clips, masks = tmp_path / "clips", tmp_path / "masks" / "people"
    clips.mkdir()
    masks.mkdir(parents=True)
    shutil.copy(PEOPLE, clips)
    frames = _frames(PEOPLE, 1000)
    half = np.zeros((128, 128), np.uint8)
    half[30:98, 70:120] = 255
    for row in range(len(frames)):
        cv2.imwrite(str(masks / f"{row:05d}.png"), half)
    words = ["person", str(clips), "--out", str(tmp_path / "run"), "--minutes", "0.01", "--batch-size", "4"]
    code = adapt.main([*words, "--subject", str(masks.parent)])
    said = capsys.readouterr().err
    assert "masks of masks" in said
    # a few steps on half a person need not be steadier, but nothing else may end it
    assert code == 0 or "fell from" in said
    if code == 0:
        about = json.loads((tmp_path / "run" / "subject.json").read_text())
        assert "masks of masks" in about["source"]
    assert adapt.main([*words[:2], "--out", str(tmp_path / "other"), "--subject", str(tmp_path / "no.onnx")]) == 1
    assert "no.onnx" in capsys.readouterr().err


def test_a_model_that_got_worse_is_refused() -> None:
    good = Steadiness(0.8, 0.9, 0.9, 0.2)
    adapt.require_no_worse(good, good)
    for worse in (Steadiness(0.7, 0.9, 0.9, 0.2), Steadiness(0.8, 0.8, 0.9, 0.2), Steadiness(1.0, 1.0, 0.9, 0.02)):
        with pytest.raises(adapt.WorseError):
            adapt.require_no_worse(good, worse)
    # parts may spread over a subject that was not found before
    adapt.require_no_worse(good, Steadiness(0.8, 0.9, 0.9, 0.9), None)


def test_clips_without_the_subject_and_wrong_flags_end_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.media import write_video

    write_video(tmp_path / "grey.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 12)
    assert adapt.main(["person", str(tmp_path), "--out", str(tmp_path / "run")]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("streamparts: error: ")
    assert adapt.main(["person", str(tmp_path), "--out", str(tmp_path / "other"), "--minutes", "0"]) == 1
    assert "--minutes" in capsys.readouterr().err


def a_lesson(count: int) -> Lesson:
    masks = torch.zeros(count, 3, 8, 8)
    masks[:, 1] = 1
    poses = Affine(torch.tensor([[[1.0, 0.0]] * 2] * count), torch.ones(count, 2, 2), torch.zeros(count, 2, 2))
    return Lesson(torch.rand(count, 3, 8, 8), masks, poses, masks[:, 1:2], torch.zeros(count, 1, 8, 8), 0.5)


def test_rehearsed_images_come_with_their_own_masks_and_poses() -> None:
    labels = torch.zeros(1, 8, 8, dtype=torch.int64)
    labels[:, 2:4, 2:4] = 2
    turn, scale = 0.3, torch.tensor([0.2, 0.5])
    a = torch.tensor([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]], dtype=torch.float32) * scale
    shapes, centres = a.expand(1, 2, 2, 2), torch.tensor([[[0.1, 0.2], [0.3, 0.4]]])
    truth = Truth(
        torch.rand(1, 3, 8, 8),
        labels,
        torch.zeros(1, 3, 2, 2),
        centres,
        shapes,
        torch.tensor([[0.0, 1.0]]),
        torch.zeros(1, 3),
        torch.arange(3),
    )
    both = with_truth(a_lesson(2), truth)
    assert both.masks.shape == (3, 3, 8, 8) and both.masks[2, 2].sum() == 4 and both.masks[2, 0].sum() == 60
    assert torch.allclose(both.affine.matrix()[2], torch.cat([shapes, centres.unsqueeze(-1)], -1)[0], atol=1e-6)
    assert both.counted is not None and both.trust is not None and both.trust.tolist() == [[1, 1], [1, 1], [0, 1]]
    # a part that is not trusted has no say in the poses
    outputs = StudentOutput(torch.zeros(3, 3, 8, 8), both.affine)
    wrong = Affine(both.affine.rotation, both.affine.scale, both.affine.translation.clone())
    wrong.translation[2, 0] += 5
    terms = [student_loss(StudentOutput(outputs.logits, pose), both, StudentLoss()) for pose in (both.affine, wrong)]
    assert terms[0]["translation"] == terms[1]["translation"] == 0


def test_rehearsal_is_for_models_of_the_same_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blank, poses = np.zeros((2, 8, 8, 3), np.uint8), np.zeros((2, 2, 2, 3), np.float32)
    facing, parts = np.zeros((2, 3), np.float32), ("left_wing", "right_wing")
    truth = (blank, blank[..., 0], blank[:, ::2, ::2].astype(np.int8), poses, poses[:, :, 0, 0], facing)
    write_shard(Shard(*truth, people=np.zeros(2, np.uint8), parts=parts), tmp_path / "birds" / "pictures_0000_00000")
    config = adapt.AdaptConfig("mouse.onnx", tmp_path, tmp_path / "run", rehearsal=tmp_path / "birds")
    with pytest.raises(StreampartsError, match=r"--rehearsal.*left_wing.*mouse.onnx"):
        adapt.open_rehearsal(config, ("ear", "tail"), 128)
    words = ["person", str(tmp_path), "--out", str(tmp_path / "run"), "--rehearsal", str(tmp_path)]
    assert adapt.main(words) == 1
    assert str(tmp_path) in capsys.readouterr().err.splitlines()[-1]
