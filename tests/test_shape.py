"""Parts distinguished by shape: the terms added to those of SCOPS, and the preset that uses them."""

from __future__ import annotations

import json
import math

import pytest

torch = pytest.importorskip("torch")

from streamparts.models.checkpoint import read_config  # noqa: E402
from streamparts.models.layers import Affine, image_grid, transform_points  # noqa: E402
from streamparts.models.run_files import SCOPS  # noqa: E402
from streamparts.models.scops import Scops, ScopsConfig, part_labels, part_shares  # noqa: E402
from train.drawing.puppet_clips import render_clip, write_clip  # noqa: E402
from train.frames.transforms import similarity  # noqa: E402
from train.inputs.warps import Warp  # noqa: E402
from train.presets.scops import ScopsTrainingConfig  # noqa: E402
from train.scops import LEARNER, build_learner, build_optimiser, parse_config, train  # noqa: E402
from train.terms.shape import SHAPE_WEIGHTS, Shapes, ShapeWeights, shape_terms  # noqa: E402

SIZE = 32
TURN = similarity(torch.tensor([math.pi / 6]), torch.tensor([0.8]), torch.tensor([[0.1, -0.05]]))
"""(1, 2, 3) image -> warped image."""


def moved(ellipses: Affine, transform: torch.Tensor) -> Affine:
    """Ellipses (1, K) after a similarity of 30 degrees and 0.8."""
    cos, sin = math.cos(math.pi / 6), math.sin(math.pi / 6)
    turn = torch.tensor([[cos, sin], [-sin, cos]])
    return Affine(
        ellipses.rotation @ turn,
        0.8 * ellipses.scale,
        transform_points(transform, ellipses.translation[0]),
    )


def drawn(ellipses: Affine) -> torch.Tensor:
    """(B, 1 + K, S, S) masks: inside of an ellipse is that part's, all else background."""
    points = transform_points(ellipses.inverse_matrix(), image_grid(SIZE, SIZE))
    inside = (points.square().sum(-1) < 1).float().reshape(len(ellipses.scale), -1, SIZE, SIZE)
    return torch.cat([1 - inside.sum(1, keepdim=True).clamp(max=1), inside], dim=1)


def two_ellipses() -> Affine:
    """One is horizontal, the other upright beside it."""
    return Affine(
        torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]),
        torch.tensor([[[0.4, 0.15], [0.4, 0.15]]]),
        torch.tensor([[[-0.4, -0.2], [0.4, 0.1]]]),
    )


def example() -> Shapes:
    """An image whose parts are at the ellipses, and the same image warped."""
    plain = two_ellipses()
    both = Affine(*(torch.cat(pair) for pair in zip(plain, moved(plain, TURN), strict=True)))
    masks = drawn(both)
    images = masks[:, 1:2] * torch.tensor([1.0, 0.0, 0.0])[:, None, None] + masks[:, 2:] * 0.5
    linear = torch.linalg.inv(TURN[:, :, :2])
    sampling = torch.cat([linear, -linear @ TURN[:, :, 2:]], dim=-1)
    known = torch.ones(2, 1, SIZE, SIZE)
    return Shapes(images, masks, both, 1 - masks[:, :1], known, Warp(sampling))


def terms(shapes: Shapes, settled: float = 1.0, weights: ShapeWeights = SHAPE_WEIGHTS) -> dict[str, float]:
    return {name: float(value) for name, value in shape_terms(shapes, weights, settled, 0.5).items()}


def shifted(shapes: Shapes, by: float) -> Shapes:
    """The ellipses beside their masks."""
    return shapes._replace(ellipses=shapes.ellipses._replace(translation=shapes.ellipses.translation + by))


def test_ellipses_that_follow_the_warp_cost_nothing_and_others_do() -> None:
    shapes = example()
    assert terms(shapes)["shape_equivariance"] == pytest.approx(0, abs=1e-5)
    stayed = Affine(*(values[:1].repeat(2, *[1] * (values.dim() - 1)) for values in shapes.ellipses))
    assert terms(shapes._replace(ellipses=stayed))["shape_equivariance"] > 0.1


@pytest.mark.parametrize("name", ["shape_likelihood", "shape_masks", "shape_translation"])
def test_ellipses_beside_the_parts_cost_more(name: str) -> None:
    assert terms(shifted(example(), 0.3))[name] > terms(example())[name] + 0.05


def test_uniform_ellipses_of_the_masks_are_met_by_the_moments() -> None:
    """A full ellipse has half its radius for deviation, where 2.2 deviations make the canonical unit: the ellipses that
    fit are 1.1 times as large."""
    shapes = example()
    larger = shapes._replace(ellipses=shapes.ellipses._replace(scale=1.1 * shapes.ellipses.scale))
    assert terms(larger)["shape_rotation_scale"] < 0.3 * terms(shapes)["shape_rotation_scale"]


