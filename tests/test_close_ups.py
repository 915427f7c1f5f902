"""Crops that follow the subject, in pairs for the teacher and in batches for the student."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from streamparts.models.layers import Affine  # noqa: E402
from train.frames.clips import Clip, ClipFolder  # noqa: E402
from train.frames.close_ups import CloseUp, Middle, filled, widened  # noqa: E402
from train.frames.scenery import Scenery  # noqa: E402
from train.frames.transforms import Draws  # noqa: E402
from train.inputs.augment import prepare_pair, subject_share  # noqa: E402
from train.inputs.pairs import PairSampler, Views  # noqa: E402
from train.inputs.views import instead_of_nothing, lesson_transforms, seen_through, sharpened  # noqa: E402

SIDE, MASK_SIDE, COUNT = 32, 64, 6


def disc(side: int, centre: tuple[float, float], radius: float) -> np.ndarray:
    """(side, side) bool, centre and radius in normalised coordinates."""
    grid = (2 * np.arange(side) + 1) / side - 1
    return (grid[None] - centre[0]) ** 2 + (grid[:, None] - centre[1]) ** 2 < radius**2


def close_clip(radius: float = 0.5, alone: bool = True) -> Clip:
    """A white disc on grey noise; the same scene in the crop, and wider."""
    rng = np.random.default_rng(0)
    near_side, far_side = 48, SIDE

    def scene(side: int, reach: float) -> np.ndarray:
        noise = rng.integers(60, 120, (side, side, 3), dtype=np.uint8)
        return np.where(disc(side, (0, 0), radius / reach)[..., None], np.uint8(250), noise)

    near = np.stack([scene(near_side, 1.5) for _ in range(COUNT)])
    far = np.stack([scene(far_side, 4.0) for _ in range(COUNT)])
    mask = np.repeat(disc(MASK_SIDE, (0, 0), radius)[None].astype(np.uint8) * 255, COUNT, 0)
    known = np.ones(mask.shape, np.bool_)
    close_up = CloseUp(mask, known, near, far, alone)
    scenery = Scenery(np.zeros((SIDE, SIDE, 3), np.uint8), trusted=False)
    return Clip("disc", Middle(near, SIDE), scenery, (), close_up)


@pytest.fixture(scope="module")
def folder() -> ClipFolder:
    return ClipFolder((close_clip(), close_clip()), ())


def test_the_middle_of_a_wider_frame_is_the_crop() -> None:
    wide = np.zeros((1, 48, 48, 3), np.uint8)
    wide[:, 8:40, 8:40] = 9
    assert (Middle(wide, 32)[0] == 9).all() and Middle(wide, 32)[0].shape == (32, 32, 3)


def test_a_widened_region_keeps_its_middle() -> None:
    wide = widened(np.array([[10, 20, 40, 40]], np.float32), 2.0)
    assert wide.tolist() == [[-10, 0, 80, 80]]


def test_what_lies_behind_the_subject_is_guessed_from_around_it() -> None:
    frame = np.full((64, 64, 3), 80, np.uint8)
    mask = disc(64, (0, 0), 0.5).astype(np.uint8) * 255
    frame[mask > 0] = 250
    assert np.abs(filled(frame, mask).astype(int) - 80).max() <= 2


def test_a_mask_that_covers_everything_leaves_no_nan() -> None:
    assert filled(np.full((16, 16, 3), 80, np.uint8), np.full((16, 16), 255, np.uint8)).shape == (16, 16, 3)


def test_pairs_take_their_silhouettes_from_the_masks(folder: ClipFolder) -> None:
    batch = PairSampler(folder, 4, seed=0).batch(0)
    pair = prepare_pair(batch, torch.device("cpu"), Draws(0, 0, 4), 10.0, 0.3)
    truth = torch.from_numpy(disc(SIDE, (0, 0), 0.5))
    for found in (pair.source_silhouette, pair.target_silhouette):
        assert ((found[:, 0] > 0.5) == truth).float().mean() > 0.97
    assert pair.close_up and bool((pair.target_known == 1).all())


def test_a_pixel_that_is_not_known_counts_nowhere() -> None:
    clip = close_clip()
    assert clip.close_up is not None
    known = np.array(clip.close_up.known)
    known[:, :, : MASK_SIDE // 2] = False
    half = Clip("", clip.frames, clip.scenery, (), CloseUp(clip.close_up.masks, known))
    pair = prepare_pair(
        PairSampler(ClipFolder((half,), ()), 2, seed=0).batch(0), torch.device("cpu"), Draws(0, 0, 2), 0.0, 0.3
    )
    assert (
        pair.target_known[:, :, :, : SIDE // 2 - 1].max() == 0
        and pair.target_known[:, :, :, SIDE // 2 + 1 :].min() == 1
    )


def test_the_subjects_share_is_that_of_its_mask(folder: ClipFolder) -> None:
    share, known = subject_share(folder)
    assert share == pytest.approx(np.pi * 0.25 / 4, rel=0.05) and known == 1


def test_lessons_have_the_kinds_they_are_meant_to_have() -> None:
    _, kind = lesson_transforms(Draws(0, 0, 4000))
    shares = [(kind == k).float().mean().item() for k in range(3)]
    assert shares == pytest.approx([0.675, 0.2, 0.125], abs=0.03)


def test_an_empty_lesson_does_not_show_the_subject() -> None:
    """The subject fills two thirds of its crop at most, as its margin has it."""
    transform, kind = lesson_transforms(Draws(0, 0, 400))
    subject = torch.from_numpy(disc(SIDE, (0, 0), 0.66)[None, None].astype(np.float32)).expand(400, 1, SIDE, SIDE)
    seen = seen_through(subject, transform, 1.0, SIDE).amax((1, 2, 3))
    assert seen[kind == 2].max() < 0.5
    assert seen[kind != 2].min() > 0.5


def test_a_view_shows_the_same_place_in_crop_and_surroundings() -> None:
    clip = close_clip()
    assert clip.close_up is not None and clip.close_up.near is not None and clip.close_up.far is not None
    transform, _ = lesson_transforms(Draws(1, 0, 20))
    near = torch.from_numpy(np.stack([clip.close_up.near[0]] * 20)).permute(0, 3, 1, 2).float()
    far = torch.from_numpy(np.stack([clip.close_up.far[0]] * 20)).permute(0, 3, 1, 2).float()
    crop = torch.from_numpy(disc(64, (0, 0), 0.5)[None, None].astype(np.float32)).expand(20, 1, 64, 64)
    wanted = seen_through(crop, transform, 1.0, 64)[:, 0] > 0.5
    for pictures, reach in ((near, 1.5), (far, 4.0)):
        bright = seen_through(pictures, transform, reach, 64)[:, 0] > 185
        assert (bright == wanted).float().mean() > 0.93


def test_an_empty_lesson_beyond_the_picture_becomes_a_wide_one() -> None:
    black = np.zeros((3, SIDE, SIDE, 3), np.uint8)
    views = Views(black, black, black, np.ones(3, np.bool_))
    transform = torch.eye(2, 3).expand(3, 2, 3)
    _, kind = instead_of_nothing(transform, torch.tensor([2, 0, 1]), views)
    assert kind.tolist() == [1, 0, 1]


def test_what_the_teacher_missed_of_the_subject_goes_to_the_part_nearby() -> None:
    """An arm to the right of a part that the teacher saw, and one unknown row."""
    masks = torch.zeros(1, 3, 32, 32)
    masks[:, 1, 8:24, 4:12], masks[:, 2, 8:24, 20:24] = 1, 1
    masks[:, 0] = 1 - masks[:, 1:].sum(1)
    subject = torch.zeros(1, 1, 32, 32)
    subject[:, :, 8:24, 2:16] = 1
    known = torch.ones(1, 1, 32, 32)
    known[:, :, :, 20:] = 0
    fine = sharpened(masks, subject, known)
    assert fine[0, 1, 12, 14] > 0.9 and fine[0, 0, 12, 14] < 0.01
    assert torch.equal(fine[..., 20:], masks[..., 20:])
    assert torch.allclose(fine.sum(1), torch.ones(1, 32, 32), atol=1e-5)


def test_an_affine_of_a_part_moves_with_the_view() -> None:
    from train.students.student import moved_poses

    transform, _ = lesson_transforms(Draws(0, 0, 5))
    pose = Affine(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.2, 0.1]]]), torch.tensor([[[0.1, -0.3]]]))
    moved = moved_poses(transform, Affine(*(x.expand(5, 1, 2) for x in pose)))
    wanted = transform[:, :, :2] @ torch.tensor([0.1, -0.3]) + transform[:, :, 2]
    assert torch.allclose(moved.translation[:, 0], wanted, atol=1e-5)
