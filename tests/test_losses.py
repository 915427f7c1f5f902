"""Each equation on hand-computed values."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from streamparts.geometry import CANONICAL_SIGMAS  # noqa: E402
from streamparts.models.layers import Affine, carry, compose, transform_points  # noqa: E402
from train.frames.transforms import Draws, random_similarity  # noqa: E402
from train.students.student import moved_poses  # noqa: E402
from train.terms import appearance, losses  # noqa: E402


def box_mask(size: int, rows: slice, columns: slice) -> torch.Tensor:
    mask = torch.zeros(1, 1, size, size)
    mask[:, :, rows, columns] = 1
    return mask


def affine_of(angle: float, scale: tuple[float, float], translation: tuple[float, float]) -> Affine:
    rotation = torch.tensor([[[math.cos(angle), math.sin(angle)]]])
    return Affine(rotation, torch.tensor([[scale]]), torch.tensor([[translation]]))


def test_mask_moments_of_a_box_are_its_centre_and_the_variance_of_a_uniform_grid() -> None:
    mean, covariance, mass = losses.mask_moments(box_mask(16, slice(0, 4), slice(8, 16)))
    assert mass.item() == 32
    assert mean[0, 0].tolist() == pytest.approx([0.5, -0.75])
    step = 2 / 16
    assert covariance[0, 0, 0, 0].item() == pytest.approx(step**2 * (8**2 - 1) / 12, rel=1e-4)
    assert covariance[0, 0, 1, 1].item() == pytest.approx(step**2 * (4**2 - 1) / 12, rel=1e-4)
    assert covariance[0, 0, 0, 1].item() == pytest.approx(0, abs=1e-6)


def test_moments_do_not_depend_on_how_opaque_the_mask_is() -> None:
    box = box_mask(16, slice(2, 6), slice(3, 9))
    for full, faint in zip(losses.mask_moments(box)[:2], losses.mask_moments(0.1 * box)[:2], strict=True):
        assert torch.allclose(full, faint, atol=1e-6)


def test_pixels_at_or_below_the_threshold_do_not_count() -> None:
    mask = box_mask(16, slice(0, 2), slice(0, 2)) + 0.02 * box_mask(16, slice(8, 16), slice(8, 16))
    mean, _, mass = losses.mask_moments(mask, threshold=0.02)
    assert mass.item() == 4
    assert mean[0, 0].tolist() == pytest.approx([-0.875, -0.875])


def test_transformation_loss_is_zero_for_the_pose_of_its_own_mask() -> None:
    mask = box_mask(32, slice(8, 16), slice(4, 24))
    mean, covariance, _ = losses.mask_moments(mask)
    scale = CANONICAL_SIGMAS * covariance[0, 0].diagonal().sqrt()
    affine = Affine(torch.tensor([[[1.0, 0.0]]]), scale[None, None], mean)
    translation, shape = losses.transformation_loss(mask, affine)
    assert translation.item() == pytest.approx(0, abs=1e-6)
    assert shape.item() == pytest.approx(0, abs=1e-5)


def test_translation_loss_is_the_l1_distance_of_the_centres() -> None:
    mask = box_mask(16, slice(4, 12), slice(4, 12))
    translation, _ = losses.transformation_loss(mask, affine_of(0, (0.5, 0.5), (0.3, -0.1)))
    assert translation.item() == pytest.approx(0.4, abs=1e-6)


def test_parts_without_a_pixel_do_not_pull_on_any_pose() -> None:
    translation, shape = losses.transformation_loss(torch.zeros(1, 1, 16, 16), affine_of(0, (0.5, 0.5), (1, 1)))
    assert (translation.item(), shape.item()) == (0, 0)


def test_equivariance_loss_is_zero_for_an_exactly_equivariant_encoder() -> None:
    transform = random_similarity(Draws(3, 0, 1), 60, (0.5, 1.5), 0.3)
    affine = affine_of(0.7, (0.3, 0.1), (0.2, -0.4))
    assert losses.equivariance_loss(moved_poses(transform, affine), affine, transform).item() < 1e-6


def test_equivariance_loss_is_the_1_norm_of_the_matrix_difference() -> None:
    identity = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    moved, still = affine_of(0, (0.5, 0.25), (0.1, 0.2)), affine_of(0, (0.25, 0.25), (0, 0))
    assert losses.equivariance_loss(moved, still, identity).item() == pytest.approx(0.25 + 0.1 + 0.2)


def test_background_loss_is_zero_only_for_pure_background() -> None:
    masks = torch.zeros(2, 3, 8, 8)
    masks[:, 0] = 1
    assert losses.background_loss(masks).item() == 0
    masks[:, 0], masks[:, 1] = 0.5, 0.5
    assert losses.background_loss(masks).item() == pytest.approx(0.5 + 0.25)


def test_concentration_loss_is_the_sum_of_both_variances() -> None:
    mask = box_mask(16, slice(0, 4), slice(8, 16))
    expected = (2 / 16) ** 2 * ((8**2 - 1) + (4**2 - 1)) / 12
    assert losses.concentration_loss(mask).item() == pytest.approx(expected, rel=1e-4)


def test_image_difference_counts_values_and_forward_differences() -> None:
    image, other = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    other[..., 2:] = 1.0
    assert losses.image_difference(other, image, l1=1, gradient=0).item() == pytest.approx(0.5)
    assert losses.image_difference(other, image, l1=0, gradient=1).item() == pytest.approx(1 / 3)


def test_silhouette_likelihood_is_the_gaussian_density_at_its_only_pixel() -> None:
    silhouette = box_mask(8, slice(4, 5), slice(4, 5))
    affine = affine_of(0.4, (0.2 * CANONICAL_SIGMAS, 0.1 * CANONICAL_SIGMAS), (0.125, 0.125))
    expected = math.log(2 * math.pi * 0.2 * 0.1)
    likelihood, shares = losses.silhouette_likelihood(affine, silhouette)
    assert likelihood.item() == pytest.approx(expected, abs=1e-4)
    assert shares.sum(1).eq(1).all()


def test_responsibility_loss_is_least_where_masks_are_the_shares_of_the_moving_pixels() -> None:
    silhouette = box_mask(8, slice(2, 6), slice(2, 6))
    shares = torch.full((1, 2, 8, 8), 0.5)
    right = torch.cat([1 - silhouette, silhouette * shares], dim=1)
    wrong = torch.cat([1 - silhouette, silhouette, silhouette * 0], dim=1)
    known = torch.ones(1, 1, 8, 8)
    least = losses.responsibility_loss(right, silhouette, shares, known).item()
    assert least == pytest.approx(math.log(2) * 16 / 64, rel=1e-5)
    assert losses.responsibility_loss(wrong, silhouette, shares, known).item() > least
    assert losses.responsibility_loss(wrong, silhouette, shares, 0 * known).item() == 0


def test_inverse_matrix_undoes_the_matrix() -> None:
    affine = affine_of(1.1, (0.4, 0.07), (0.3, -0.6))
    points = torch.tensor([[0.2, -0.9], [0.0, 0.5]])
    back = transform_points(affine.inverse_matrix()[0, 0], transform_points(affine.matrix()[0, 0], points))
    assert torch.allclose(back, points, atol=1e-5)


def test_losses_do_not_depend_on_the_size_of_the_batch() -> None:
    torch.manual_seed(0)
    masks = torch.rand(1, 4, 16, 16)
    doubled = masks.repeat(2, 1, 1, 1)
    for loss in (losses.background_loss, losses.concentration_loss):
        assert loss(masks).item() == pytest.approx(loss(doubled).item(), rel=1e-5)


def test_each_loss_is_the_mean_of_its_frames() -> None:
    torch.manual_seed(0)
    masks, silhouette = torch.rand(4, 4, 16, 16).softmax(1), torch.rand(4, 1, 16, 16)
    masks[0, 1] = 0
    silhouette[1:] *= 0.3
    known = (torch.rand(4, 1, 16, 16) > 0.3).float()
    affine = Affine(*(torch.cat([x] * 4).repeat(1, 3, 1) for x in affine_of(0.4, (0.3, 0.2), (0.1, -0.2))))
    moved, image, colours = torch.rand(4, 3, 3, 16, 16), torch.rand(4, 3, 16, 16), torch.rand(4, 3, 256)

    def terms(rows: slice) -> list[torch.Tensor]:
        poses = Affine(*(value[rows] for value in affine))
        likelihood, shares = losses.silhouette_likelihood(poses, silhouette[rows])
        return [
            *losses.transformation_loss(masks[rows, 1:], poses),
            likelihood,
            losses.responsibility_loss(masks[rows], silhouette[rows], shares, known[rows]),
            losses.silhouette_loss(masks[rows], silhouette[rows], known[rows]),
            losses.motion_loss(masks[rows], [moved[rows]], image[rows], image[rows], known[rows]),
            losses.edge_loss(masks[rows], image[rows]),
            appearance.appearance_loss(masks[rows].flatten(2), colours[rows], 0.3, samples=(40, 20)),
            losses.velocity_loss(poses, poses, Affine(*(2 * value for value in poses)), masks[rows, 1:].sum((2, 3))),
        ]

    halves = zip(terms(slice(0, 2)), terms(slice(2, 4)), strict=True)
    for whole, (first, second) in zip(terms(slice(0, 4)), halves, strict=True):
        assert whole.item() == pytest.approx((first.item() + second.item()) / 2, rel=1e-4)


def test_motion_loss_asks_each_pixel_for_the_part_whose_motion_explains_it() -> None:
    image, black = torch.ones(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    moved = torch.stack([image, black], dim=1)  # part 0 explains the picture, part 1 and the background do not
    known = torch.ones(1, 1, 4, 4)
    for slot, expected in ((0, 1.0), (1, 0.0), (2, 1.0)):
        masks = torch.zeros(1, 3, 4, 4)
        masks[:, slot] = 1
        assert losses.motion_loss(masks, [moved], black, image, known).item() == pytest.approx(expected)
    assert losses.motion_loss(masks, [moved], black, image, 0 * known).item() == 0


def test_a_subject_that_is_given_up_is_still_pulled_back_by_its_silhouette() -> None:
    silhouette, known = box_mask(8, slice(2, 4), slice(2, 4))[:, :1], torch.ones(1, 1, 8, 8)
    logits = torch.zeros(1, 3, 8, 8)
    logits[:, 0] = 14.0
    logits.requires_grad_()
    losses.silhouette_loss(logits.softmax(1), silhouette, known).backward()
    assert logits.grad is not None
    inside = logits.grad[0, :, 2:4, 2:4]
    assert (inside[0] > 0.9 / 64).all() and (inside[1:] < -0.4 / 64).all()


def test_motion_loss_lets_a_second_source_explain_what_the_first_does_not_show() -> None:
    image, black = torch.ones(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    hidden, shown = (torch.full((1, 1, 3, 4, 4), value) for value in (0.0, 0.75))
    masks = torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1).expand(1, 2, 4, 4)
    known = torch.ones(1, 1, 4, 4)
    for moved, expected in (([hidden], 1.0), ([hidden, shown], 0.25), ([shown, hidden], 0.25)):
        assert losses.motion_loss(masks, moved, black, image, known).item() == pytest.approx(expected)


def test_least_difference_counts_each_pixel_by_its_best_prediction() -> None:
    image = torch.zeros(1, 3, 4, 4)
    left, right = image.clone(), image.clone()
    left[..., :2], right[..., 2:] = 1.0, 0.5
    assert losses.least_difference([left], image, 1.0, 0.0).item() == pytest.approx(0.5)
    assert losses.least_difference([left, right], image, 1.0, 0.0).item() == 0
    # Alone, left has one step of 1 a row; the last column has no difference to its right.
    assert losses.least_difference([left], image, 0.0, 1.0).item() == pytest.approx(0.25)
    assert losses.image_difference(left, image, 0.0, 1.0).item() == pytest.approx(1 / 3)


def test_velocity_loss_is_zero_on_a_straight_way_and_counts_a_jump() -> None:
    def pose(x: float, angle: float = 0.0, scale: float = 0.2) -> Affine:
        return affine_of(angle, (scale, scale), (x, 0.0))

    owned = torch.ones(1, 1)
    steady = [pose(x, scale=scale) for x, scale in ((-0.1, 0.1), (0.1, 0.2), (0.3, 0.4))]
    assert losses.velocity_loss(*steady, owned).item() == pytest.approx(0.0, abs=1e-6)
    jump = [pose(0.0), pose(0.3), pose(0.0)]
    assert losses.velocity_loss(*jump, owned, softness=0.0).item() == pytest.approx(0.6)
    turned = [pose(0.0), pose(0.0, math.pi), pose(0.0)]
    assert losses.velocity_loss(*turned, owned, softness=0.0).item() == pytest.approx(4.0)
    assert losses.velocity_loss(*jump, 0 * owned).item() == 0


def test_velocity_loss_leaves_out_what_is_not_seen() -> None:
    still, away = affine_of(0.0, (0.2, 0.2), (0.0, 0.0)), affine_of(0.0, (0.2, 0.2), (0.8, 0.0))
    at = Affine(*(torch.cat(values, dim=1) for values in zip(still, away, strict=True)))
    around = Affine(*(torch.cat([value, value], dim=1) for value in still))
    seen, hidden = torch.tensor([[20.0, 20.0]]), torch.tensor([[20.0, 0.0]])
    assert losses.velocity_loss(around, at, around, seen).item() > 0.5
    assert losses.velocity_loss(around, at, around, hidden).item() == 0


def test_a_part_carries_the_source_picture_to_where_its_pose_moved() -> None:
    source = box_mask(16, slice(4, 8), slice(4, 8)).expand(1, 3, 16, 16)
    here, there = affine_of(0, (0.3, 0.3), (-0.25, -0.25)), affine_of(0, (0.3, 0.3), (0.25, 0.0))
    moved = carry(source, compose(here.matrix(), there.inverse_matrix()))[:, 0]
    assert torch.allclose(moved, box_mask(16, slice(6, 10), slice(8, 12)).expand(1, 3, 16, 16), atol=1e-5)


def test_rigidity_loss_is_the_change_of_the_logarithm_of_the_size() -> None:
    one, other = affine_of(0, (0.2, 0.1), (0, 0)), affine_of(2, (0.2 * math.e, 0.1), (1, 1))
    assert losses.rigidity_loss(one, other).item() == pytest.approx(0.5)


def test_edge_loss_is_zero_where_borders_lie_on_edges_and_counts_them_elsewhere() -> None:
    image = box_mask(16, slice(0, 16), slice(8, 16)).expand(1, 3, 16, 16)
    on_edge = torch.cat([1 - image[:, :1], image[:, :1]], dim=1)
    beside = torch.roll(on_edge, 4, dims=3)
    assert losses.edge_loss(on_edge, image, reach=(1,)).item() < 1e-5
    assert losses.edge_loss(beside, image, reach=(1,)).item() == pytest.approx(0.5 * 2 * 2 / 15, rel=0.01)


def test_edge_loss_and_its_gradient_are_those_of_its_formula() -> None:
    torch.manual_seed(0)
    masks, image = torch.randn(2, 4, 9, 7).softmax(1).requires_grad_(), torch.rand(2, 3, 9, 7)
    total = torch.zeros(())
    for near, far in ((np.s_[..., :-2, :], np.s_[..., 2:, :]), (np.s_[..., :-2], np.s_[..., 2:])):
        likeness = torch.exp(-15 * (image[near] - image[far]).abs().mean(1))
        total = total + (likeness * (masks[near] - masks[far]).abs().sum(1)).mean() / 2
    ours = losses.edge_loss(masks, image, reach=(2,))
    assert ours.item() == pytest.approx(total.item(), rel=1e-5)
    gradients = [torch.autograd.grad(loss, masks)[0] for loss in (ours, total)]
    assert torch.allclose(*gradients, atol=1e-7)


def test_a_small_subject_weighs_as_much_as_one_that_fills_a_fifth_of_the_picture() -> None:
    assert losses.emphasis(0.5, 1.0) == 1
    assert losses.emphasis(0.05, 1.0) == pytest.approx(4)
    assert losses.emphasis(0.05, 0.5) == pytest.approx(8)
    assert losses.emphasis(0.0, 1.0) == 10
    assert losses.emphasis(0.0, 0.0) == 1


def test_what_is_not_known_of_a_silhouette_counts_for_nothing() -> None:
    known, silhouette = torch.zeros(2, 1, 8, 8), torch.rand(2, 1, 8, 8)
    known[0, :, :4] = 1
    silhouette[0, :, :4] = 0.05
    masks = torch.rand(2, 3, 8, 8).softmax(1)
    before = losses.silhouette_loss(masks, silhouette, known)
    assert losses.silhouette_loss(masks, torch.where(known > 0, silhouette, 1 - silhouette), known) == before
    assert losses.silhouette_loss(masks, silhouette, 0 * known) == 0


def strip_of_two_colours(like: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (1, 3, 200) and colours of background, then 60 red pixels of part 1, then 60 of part 2: blue, or red too
    if `like`. Where part 2 begins, 15 pixels lean to part 1."""
    logits = torch.zeros(1, 3, 200)
    logits[:, 0, :80], logits[:, 1, 80:155], logits[:, 2, 155:] = 6, 6, 6
    logits[:, 1, 140:155], logits[:, 2, 140:155] = 2, 1
    colours = torch.zeros(1, 3, 200)
    colours[:, 0, 80:] = 1
    if not like:
        colours[:, 0, 140:], colours[:, 2, 140:] = 0, 1
    return logits.requires_grad_(), colours