def test_masks_that_follow_the_other_ellipse_cost_more() -> None:
    shapes = example()
    swapped = shapes._replace(masks=shapes.masks[:, [0, 2, 1]])
    assert terms(swapped)["shape_masks"] > 5 * terms(shapes)["shape_masks"]


def test_a_pixel_with_the_colour_of_a_part_is_drawn_to_it() -> None:
    shapes = example()
    wrong = shapes.masks.clone()
    there = shapes.masks[:, 1] * (torch.arange(SIZE) % 4 == 0)  # a quarter of the first part is the second one's
    wrong[:, 1] -= 0.6 * there
    wrong[:, 2] += 0.6 * there
    masks = wrong.requires_grad_()
    shape_terms(shapes._replace(masks=masks), ShapeWeights(appearance=1.0), 1.0, 0.5)["appearance"].backward()
    assert masks.grad is not None
    pull = masks.grad[:, 1][there.bool()].sum() - masks.grad[:, 2][there.bool()].sum()
    assert pull < 0


def test_what_has_no_weight_is_not_computed_and_colours_fade_in() -> None:
    assert terms(example(), weights=ShapeWeights()) == {}
    assert not ShapeWeights().any and ShapeWeights(appearance=0.1).any
    assert "appearance" not in terms(example(), settled=0.0)
    assert terms(example(), 0.5)["appearance"] == pytest.approx(terms(example(), 1.0)["appearance"] / 2)


def test_what_a_picture_does_not_show_counts_nothing() -> None:
    shapes = example()
    beyond = shapes.known.clone()
    beyond[1] = 0
    more = shapes.salient.clone()
    more[1] = 1
    kept, changed = (terms(shapes._replace(known=beyond, salient=x)) for x in (shapes.salient, more))
    assert kept == changed


def test_a_hidden_part_is_not_blown_up_to_its_peak() -> None:
    """By the release's rule the second part, nowhere likelier than 0.05, has all of the pixel where it is strongest."""
    masks = torch.tensor([[0.1, 0.85, 0.05], [0.3, 0.66, 0.04], [0.99, 0.005, 0.005]]).T[None, :, None]
    assert part_labels(masks, 0.1).tolist() == [[[1, 2, 0]]]
    assert part_labels(masks, 0.1, peak_floor=0.5).tolist() == [[[1, 1, 0]]]
    assert torch.equal(part_shares(masks)[:, 0], part_shares(masks, 0.5)[:, 0])
    with pytest.raises(ValueError, match="peak_floor"):
        Scops(ScopsConfig(image_size=64, peak_floor=1.5))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ScopsTrainingConfig:
    folder = tmp_path_factory.mktemp("clips")
    write_clip(render_clip("human", 3, num_frames=6, size_hw=(64, 64)), folder / "video.mp4")
    words = [str(folder), "--out", str(folder / "run"), "--preset", "shape", "--steps", "4", "--checkpoint-every", "2"]
    words += ["--network.num-parts", "3", "--batch-size", "2", "--threads", "1", "--device", "cpu"]
    words += ["--subject", "contrast"]
    return parse_config(words)


def test_the_shape_preset_needs_no_features_and_trains(config: ScopsTrainingConfig) -> None:
    train(config)
    row = json.loads((config.out / "log.jsonl").read_text().splitlines()[-1])
    assert {name for name in row if name.startswith("shape_")} == {
        "shape_likelihood", "shape_masks", "shape_translation", "shape_rotation_scale", "shape_equivariance",
    }  # fmt: skip
    assert "appearance" in row and "semantic" not in row
    assert (config.out / LEARNER).exists()
    assert read_config(config.out / SCOPS, ScopsConfig).peak_floor == config.network.peak_floor


def test_ellipses_are_learned_at_the_heads_rate_and_not_deployed(config: ScopsTrainingConfig) -> None:
    learner = build_learner(config, channels=0)
    assert learner.pose is not None and learner.basis is None
    heads = build_optimiser(config, learner).param_groups[1]["params"]
    assert all(any(p is other for other in heads) for p in learner.pose.parameters())
    assert not any("pose" in name for name in learner.network.state_dict())


@pytest.mark.parametrize("backbone", ["fast", "squeezenet", "resnet50"])
def test_every_backbone_can_draw_ellipses(config: ScopsTrainingConfig, backbone: str) -> None:
    from dataclasses import replace

    network = replace(config.network, backbone=backbone)
    learner = build_learner(replace(config, network=network), channels=0).eval()
    pictures = torch.rand(1, 3, 64, 64)
    ellipses = learner(pictures, pictures, None).ellipses
    assert ellipses.translation.shape == (2, 3, 2)
