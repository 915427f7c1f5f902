"""Targets of the student: the teacher's predictions, cached if that saves time."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("decord")

from streamparts.models.assembly import Assembly, AssemblyConfig  # noqa: E402
from streamparts.models.groups import PartGroups  # noqa: E402
from train.frames.clips import Clip, ClipFolder  # noqa: E402
from train.frames.scenery import Scenery  # noqa: E402
from train.frames.transforms import Draws  # noqa: E402
from train.inputs.pairs import PairSampler  # noqa: E402
from train.students import student  # noqa: E402
from train.students.student import Answers, prepare_lesson  # noqa: E402

TINY = AssemblyConfig(num_parts=3, image_size=32, widths=(8, 8, 8, 8, 8), feature_channels=8, decoder_width=8)
GROUPS = PartGroups(((0,), (1, 2)), ((0.0, 0.0),) * 2, (0.0, 0.3), ((1.0, 1.0),) * 2)


class Counted(Assembly):
    """Counts the frames it is asked about."""

    asked = 0

    def forward(self, images: torch.Tensor, gate: float = 3.0) -> object:
        self.asked += images.shape[0]
        return super().forward(images, gate)


@pytest.fixture
def teacher() -> Counted:
    torch.manual_seed(0)
    return Counted(TINY).eval()


@pytest.fixture
def folder() -> ClipFolder:
    rng = np.random.default_rng(0)
    videos = (rng.integers(0, 256, (n, 64, 64, 3), dtype=np.uint8) for n in (11, 19))
    return ClipFolder(tuple(Clip(str(len(video)), video, Scenery(video[0])) for video in videos), ())


def test_kept_answers_are_the_teachers_own_and_asked_for_once(teacher: Counted, folder: ClipFolder) -> None:
    sampler = PairSampler(folder, 40, seed=0)
    kept, asked = (Answers(teacher, GROUPS, 3.0, folder, drawn) for drawn in (120, 0))
    for step in range(3):
        lessons = [prepare_lesson(sampler.frames(step), answers, Draws(0, step, 40)) for answers in (kept, asked)]
        assert (lessons[0].images == lessons[1].images).all()
        assert (lessons[0].masks - lessons[1].masks).abs().max() < 1e-3
        for one, other in zip(*(lesson.affine for lesson in lessons), strict=True):
            assert torch.allclose(one, other, atol=1e-5)
    assert teacher.asked == 30 + 3 * 40


def test_answers_are_not_kept_where_frames_seldom_return_or_memory_is_short(
    teacher: Counted, folder: ClipFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = PairSampler(folder, 4, seed=0).frames(0)
    prepare_lesson(batch, Answers(teacher, GROUPS, 3.0, folder, 29), Draws(0, 0, 4))
    assert teacher.asked == 4
    monkeypatch.setattr(student, "MAX_KEPT", 2 * 30 * 3 * 32 * 32 - 1)
    prepare_lesson(batch, Answers(teacher, GROUPS, 3.0, folder, 1000), Draws(0, 0, 4))
    assert teacher.asked == 8


def test_a_resumed_run_learns_from_the_very_same_numbers(teacher: Counted, folder: ClipFolder) -> None:
    sampler = PairSampler(folder, 4, seed=0)
    whole, resumed = (Answers(teacher, GROUPS, 3.0, folder, 40) for _ in range(2))
    for step in range(10):
        lesson = prepare_lesson(sampler.frames(step), whole, Draws(0, step, 4))
    again = prepare_lesson(sampler.frames(9), resumed, Draws(0, 9, 4))
    assert (lesson.masks == again.masks).all() and (lesson.affine.translation == again.affine.translation).all()