def test_colours_far_apart_make_no_denormal_numbers() -> None:
    """Which a CPU computes with at a tenth of its speed: black and white are 16 deviations apart in each channel."""
    least = torch.exp(torch.tensor(appearance._FAINT))
    assert least > 1e3 * torch.finfo(torch.float32).tiny
    assert least < 1e-4 * 1e-6, "nothing beside the density that every part has of any colour"
    masks, colours = torch.zeros(1, 3, 64), torch.zeros(1, 3, 64)
    masks[:, 1, :32], masks[:, 2, 32:], colours[:, :, 32:] = 1, 1, 1
    assert appearance.appearance_loss(masks, colours, 0.5) == pytest.approx(0, abs=1e-4)


def test_appearance_loss_gives_pixels_to_the_part_with_their_colours_and_leaves_the_background_alone() -> None:
    pulls = {}
    for like in (False, True):
        logits, colours = strip_of_two_colours(like)
        appearance.appearance_loss(logits.softmax(1), colours, 0.5).backward()
        slope = logits.grad[0]
        pulls[like] = (slope[1] - slope[2])[140:155]  # positive: a step downhill leads from part 1 to part 2
        assert slope[0, :80].abs().max() < 1e-5
    assert (pulls[False] > 1e-4).all()
    assert pulls[True].abs().max() < 0.02 * pulls[False].min()


def test_systematic_samples_fall_where_the_importance_is_and_stand_for_all_pixels() -> None:
    importance = torch.tensor([[1.0] * 60 + [3.0] * 20])
    drawn = appearance.systematic_sample(importance, 40, 0.5)
    assert (drawn.pixel >= 60).sum() == 20
    assert drawn.weight.sum().item() == pytest.approx(80)
    assert drawn.weight[0, -1].item() == pytest.approx(1.0)
