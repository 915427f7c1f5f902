"""The objective uses only the known background of a pair."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("decord")

from streamparts.models.assembly import Assembly, AssemblyConfig  # noqa: E402
from streamparts.models.layers import compose, invert, transform_points  # noqa: E402
from train.frames.transforms import Draws, random_similarity, warp_images  # noqa: E402
from train.inputs.augment import Pair  # noqa: E402
from train.terms.objective import objective  # noqa: E402
from train.terms.pair_forward import PairResult, forward_pair  # noqa: E402
from train.terms.weights import Fades, LossWeights  # noqa: E402

FADES = Fades(bootstrap=0.5, motion=0.5, borders=0.5)
SHAPE = AssemblyConfig(
    image_size=32, num_parts=3, latent_channels=6, widths=(8, 12, 16, 24, 24), feature_channels=24, decoder_width=12
)


@pytest.fixture(scope="module")
def pair() -> Pair:
    torch.manual_seed(0)
    known = torch.zeros(2, 1, 32, 32)
    known[:, :, :, :20] = 1
    images = [torch.rand(2, 3, 32, 32) for _ in range(4)]
    silhouettes = [torch.rand(2, 1, 32, 32) for _ in range(2)]
    return Pair(
        source=images[0], target=images[1], source_silhouette=silhouettes[0], target_silhouette=silhouettes[1],
        source_background=images[2], target_background=images[3], source_known=known, target_known=known,
    )  # fmt: skip


@pytest.fixture(scope="module")
def result(pair: Pair) -> PairResult:
    torch.manual_seed(0)
    transform = random_similarity(Draws(0, 0, 2), 45, (0.8, 1.1), 0.1)
    return forward_pair(Assembly(SHAPE), pair, 2.0, transform)


def test_what_stands_where_the_background_is_not_known_changes_nothing(pair: Pair, result: PairResult) -> None:
    known = pair.source_known
    other = replace(
        pair,
        source_silhouette=torch.where(known > 0, pair.source_silhouette, 1.0),
        target_silhouette=torch.where(known > 0, pair.target_silhouette, 0.0),
        source_background=torch.where(known > 0, pair.source_background, 0.5),
        target_background=torch.where(known > 0, pair.target_background, 0.5),
    )
    terms, again = (objective(result, x, LossWeights(), FADES) for x in (pair, other))
    for name, value in terms.items():
        torch.testing.assert_close(value, again[name], msg=name)


def test_of_a_pair_without_known_background_the_other_terms_remain(pair: Pair, result: PairResult) -> None:
    nothing = torch.zeros_like(pair.source_known)
    terms = objective(result, replace(pair, source_known=nothing, target_known=nothing), LossWeights(), FADES)
    for name in ("silhouette", "motion", "bootstrap", "bootstrap_masks"):
        assert terms[name].item() == 0
    assert terms["target"].item() > 0 and all(torch.isfinite(value) for value in terms.values())


def test_a_triplet_adds_a_velocity_and_explains_no_pixel_worse(pair: Pair) -> None:
    torch.manual_seed(0)
    network = Assembly(SHAPE)
    transform = random_similarity(Draws(0, 0, 2), 45, (0.8, 1.1), 0.1)
    around = replace(pair, before=torch.rand_like(pair.target), after=torch.rand_like(pair.target))
    alone, together = (forward_pair(network, x, 2.0, transform) for x in (pair, around))
    torch.testing.assert_close(alone.retargeted.image, together.retargeted.image, atol=1e-4, rtol=1e-3)
    weights = LossWeights(velocity=2.0)
    without, with_it = (objective(result, x, weights, FADES) for result, x in ((alone, pair), (together, around)))
    assert with_it.keys() - without.keys() == {"velocity"} and with_it["velocity"].item() > 0
    assert with_it["motion"].item() < without["motion"].item()
    same = replace(pair, before=pair.target, after=pair.target)
    assert objective(forward_pair(network, same, 2.0, transform), same, weights, FADES)["velocity"].item() < 1e-5
    assert with_it["target"].item() < objective(together._replace(triplet=None), around, weights, FADES)["target"]


def test_the_motion_term_takes_the_targets_background(pair: Pair, result: PairResult) -> None:
    before = objective(result, pair, LossWeights(), FADES)["motion"]
    source = replace(pair, source_background=pair.source_background * 0)
    target = replace(pair, target_background=pair.target_background * 0)
    assert objective(result, source, LossWeights(), FADES)["motion"] == before
    assert objective(result, target, LossWeights(), FADES)["motion"] != before


def test_poses_and_warps_are_as_exact_in_mixed_precision(pair: Pair) -> None:
    transform = random_similarity(Draws(0, 0, 2), 45, (0.8, 1.1), 0.1)
    points = torch.rand(9, 2)

    def moved() -> list[torch.Tensor]:
        back = compose(invert(transform), transform)
        return [back, transform_points(transform, points), warp_images(pair.source, transform)]

    wanted = moved()
    with torch.autocast("cpu", torch.bfloat16):
        assert (points @ points.T).dtype == torch.bfloat16
        got = moved()
        result = forward_pair(Assembly(SHAPE), pair, 2.0, transform)
    assert all(torch.equal(one, other) for one, other in zip(wanted, got, strict=True))
    for pose in (result.source, result.target, result.warped):
        assert {value.dtype for value in pose} == {torch.float32}
    assert result.recovered.masks.dtype == torch.float32
