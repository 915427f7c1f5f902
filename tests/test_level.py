"""The background's level and the certainty of the masks are set without labels."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from streamparts.models.student import Student, StudentConfig  # noqa: E402
from train.frames.clips import Clip, ClipFolder  # noqa: E402
from train.frames.scenery import Scenery  # noqa: E402
from train.students.level import FACTORS, MOST, calibrate_masks, fitted_factor, needed  # noqa: E402


def test_the_least_decrease_labels_as_many_pixels_as_asked() -> None:
    margins = torch.tensor([-1.0, 0.5, 0.2, 3.0, 9.0])
    assert needed(margins, 1) == 0.0
    for pixels, limit in ((2, 0.2), (3, 0.5), (4, 3.0)):
        decrease = needed(margins, pixels)
        assert decrease == pytest.approx(limit, abs=1e-3) and int((margins - decrease < 0).sum()) == pixels
    assert needed(margins, 5) == MOST


@pytest.fixture
def student() -> Student:
    """Two parts of equal probability wherever it looks; their logits are set by the bias."""
    network = Student(StudentConfig(2, 32, (4, 4, 4, 4, 4), 8, 4)).eval()
    with torch.no_grad():
        network.mask[0].weight.zero_()
        network.mask[0].bias.zero_()
    return network


def folder() -> ClipFolder:
    frames = np.random.default_rng(0).integers(0, 255, (6, 32, 32, 3), dtype=np.uint8)
    return ClipFolder((Clip("", frames, Scenery(np.zeros((32, 32, 3), np.uint8), trusted=False)),), ())


class Taught:
    """A teacher that sees part 2 in the left half and part 1 in the right one, of which it is sure."""

    device = torch.device("cpu")

    def __call__(self, frames: torch.Tensor, index: np.ndarray) -> tuple[torch.Tensor, None]:
        masks = torch.zeros(len(index), 3, 8, 8)
        masks[:, 2, :, :4], masks[:, 1, :, 4:] = 1, 1
        return masks, None


@pytest.mark.parametrize(("logit", "labelled"), [(0.3, True), (0.8, False), (-1.0, True)])
def test_a_pixel_that_is_more_probably_the_subject_gets_a_part(student: Student, logit: float, labelled: bool) -> None:
    # background e^.3 = 1.35 against two parts of 1 each: 40 %, but the largest; e^.8 = 2.2: more than half
    with torch.no_grad():
        student.mask[0].bias[:4] = logit
    decrease, _ = calibrate_masks(student, folder(), Taught())
    assert (decrease > 0) == (logit == 0.3)
    labels = student(torch.zeros(1, 3, 32, 32)).logits.argmax(1)
    assert bool((labels > 0).all()) == labelled and bool((labels > 0).any()) == labelled


def test_probabilities_become_the_share_on_which_the_teacher_agrees(student: Student) -> None:
    with torch.no_grad():
        student.mask[0].bias[:4], student.mask[0].bias[4:8] = -2.0, 0.5  # part 1 everywhere, at 59 %
        before = student(torch.zeros(1, 3, 32, 32)).logits
    _, factor = calibrate_masks(student, folder(), Taught())
    with torch.no_grad():
        after = student(torch.zeros(1, 3, 32, 32)).logits
    assert factor != pytest.approx(1, abs=0.01)
    torch.testing.assert_close(after, factor * before)
    assert float(after.softmax(1).amax(1).mean()) == pytest.approx(0.5, abs=0.01)  # right on the right half alone


def test_a_factor_is_fitted_within_its_limits() -> None:
    logits = torch.tensor([[0.0, 0.2, 0.1], [0.0, 0.1, 0.3]])
    for agreement in (0.5, 0.8):
        factor = fitted_factor(logits, agreement)
        assert float((logits * factor).softmax(1).amax(1).mean()) == pytest.approx(agreement, abs=0.01)
    assert fitted_factor(logits, 1.0) == FACTORS[1] and fitted_factor(logits, 0.1) == FACTORS[0]
    assert fitted_factor(logits[:0], 0.5) == 1.0
