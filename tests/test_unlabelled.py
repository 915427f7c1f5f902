"""Real clips without labels in supervised training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from streamparts.arrays import ByteArray
from train.drawing.png import write_png
from train.inputs import unlabelled
from train.inputs.negatives import Negatives
from train.inputs.rendered import Lessons, mirrored_labels
from train.inputs.unlabelled import SOME_PART, UNKNOWN, Unlabelled, labels_of, pasted
from train.subject.values import SubjectClip, square_around
from train.terms.supervised_losses import mask_terms

from .test_supervised import LABELS, PARTS, SWAP, a_shard

SIDE = 128
RED = Negatives(photos=((np.full((48, 48, 3), (200, 0, 0), np.uint8),),))


def a_mask() -> ByteArray:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[40:88, 50:80] = 255
    return mask


def a_subject(folder: Path, frames: int = 3) -> SubjectClip:
    """A clip of 128x128 grey images with a bright box, which is found in all frames but the first."""
    image = np.full((SIDE, SIDE, 3), 60, np.uint8)
    image[40:88, 50:80] = 220
    folder.mkdir()
    for i in range(frames):
        write_png(folder / f"{i:03}.png", image)
    boxes = np.tile(np.array([50, 40, 30, 48], np.float32), (frames, 1))
    regions = np.tile(np.array([0, 0, SIDE, SIDE], np.float32), (frames, 1))
    assert square_around(boxes).shape == regions.shape
    return SubjectClip(
        clip=folder,
        name=folder.name,
        rows=np.arange(frames),
        regions=regions,
        masks=np.stack([a_mask()] * frames),
        known=np.ones((frames, SIDE, SIDE), bool),
        boxes=boxes,
        found=np.arange(frames) > 0,
        notes=(),
        source="by hand",
    )


def test_beside_a_mask_nothing_is_known() -> None:
    known = np.ones((SIDE, SIDE), bool)
    known[60, 60] = known[0, 0] = False
    labels = labels_of(a_mask(), known)
    # 5 % of 128 pixels outside the mask's edge, and its own outermost pixel
    assert (labels[64, 51:79] == SOME_PART).all() and (labels[64, 80:86] == UNKNOWN).all()
    assert labels[64, 50] == labels[60, 60] == labels[0, 0] == UNKNOWN
    assert labels[64, 87] == labels[64, 42] == labels[20, 64] == 0


def test_a_pasted_subject_is_before_background_only() -> None:
    image = np.full((SIDE, SIDE, 3), 60, np.uint8)
    mixed, labels = pasted(np.random.default_rng(0), image, labels_of(a_mask(), np.ones((SIDE, SIDE), bool)), RED)
    np.testing.assert_array_equal(mixed[64, 64], (60, 60, 60))
    assert mixed[:20, :, 0].mean() > 2 * mixed[:20, :, 1].mean()
    assert (labels[:36] == 0).all() and (labels[64, 51:79] == SOME_PART).all() and labels[64, 81] == 0


def test_crops_are_taken_of_frames_in_which_the_subject_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = a_subject(tmp_path / "clip")
    monkeypatch.setattr(unlabelled, "find_subjects", lambda *args, **named: (subject,))
    clips = Unlabelled.load((tmp_path,))
    assert [crops.shape for crops in clips.crops] == [(2, SIDE, SIDE, 3)] and clips.labels[0].shape == (2, SIDE, SIDE)
    assert (clips.crops[0][:, 64, 64] == 220).all() and (clips.crops[0][:, 10, 10] == 60).all()
    tiny = SubjectClip(**{**vars(subject), "masks": np.where(np.arange(SIDE) < 51, subject.masks, 0)})
    monkeypatch.setattr(unlabelled, "find_subjects", lambda *args, **named: (tiny,))
    assert not Unlabelled.load((tmp_path,))


def test_a_share_of_a_batch_comes_from_real_clips() -> None:
    labels = labels_of(a_mask(), np.ones((SIDE, SIDE), bool))
    clips = Unlabelled((np.full((1, SIDE, SIDE, 3), 60, np.uint8),), (labels[None],))
    truth = Lessons([a_shard()], 32, 0, RED, 0.2, clips, 0.25).batch(0, 64)
    real = (truth.labels == SOME_PART).any(-1).any(-1)
    assert 8 <= int(real.sum()) <= 24
    assert float(truth.trust[real].abs().sum()) == float(truth.facing[real].abs().sum()) == 0
    assert set(truth.labels[real].unique().tolist()) <= {0, UNKNOWN, SOME_PART}
    assert not (Lessons([a_shard()], 32, 0, RED, 0.2).batch(0, 64).labels >= UNKNOWN).any()


def test_labels_that_are_no_part_survive_mirroring() -> None:
    left, right = (1 + PARTS.index(f"{side}_shin") for side in ("left", "right"))
    labels = np.array([[0, left, UNKNOWN, SOME_PART]], np.uint8)
    np.testing.assert_array_equal(mirrored_labels(labels, SWAP), [[SOME_PART, UNKNOWN, right, 0]])


def test_some_part_costs_what_all_parts_together_miss_and_the_unknown_nothing() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, len(PARTS) + 1, 1, 4)
    labels = torch.tensor([[[0, 3, SOME_PART, UNKNOWN]]])
    p = logits.softmax(1)[0, :, 0]
    paired = p[3, 1] + (p[int(LABELS[3]), 1] if int(LABELS[3]) != 3 else 0)
    joined, side, dice = mask_terms(logits.log_softmax(1), labels, LABELS, body=2.0)
    expected = -(p[0, 0].log() + 2 * paired.log() + 2 * (1 - p[0, 2]).log()) / 4
    torch.testing.assert_close(joined, expected)
    # the other two terms are those of the two pixels whose parts are known
    _, side_known, dice_known = mask_terms(logits.log_softmax(1)[..., :2], labels[..., :2], LABELS, body=2.0)
    torch.testing.assert_close(side, side_known)
    torch.testing.assert_close(dice, dice_known)
