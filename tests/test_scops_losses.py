"""Each equation of SCOPS on hand-computed values."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("decord")

from train.frames.transforms import Draws  # noqa: E402
from train.inputs.warps import Warp, random_warp  # noqa: E402
from train.terms import scops_losses as losses  # noqa: E402
from train.terms.scops_losses import ABLATIONS, PartBasis, ScopsResult, ScopsWeights, scops_objective  # noqa: E402
from train.terms.uld import UldDecoder, gaussian_maps, pooled_features  # noqa: E402

STILL = Warp(torch.eye(2, 3).unsqueeze(0))


def random_masks(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).mul(2).softmax(dim=1)


def spread_of(masks: torch.Tensor) -> float:
    return losses.geometric_concentration(masks, floor=0).item()


def test_concentration_is_the_variance_of_the_parts_and_not_of_the_background() -> None:
    masks = torch.zeros(1, 2, 16, 16)
    masks[:, 0], masks[:, 1, 0:4, 8:16] = 1, 1
    assert spread_of(masks) == pytest.approx((2 / 16) ** 2 * ((8**2 - 1) + (4**2 - 1)) / 12, rel=1e-4)


def test_concentration_is_a_mean_over_frames_and_parts() -> None:
    one = random_masks(2, 3, 8, 8)
    parts = [spread_of(one[i : i + 1, [0, k]]) for i in range(2) for k in (1, 2)]
    assert spread_of(one) == pytest.approx(sum(parts) / 4, rel=1e-5)


def test_with_the_floor_a_part_without_pixels_is_spread_over_the_picture() -> None:
    nothing = torch.zeros(1, 2, 16, 16)
    everywhere = 2 * (2 / 16) ** 2 * (16**2 - 1) / 12
    assert losses.geometric_concentration(nothing).item() == pytest.approx(everywhere, rel=1e-4)
    assert spread_of(nothing) == 0


def test_mask_equivariance_is_the_divergence_of_the_found_from_the_warped_masks() -> None:
    target = torch.tensor([0.75, 0.25]).reshape(1, 2, 1, 1).expand(1, 2, 4, 4)
    logits = torch.zeros(1, 2, 4, 4, requires_grad=True)
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert losses.mask_equivariance(target, logits).item() == pytest.approx(expected)
    assert losses.mask_equivariance(target, target.log()).item() == pytest.approx(0, abs=1e-6)


def test_pixels_outside_the_view_do_not_count_and_frames_count_alike() -> None:
    target, logits = torch.full((2, 2, 4, 4), 0.5), torch.zeros(2, 2, 4, 4)
    target[0, :, 0, 0], target[1, :, 0, :2] = torch.tensor([1.0, 0.0]), torch.tensor([[1.0], [0.0]])
    valid = torch.zeros(2, 1, 4, 4)
    valid[0, :, 0], valid[1, :, 0, :2] = 1, 1
    # of the first frame one of 4 valid pixels differs by log 2, of the second 2 of 2
    assert losses.mask_equivariance(target, logits, valid).item() == pytest.approx(math.log(2) * (0.25 + 1) / 2)
    assert losses.mask_equivariance(target, logits, 1 - valid).item() == pytest.approx(0, abs=1e-6)
    assert losses.mask_equivariance(target, logits, 0 * valid).item() == 0


def test_the_warped_masks_are_a_target_without_gradient() -> None:
    target, logits = (torch.randn(1, 3, 4, 4, requires_grad=True) for _ in range(2))
    losses.mask_equivariance(target.softmax(1), logits).backward()
    assert target.grad is None and logits.grad is not None


def test_centre_equivariance_is_the_mean_square_over_parts_and_coordinates() -> None:
    warped, moved = torch.zeros(1, 2, 2), torch.tensor([[[0.3, 0.1], [0.0, 2.0]]])
    assert losses.centre_equivariance(warped, moved).item() == pytest.approx((0.09 + 0.01 + 4) / 4)
    seen = losses.inside(moved)
    assert seen.tolist() == [[1, 0]]
    assert losses.centre_equivariance(warped, moved, seen).item() == pytest.approx((0.09 + 0.01) / 2)


def test_semantic_consistency_is_the_mean_square_of_what_the_basis_does_not_explain() -> None:
    masks = torch.tensor([0.5, 0.25, 0.25]).reshape(1, 3, 1, 1).expand(1, 3, 4, 4)
    basis, features = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.ones(1, 2, 2, 2)
    # each cell: (1 - 0.25 * 1)^2 and (1 - 0.25 * 2)^2
    assert losses.semantic_consistency(masks, features, basis).item() == pytest.approx((0.75**2 + 0.5**2) / 2)


def test_the_coarse_and_the_full_form_agree_where_masks_are_constant_within_cells() -> None:
    coarse, features = random_masks(2, 4, 4, 4), torch.rand(2, 5, 4, 4)
    basis = torch.rand(3, 5)
    masks, full = (x.repeat_interleave(8, 2).repeat_interleave(8, 3) for x in (coarse, features))
    at_cells = losses.semantic_consistency(masks, features, basis).item()
    assert losses.semantic_consistency_full(masks, full, basis).item() == pytest.approx(at_cells, rel=1e-5)


def test_the_full_form_exceeds_the_coarse_by_the_variance_within_cells() -> None:
    masks, features, basis = random_masks(2, 4, 32, 32), torch.rand(2, 5, 4, 4), torch.rand(3, 5)
    full = features.repeat_interleave(8, 2).repeat_interleave(8, 3)
    explained = torch.einsum("bkhw,kc->bchw", masks[:, 1:], basis)
    cells = explained.unfold(2, 8, 8).unfold(3, 8, 8).flatten(4)
    excess = cells.var(dim=-1, correction=0).mean().item()
    assert excess > 0.01
    at_cells = losses.semantic_consistency(masks, features, basis).item()
    assert losses.semantic_consistency_full(masks, full, basis).item() == pytest.approx(at_cells + excess, rel=1e-5)


def test_features_are_multiplied_by_the_mean_saliency_of_their_cells() -> None:
    saliency = torch.zeros(1, 1, 8, 8)
    saliency[..., :4, :4], saliency[..., :2, 4:] = 1, 1
    salient = losses.salient_features(torch.full((1, 3, 2, 2), 2.0), saliency)
    assert salient[0, 1].tolist() == [[2, 1], [0, 0]]


def test_where_nothing_is_salient_parts_pay_and_background_does_not() -> None:
    features = losses.salient_features(torch.ones(1, 2, 2, 2), torch.zeros(1, 1, 4, 4))
    masks = torch.zeros(1, 2, 4, 4)
    masks[:, 0] = 1
    assert losses.semantic_consistency(masks, features, torch.ones(1, 2)).item() == 0
    assert losses.semantic_consistency(masks.flip(1), features, torch.ones(1, 2)).item() == 1


def test_the_parts_together_are_to_be_what_is_salient() -> None:
    """Two parts of 1/4 each: the union is 1/2 everywhere, so ln 2 whatever is salient; and what is sure and right is
    free, what is sure and wrong is dear; pixels out of view do not count."""
    logits = torch.log(torch.tensor([0.5, 0.25, 0.25]))[None, :, None, None].expand(1, 3, 2, 2)
    salient = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    assert losses.salient_foreground(logits, salient).item() == pytest.approx(math.log(2))
    sure = torch.stack([torch.zeros(2, 2), 20 * salient[0, 0] - 10, torch.full((2, 2), -30.0)])[None]
    assert losses.salient_foreground(sure, salient).item() == pytest.approx(math.log1p(math.exp(-10)), abs=1e-6)
    wrong = losses.salient_foreground(sure, 1 - salient, torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]]))
    assert wrong.item() == pytest.approx(10, rel=1e-3)


def test_the_outline_is_learned_from_the_warped_picture_too() -> None:
    result = result_of(1)
    result = result._replace(warp=STILL, warped_logits=result.logits)
    only = ScopsWeights(**{field.name: 0 for field in fields(ScopsWeights)})
    whole = scops_objective(result, replace(only, foreground=2.0))["foreground"]
    assert whole.item() == pytest.approx(2 * losses.salient_foreground(result.logits, result.salient).item(), rel=1e-2)


def test_orthonormal_is_zero_for_orthogonal_rows_of_any_length_and_counts_cosines() -> None:
    rows = torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.5, 0.5]])
    assert losses.orthonormal(rows).item() == pytest.approx(0, abs=1e-9)
    alike = torch.tensor([[3.0, 4.0], [4.0, 3.0]])
    assert losses.orthonormal(alike).item() == pytest.approx(2 * (24 / 25) ** 2 / 4, rel=1e-5)


def test_the_orthonormal_norm_is_softened_so_that_a_dead_row_has_a_finite_gradient() -> None:
    row = torch.full((1, 1), 1e-3, requires_grad=True)
    assert losses.orthonormal(row).item() == pytest.approx(0.25, rel=1e-4)  # w^2 / (w^2 + 1e-6) = 1/2
    dead = torch.zeros(2, 3, requires_grad=True)
    losses.orthonormal(dead).backward()
    assert dead.grad is not None and dead.grad.isfinite().all()


def test_a_basis_is_never_negative_and_starts_at_the_size_of_the_features() -> None:
    torch.manual_seed(0)
    features = 5 * torch.rand(2, 64, 4, 4)
    basis = PartBasis(8, 64, float(features.square().mean().sqrt()))
    assert basis().square().mean().item() == pytest.approx(features.square().mean().item(), rel=0.2)
    basis.weight.data.sub_(3)
    assert basis().min() == 0 and basis().shape == (8, 64)


def test_separation_is_one_for_parts_in_one_place_and_a_gaussian_of_their_distance() -> None:
    assert losses.separation(torch.zeros(2, 3, 2)).item() == pytest.approx(1)
    apart = torch.tensor([[[0.0, 0.0], [0.3, 0.4]]])
    assert losses.separation(apart, sigma=0.5).item() == pytest.approx(math.exp(-0.5))
    with pytest.raises(ValueError, match="at least two"):
        losses.separation(torch.zeros(1, 1, 2))


def test_the_weights_are_the_releases_for_eight_parts() -> None:
    torch.manual_seed(0)
    masks = random_masks(6, 9, 8, 8)
    normal = masks[:, 1:] + 1e-3
    summed = sum(spread_of(normal[:, [k, k]]) for k in range(8))  # over parts, a mean over the batch
    ours = ScopsWeights().concentration * losses.geometric_concentration(masks).item()
    assert ours == pytest.approx(10 * summed / 6, rel=1e-4)
    logits = torch.randn(6, 9, 8, 8)
    over_all = torch.nn.functional.kl_div(logits.log_softmax(1), masks, reduction="none").mean().item()
    assert ScopsWeights().masks * losses.mask_equivariance(masks, logits).item() == pytest.approx(1e3 * over_all)
    rows = torch.nn.functional.normalize(torch.rand(8, 20))
    squares = (rows @ rows.T - torch.eye(8)).square().sum().item()
    assert ScopsWeights().orthonormal * losses.orthonormal(rows).item() == pytest.approx(0.1 * squares, rel=1e-4)


def result_of(batch: int = 2) -> ScopsResult:
    torch.manual_seed(0)
    return ScopsResult(
        logits=torch.randn(batch, 4, 32, 32),
        warped_logits=torch.randn(batch, 4, 32, 32),
        warp=random_warp(Draws(0, 0, batch)),
        basis=torch.rand(3, 6),
        features=torch.rand(batch, 6, 2, 2),
        saliency=torch.rand(batch, 1, 32, 32),
        salient=(torch.rand(batch, 1, 32, 32) > 0.5).float(),
        image=torch.rand(batch, 3, 32, 32),
        decoded=torch.rand(batch, 3, 32, 32),
    )


ALL_TERMS = {"concentration", "mask_equivariance", "centre_equivariance", "semantic", "orthonormal"}


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("full", ALL_TERMS),
        ("only_semantic", {"semantic", "orthonormal"}),
        ("no_semantic", ALL_TERMS - {"semantic", "orthonormal"}),
        ("no_concentration", ALL_TERMS - {"concentration"}),
        ("no_equivariance", ALL_TERMS - {"mask_equivariance", "centre_equivariance"}),
        ("no_saliency", ALL_TERMS),
        ("uld", {"concentration", "centre_equivariance", "separation", "reconstruction"}),
    ],
)
def test_each_ablation_of_the_paper_has_a_name(name: str, terms: set[str]) -> None:
    assert set(scops_objective(result_of(), ABLATIONS[name])) == terms


def test_without_the_saliency_the_map_is_not_looked_at() -> None:
    result = result_of()
    without = result._replace(saliency=None)
    no_map = scops_objective(without, ABLATIONS["no_saliency"])["semantic"]
    assert torch.equal(no_map, scops_objective(result, ABLATIONS["no_saliency"])["semantic"])
    with pytest.raises(ValueError, match="saliency map"):
        scops_objective(without, ScopsWeights())


@pytest.mark.parametrize("missing", ["basis", "features", "image", "decoded", "salient"])
def test_a_term_of_weight_0_needs_no_input_and_others_say_what_they_lack(missing: str) -> None:
    result = result_of()._replace(**{missing: None})
    nothing = ScopsWeights(**{field.name: 0 for field in fields(ScopsWeights)})
    assert scops_objective(result, nothing) == {}
    with pytest.raises(ValueError, match="needs"):
        scops_objective(result, ScopsWeights(reconstruction=1.0, foreground=1.0))


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_network_that_follows_the_warp_exactly_pays_no_equivariance(everywhere: bool) -> None:
    result = result_of(1)._replace(warp=STILL)
    terms = scops_objective(result._replace(warped_logits=result.logits), ScopsWeights(), everywhere)
    assert terms["mask_equivariance"].item() == pytest.approx(0, abs=1e-3)
    assert terms["centre_equivariance"].item() == pytest.approx(0, abs=1e-6)


def test_outside_the_view_the_releases_target_is_uniform_and_ours_asks_nothing() -> None:
    result = result_of(1)
    away = Warp(torch.tensor([[[1.0, 0.0, 9.0], [0.0, 1.0, 0.0]]]))
    result = result._replace(warp=away, warped_logits=torch.zeros_like(result.logits))
    assert scops_objective(result, ScopsWeights())["mask_equivariance"].item() == 0
    assert scops_objective(result, ScopsWeights(), True)["mask_equivariance"].item() == pytest.approx(0, abs=1e-3)
    opinion = result._replace(warped_logits=3 * torch.randn(1, 4, 32, 32))
    assert scops_objective(opinion, ScopsWeights())["mask_equivariance"].item() == 0
    assert scops_objective(opinion, ScopsWeights(), True)["mask_equivariance"].item() > 1


@pytest.mark.parametrize("everywhere", [False, True])
def test_two_processes_have_the_loss_of_one_with_the_whole_batch(everywhere: bool) -> None:
    result = result_of(2)
    assert result.warp.spline is not None
    weights = ScopsWeights(separation=1.0, reconstruction=1.0, foreground=1.0)
    whole = scops_objective(result, weights, everywhere)
    shares = []
    for i in range(2):
        rows = slice(i, i + 1)
        warp = Warp(result.warp.sampling[rows], result.warp.spline[rows])
        tensors = {name: value[rows] for name, value in result._asdict().items() if name not in ("warp", "basis")}
        shares.append(scops_objective(result._replace(warp=warp, **tensors), weights, everywhere))
    for name, value in whole.items():
        torch.testing.assert_close((shares[0][name] + shares[1][name]) / 2, value, msg=name)


def test_gaussians_stand_at_the_centres() -> None:
    maps = gaussian_maps(torch.tensor([[[0.25, -0.75]]]), 4, sigma=0.5)
    assert maps[0, 0, 0, 2].item() == 1
    assert maps[0, 0, 1, 2].item() == pytest.approx(math.exp(-0.5))


def test_pooled_features_are_the_means_over_the_masks() -> None:
    features = torch.tensor([[1.0, 3.0], [5.0, 7.0]]).reshape(1, 1, 2, 2)
    masks = torch.zeros(1, 2, 4, 4)
    masks[:, 0], masks[:, 1, :2] = 1, 1
    assert pooled_features(features, masks)[0, :, 0].tolist() == pytest.approx([4, 2])


def test_the_decoders_picture_moves_the_centres() -> None:
    torch.manual_seed(0)
    decoder = UldDecoder(num_parts=2, channels=5, image_size=32, width=16)
    centres = torch.zeros(1, 2, 2, requires_grad=True)
    image = decoder(centres, torch.rand(1, 3, 5))
    assert image.shape == (1, 3, 32, 32) and image.min() >= 0 and image.max() <= 1
    (image - torch.rand(1, 3, 32, 32)).square().mean().backward()
    assert centres.grad is not None and centres.grad.abs().sum() > 0


def test_far_from_all_parts_the_decoder_sees_the_background() -> None:
    decoder = UldDecoder(num_parts=1, channels=2, image_size=64)
    placed = decoder.placed(torch.tensor([[[-0.9, -0.9]]]), torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]))
    assert placed[0, :, 7, 7].tolist() == pytest.approx([1, 0, 1, 0], abs=1e-4)
    assert placed[0, 1, 0, 0] > 0.8
