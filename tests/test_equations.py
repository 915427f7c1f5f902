"""Equations (1) to (14) of Gao et al. 2021 on values worked out by hand, and the faults of the public release that are
not repeated here. What test_losses.py shows of them already is not shown again."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest

torch = pytest.importorskip("torch")

from streamparts.geometry import CANONICAL_SIGMAS  # noqa: E402
from streamparts.models.assembly_paper import PaperAssembly, PaperAssemblyConfig, ScaleMap  # noqa: E402
from streamparts.models.layers import (  # noqa: E402
    Affine,
    assemble_image,
    carry,
    image_grid,
    invert,
    part_masks,
    transform_points,
    warp,
)
from train.frames.transforms import Draws, random_similarity, warp_images  # noqa: E402
from train.inputs.augment import Pair  # noqa: E402
from train.terms import losses, objective  # noqa: E402
from train.terms.pair_forward import forward_pair, paper_transform  # noqa: E402
from train.terms.weights import PAPER_WEIGHTS, Fades, LossWeights  # noqa: E402

TINY = PaperAssemblyConfig(
    num_parts=3, image_size=32, latent_channels=4, stem_widths=(4, 6, 8), hourglass_widths=(8, 8, 8),
    slot_channels=32, decoder_widths=(4, 6, 4, 4, 4),
)  # fmt: skip
SETTLED = Fades(bootstrap=0.0, motion=1.0, borders=1.0)


def pose(scale: tuple[float, float], translation: tuple[float, float] = (0, 0), angle: float = 0) -> Affine:
    rotation = torch.tensor([[[math.cos(angle), math.sin(angle)]]])
    return Affine(rotation, torch.tensor([[scale]]), torch.tensor([[translation]], dtype=torch.float32))


def blob(centre: tuple[float, float], deviation: float, peak: float = 1.0, size: int = 128) -> torch.Tensor:
    """(1, 1, S, S) soft Gaussian mask."""
    offsets = image_grid(size, size) - torch.tensor(centre)
    return peak * torch.exp(-0.5 * (offsets / deviation).square().sum(-1)).reshape(1, 1, size, size)


def random_pair(size: int = 32) -> Pair:
    source, target, background = torch.rand(3, 2, 3, size, size)
    silhouette = torch.rand(2, 1, size, size).round()
    known = torch.ones_like(silhouette)
    return Pair(source, target, silhouette, silhouette, background, background, known, known)


def test_eq_1_and_2_the_matrix_is_rotation_times_scales_beside_the_shift() -> None:
    affine = Affine(torch.tensor([[[0.6, 0.8]]]), torch.tensor([[[0.5, 0.25]]]), torch.tensor([[[0.1, -0.2]]]))
    assert torch.allclose(affine.matrix()[0, 0], torch.tensor([[0.3, -0.2, 0.1], [0.4, 0.15, -0.2]]))


def test_eq_3_masks_are_the_softmax_of_the_depths() -> None:
    depth = torch.tensor([1.0, 2.0, 5.0]).log()[None, :, None, None]
    assert part_masks(depth).flatten().tolist() == pytest.approx([0.125, 0.25, 0.625])


def test_the_image_is_the_sum_of_part_images_under_their_masks() -> None:
    masks = torch.tensor([0.25, 0.75])[None, :, None, None]
    part_images = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]])[None, :, :, None, None]
    assert assemble_image(masks, part_images).flatten().tolist() == pytest.approx([0.25, 0, 1.5])


def test_eq_4_a_map_carried_by_t_has_at_u_what_it_had_at_the_inverse_of_u() -> None:
    maps = torch.zeros(1, 1, 1, 8, 8)
    maps[..., 3, 2] = 1
    carried = warp(maps, pose((1, 1), (0.5, -0.25)).inverse_matrix())  # two pixels right, one up
    assert carried[0, 0, 0].nonzero().tolist() == [[2, 4]]
    canonical = warp(maps, pose((0.5, 0.5), (-0.5, 0.0)).matrix())  # the inverse carries the part to the middle
    rows, columns = canonical[0, 0, 0].nonzero().float().mean(0).tolist()
    assert (rows, columns) == pytest.approx((2.5, 4.5), abs=0.51)


def test_eq_5_adds_up_its_three_weighted_differences() -> None:
    image, other = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    other[..., 2:] = 1.0
    features = lambda predicted, target: 2 * (predicted - target).mean()  # noqa: E731
    difference = losses.image_difference(other, image, 1, 5, 10, features)
    assert difference.item() == pytest.approx(0.5 + 5 / 3 + 10 * 2 * 0.5)


def test_eq_5_with_a_perceptual_weight_wants_features() -> None:
    with pytest.raises(ValueError, match="no features"):
        losses.image_difference(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4), 1, 5, 10)


def test_eq_6_weighs_the_source_and_counts_the_target_whole() -> None:
    torch.manual_seed(0)
    pair, network = random_pair(), PaperAssembly(TINY)
    result = forward_pair(network, pair, 0.0, torch.eye(2, 3).repeat(2, 1, 1))
    weights = LossWeights(source=0.1, l1=1, gradient=5)
    terms = objective.reconstruction_loss(result, pair, weights)
    assert terms["source"].item() == pytest.approx(
        0.1 * losses.image_difference(result.recovered.image, pair.source, 1, 5).item()
    )
    assert terms["target"].item() == pytest.approx(
        losses.image_difference(result.retargeted.image, pair.target, 1, 5).item()
    )
    assert set(objective.reconstruction_loss(result, pair, replace(weights, source=0))) == {"target"}


def test_eq_7_has_one_weight_for_the_background_and_one_for_the_parts() -> None:
    masks = torch.tensor([0.5, 0.375, 0.125])[None, :, None, None].expand(2, 3, 4, 4)
    assert losses.background_loss(masks, background=3, parts=1).item() == pytest.approx(3 * 0.5 + 0.25)


def test_eq_8_is_the_distance_of_centres_in_the_1_norm() -> None:
    centres, means = torch.tensor([[[0.5, -0.25]]]), torch.tensor([[[0.25, 0.25]]])
    assert losses.translation_loss(centres, means).tolist() == [[pytest.approx(0.75)]]


def test_eq_9_is_the_frobenius_norm_of_the_difference_to_the_covariance() -> None:
    covariance = torch.tensor([[[[0.25, 0.03], [0.03, 0.0]]]])
    norm = losses.rotation_scale_loss(pose((0.5, 0.2)), covariance, sigmas=1.0)
    assert norm.item() == pytest.approx(math.sqrt(2 * 0.03**2 + 0.04**2))


def test_eq_10_11_and_14_are_the_mean_covariance_and_mass_of_the_mask() -> None:
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 1, 2], mask[..., 1, 0] = 0.75, 0.25  # at (0.25, -0.25) and (-0.75, -0.25)
    mean, covariance, mass = losses.mask_moments(mask)
    assert mass.item() == 1
    assert mean.flatten().tolist() == pytest.approx([0, -0.25])
    assert covariance.flatten().tolist() == pytest.approx([0.75 * 0.0625 + 0.25 * 0.5625, 0, 0, 0], abs=1e-7)


def test_eq_10_and_11_leave_out_what_is_not_above_zeta() -> None:
    faint = torch.full((1, 1, 16, 16), 0.02)
    faint[..., 4, 4] = 0.9
    affine = Affine(torch.tensor([[[1.0, 0.0]]]), torch.ones(1, 1, 2), torch.tensor([[[-0.4375, -0.4375]]]))
    mean, _, mass = losses.mask_moments(faint, threshold=0.02)
    assert (mass.item(), (mean - affine.translation).abs().max().item()) == pytest.approx((0.9, 0))


def test_eq_12_compares_matrices_under_any_affine_warp() -> None:
    warping = torch.tensor([[[0.5, 0.0, 0.1], [0.0, 1.0, 0.0]]])
    still, moved = pose((0.4, 0.2), (0.2, 0.0)), pose((0.2, 0.2), (0.2, 0.0))
    assert losses.equivariance_loss(moved, still, warping).item() == pytest.approx(0, abs=1e-7)
    assert losses.equivariance_loss(still, still, warping).item() == pytest.approx(0.2)


def test_eq_13_is_about_the_own_centre_and_for_canonical_parts_about_the_origin() -> None:
    near, far = blob((0, 0), 0.1), blob((0.3, -0.4), 0.1)
    for mask in (near, far):
        assert losses.concentration_loss(mask).item() == pytest.approx(0.02, rel=1e-3)
    assert losses.canonical_concentration_loss(near).item() == pytest.approx(0.02, rel=1e-3)
    assert losses.canonical_concentration_loss(far).item() == pytest.approx(0.02 + 0.25, rel=1e-3)


def test_unlike_the_release_the_covariance_is_divided_by_the_mass_and_not_by_a_count_of_pixels() -> None:
    for peak in (1.0, 0.5, 0.1):
        _, covariance, _ = losses.mask_moments(blob((0, 0), 0.2, peak))
        assert covariance[0, 0].diagonal().tolist() == pytest.approx([0.04, 0.04], rel=1e-3)


def test_unlike_the_release_recentring_takes_the_part_to_zero_and_not_to_twice_its_place() -> None:
    for centre in ((0.0, 0.0), (0.4, -0.3), (-0.5, 0.1)):
        mean, covariance, _ = losses.mask_moments(blob(centre, 0.1))
        assert mean.flatten().tolist() == pytest.approx(centre, abs=1e-4)
        assert covariance[0, 0].diagonal().tolist() == pytest.approx([0.01, 0.01], rel=1e-3)
        affine = Affine(torch.tensor([[[1.0, 0.0]]]), torch.full((1, 1, 2), 0.1), mean)
        canonical = warp(blob(centre, 0.1).unsqueeze(1), affine.matrix())[:, 0]
        assert losses.mask_moments(canonical)[0].abs().max().item() < 1e-4


@pytest.mark.parametrize("sigmas", [1.0, CANONICAL_SIGMAS])
def test_unlike_the_releases_the_scale_head_reaches_what_eq_9_asks_of_a_limb(sigmas: float) -> None:
    covariance = torch.diag(torch.tensor([0.15**2, 0.03**2]))[None, None]
    released = lambda raw: 1 / (1 + 0.9 * torch.tanh(raw))  # noqa: E731
    ends = {}
    for name, scale in (("ours", ScaleMap(*TINY.scale_range)), ("released", released)):
        raw = torch.zeros(1, 1, 2, requires_grad=True)
        optimiser = torch.optim.Adam([raw], 0.1)
        for step in range(300):
            optimiser.param_groups[0]["lr"] = 0.1 * (1 - step / 300)
            affine = Affine(torch.tensor([[[1.0, 0.0]]]), scale(raw), torch.zeros(1, 1, 2))
            loss = losses.rotation_scale_loss(affine, covariance, sigmas).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        ends[name] = loss.item()
    assert ends["ours"] < 0.005
    assert ends["released"] > 0.25


def test_every_scale_a_mask_can_ask_for_is_in_reach() -> None:
    line = torch.zeros(1, 1, 128, 128)
    line[..., 64:67, 40:80] = 1  # a limb three pixels wide
    whole = torch.ones(1, 1, 128, 128)
    low, high = PaperAssemblyConfig().scale_range
    thin, wide = (losses.mask_moments(mask)[1][0, 0].diagonal().sqrt() * CANONICAL_SIGMAS for mask in (line, whole))
    assert low < thin.min() and wide.max() < high


def test_invert_undoes_any_affine_map() -> None:
    matrix, points = torch.tensor([[0.5, 0.3, 0.1], [-0.2, 0.9, -0.4]]), torch.tensor([[0.2, -0.9], [0.0, 0.5]])
    assert torch.allclose(transform_points(invert(matrix), transform_points(matrix, points)), points, atol=1e-6)


def test_the_papers_warp_shrinks_turns_and_moves_the_picture_as_its_matrix_says() -> None:
    transform = paper_transform(Draws(0, 0, 64))
    lengths = transform[:, :, :2].norm(dim=1)
    assert lengths.min() >= 0.75 and lengths.max() <= 1 and (lengths[:, 0] - lengths[:, 1]).abs().max() > 0.1
    assert transform[..., 2].min() >= 0 and transform[..., 2].max() <= 0.2
    moved = carry(blob((0.3, -0.2), 0.08), invert(transform[:1])[None])[:, 0]
    expected = transform_points(transform[0], torch.tensor([[0.3, -0.2]]))
    assert torch.allclose(losses.mask_moments(moved)[0][0], expected, atol=1e-3)


def test_the_network_is_shown_the_target_moved_by_the_transform() -> None:
    torch.manual_seed(0)
    pair, network, seen = random_pair(), PaperAssembly(TINY), []
    network.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    transform = random_similarity(Draws(1, 0, 2), 45, (0.8, 1.1), 0.1)
    forward_pair(network, pair, 0.0, transform)
    wanted = torch.cat([pair.source, pair.target, warp_images(pair.target, transform)])
    assert torch.allclose(seen[0], wanted, atol=1e-4)


def test_the_papers_weights_ask_for_the_papers_terms_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a term of weight 0 was computed")

    for name in ("rigidity", "motion", "edge", "responsibility", "silhouette"):
        monkeypatch.setattr(losses, f"{name}_loss", never)
    monkeypatch.setattr(objective, "appearance_loss", never)
    monkeypatch.setattr(losses, "silhouette_likelihood", never)
    torch.manual_seed(0)
    pair, network = random_pair(), PaperAssembly(TINY)
    result = forward_pair(network, pair, 0.0, paper_transform(Draws(0, 0, 2)), canonical=True)
    features = lambda predicted, image: (predicted - image).square().mean()  # noqa: E731
    terms = objective.objective(result, pair, PAPER_WEIGHTS, Fades(1.0, 1.0, 1.0), features=features)
    assert set(terms) == {
        "source", "target", "background", "translation", "rotation_scale", "equivariance", "concentration",
        "canonical_concentration",
    }  # fmt: skip
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_no_weight_no_term(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("background", "transformation", "concentration", "canonical_concentration", "equivariance"):
        monkeypatch.setattr(losses, f"{name}_loss", None)
    nothing = LossWeights(**{field.name: 0.0 for field in fields(LossWeights)})
    pair, network = random_pair(), PaperAssembly(TINY)
    result = forward_pair(network, pair, 0.0, torch.eye(2, 3).repeat(2, 1, 1))
    assert set(objective.objective(result, pair, nothing, SETTLED)) == {"target"}
    assert result.canonical is None


def test_canonical_concentration_wants_the_canonical_parts() -> None:
    pair, network = random_pair(), PaperAssembly(TINY)
    result = forward_pair(network, pair, 0.0, torch.eye(2, 3).repeat(2, 1, 1))
    with pytest.raises(ValueError, match="canonical=True"):
        objective.objective(result, pair, LossWeights(canonical_concentration=0.1), SETTLED)
