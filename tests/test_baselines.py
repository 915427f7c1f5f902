"""The papers' other systems: their equations by values worked out by hand, and the whole process at a tiny size."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import streamparts  # noqa: E402
from export import onnx_model  # noqa: E402
from streamparts.backends.choice import open_backend  # noqa: E402
from streamparts.backends.loading import load_model  # noqa: E402
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend  # noqa: E402
from streamparts.models.co_part import frames_of  # noqa: E402
from streamparts.models.flow_capsules import Capsules, visible_masks  # noqa: E402
from streamparts.models.layers import Affine  # noqa: E402
from streamparts.models.nem import (  # noqa: E402
    SIGMA,
    NemConfig,
    NemState,
    Relations,
    earlier_first,
    responsibilities,
    with_background,
)
from streamparts.models.psd import shares_of  # noqa: E402
from streamparts.models.segmenters import SEGMENTERS, load_segmenter  # noqa: E402
from streamparts.sources import open_source  # noqa: E402
from streamparts.tracking.segment import PartSegmenter  # noqa: E402
from train.baselines import co_part, flow_capsules, nem, psd  # noqa: E402
from train.baselines.__main__ import main, parse_config, train  # noqa: E402
from train.baselines.methods import METHODS  # noqa: E402
from train.baselines.settings import BaselineConfig  # noqa: E402
from train.drawing.puppet_clips import write_clips  # noqa: E402
from train.frames.transforms import Draws  # noqa: E402
from train.inputs.augment import Pair  # noqa: E402
from train.judging.finding import open_finder  # noqa: E402

SIDES = {"co-part": 32, "flow-capsules": 32, "psd": 32, "nem": 16, "r-nem": 16}
"""Sides of the tiny networks' images."""


def frame(a: float, b: float, c: float, d: float, x: float, y: float) -> torch.Tensor:
    """(1, 1, 2, 3) [[a, b, x], [c, d, y]]."""
    return torch.tensor([[[[a, b, x], [c, d, y]]]], dtype=torch.float32)


# Motion Co-part


def test_a_segments_frame_is_its_heatmaps_mean_position_and_linear_map():
    heat = torch.tensor([[0.0, 0.25], [0.0, 0.75]]).reshape(1, 1, 2, 2)  # pixel centres (.5, -.5) and (.5, .5)
    linear = torch.zeros(1, 1, 4, 2, 2)
    linear[0, 0, 1, 0, 1], linear[0, 0, 1, 1, 1], linear[0, 0, 3] = 4.0, 8.0, 2.0
    # .25 * 4 + .75 * 8 = 7
    assert torch.allclose(frames_of(heat, linear), frame(0, 7, 0, 2, 0.5, 0.25))


def test_a_segment_moves_by_the_map_between_its_frames():
    # A_S A_T^-1 = 2 R(90 degrees): z = p_T + (.1, 0) goes to p_S + (0, .2)
    source, target = frame(0, -1, 1, 0, 0.3, 0.4), frame(0.5, 0, 0, 0.5, -0.2, 0.1)
    motion = co_part.segment_motions(source, target)
    moved = motion[..., :2] @ torch.tensor([-0.1, 0.1]) + motion[..., 2]
    assert torch.allclose(moved, torch.tensor([0.3, 0.6]), atol=1e-6)


def test_a_frame_without_extent_can_still_be_inverted():
    assert co_part.segment_motions(frame(1, 0, 0, 1, 0, 0), frame(0, 0, 0, 0, 0, 0)).isfinite().all()


def test_dense_motion_is_the_mean_of_the_motions_that_the_masks_weigh():
    masks = torch.tensor([0.25, 0.75]).reshape(1, 2, 1, 1).expand(1, 2, 2, 2)
    grid = co_part.dense_motion(frame(1, 0, 0, 1, 0.4, -0.8), masks)
    # the pixel centre (-.5, -.5) stays for a quarter and moves by (.4, -.8) for three
    assert torch.allclose(grid[0, 0, 0], torch.tensor([-0.5 + 0.3, -0.5 - 0.6]))
    assert grid.shape == (1, 2, 2, 2)


def test_background_is_hidden_where_the_source_shows_the_subject():
    source, target = (torch.tensor([a, 1 - a]).reshape(1, 2, 1, 1) for a in (0.2, 0.9))
    # 1 - .9 (1 - .2)
    assert co_part.visibility(source, target).item() == pytest.approx(0.28)
    assert co_part.visibility(target, source).item() == pytest.approx(0.98)


def test_the_targets_background_learns_nothing_from_what_it_hides():
    source, target = (torch.full((1, 2, 1, 1), 0.5, requires_grad=True) for _ in range(2))
    co_part.visibility(source, target).sum().backward()
    assert target.grad is None
    assert source.grad is not None
    assert source.grad.flatten().tolist() == [0.5, 0.0]


def deformation(affine: torch.Tensor, **weights: tuple[float, float]) -> co_part.Deformation:
    """With nine knots; `middle` is the one at (0, 0)."""
    every = torch.zeros(1, 9, 2)
    every[0, 4] = torch.tensor(weights.get("middle", (0.0, 0.0)))
    return co_part.Deformation(affine, every)


def test_a_deformation_bends_around_its_knots():
    bent = deformation(torch.eye(2, 3)[None], middle=(0.5, 0.0))
    # r = .5: r^2 log r = -.1733, half of it along x; r = 1: 0; at the knot itself: 0
    moved = bent.move(torch.tensor([[0.5, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    expected = torch.tensor([[0.5 + 0.5 * 0.25 * math.log(0.5), 0.0], [0.0, 1.0], [0.0, 0.0]])
    assert torch.allclose(moved[0], expected, atol=1e-5)
    # at (1, 0) the slope of r^2 log r is 2 log 1 + 1 along x
    assert torch.allclose(bent.jacobian(torch.tensor([[[1.0, 0.0]]])), torch.tensor([[1.5, 0.0], [0.0, 1.0]]))


def test_equivariance_of_frames_is_zero_for_frames_that_follow():
    double = deformation(torch.tensor([[[2.0, 0, 0.1], [0, 2, 0]]]))  # warped -> original
    one, followed = frame(2, 0, 0, 2, 0.5, 0.6), frame(1, 0, 0, 1, 0.2, 0.3)
    assert co_part.position_equivariance_loss(one, followed, double).item() == pytest.approx(0, abs=1e-6)
    assert co_part.affine_equivariance_loss(one, followed, double).item() == pytest.approx(0, abs=1e-6)
    # T(p') = (.7, .6) instead of (.5, .6): a mean of .1; A^-1 J A' = 1.5 I, and two of four entries are off by .5
    other = frame(1.5, 0, 0, 1.5, 0.3, 0.3)
    assert co_part.position_equivariance_loss(one, other, double).item() == pytest.approx(0.1)
    assert co_part.affine_equivariance_loss(one, other, double).item() == pytest.approx(0.25)


def test_a_deformed_image_is_fetched_where_the_deformation_points():
    image = torch.arange(4.0).expand(1, 1, 4, 4)
    shift = deformation(torch.tensor([[[1.0, 0, 0.5], [0, 1, 0]]]))  # half of the image's width is 2: one pixel
    assert shift.warp(image)[0, 0, 0].tolist() == pytest.approx([1, 2, 3, 3])


def test_the_reconstruction_loss_sums_over_layers_and_over_scales_that_are_large_enough():
    class Features:
        def features(self, images: torch.Tensor) -> dict[int, torch.Tensor]:
            return {1: images, 2: 3 * images, images.shape[-1]: 0 * images}

    loss = co_part.reconstruction_loss(Features(), torch.ones(1, 3, 64, 64), torch.zeros(1, 3, 64, 64))  # type: ignore[arg-type]
    # (1 + 3) at 64 and at 32 pixels
    assert loss.item() == 8


def test_random_deformations_have_the_deviations_of_the_release():
    drawn = co_part.random_deformation(Draws(0, 0, 4000), torch.device("cpu"))
    assert (drawn.affine - torch.eye(2, 3)).std().item() == pytest.approx(0.05, rel=0.02)
    assert drawn.weights.std().item() == pytest.approx(0.005, rel=0.02)
    assert drawn.weights.shape == (4000, 25, 2)


# Flow Capsules


def test_the_nearer_of_two_shapes_hides_the_other():
    shapes = torch.tensor([1.0, 1.0, 0.5, 0.0]).reshape(1, 1, 1, 4).repeat(1, 2, 1, 1)
    masks = visible_masks(shapes, torch.tensor([[0.0, 5.0]]))
    assert torch.allclose(masks.sum(1), torch.ones(1, 1, 4))
    assert torch.allclose(masks[0, :, 0, 0], torch.tensor([0.0, 0.0, 1.0]), atol=1e-5)
    # s = .5 each: background .25; the far one s (1 - .5) = .25 of a visible .75, the near one .5
    assert torch.allclose(masks[0, :, 0, 2], torch.tensor([0.25, 0.25, 0.5]), atol=1e-5)
    assert torch.allclose(masks[0, :, 0, 3], torch.tensor([1.0, 0.0, 0.0]), atol=1e-5)


def pose(turn: float, scale: float, x: float, y: float) -> Affine:
    rotation = torch.tensor([[[math.cos(turn), math.sin(turn)]]])
    return Affine(rotation, torch.full((1, 1, 2), float(scale)), torch.tensor([[[float(x), float(y)]]]))


def test_a_part_carries_its_pixels_from_pose_to_pose():
    visible = torch.tensor([0.5, 0.5]).reshape(1, 2, 1, 1).expand(1, 2, 2, 2)
    flow = flow_capsules.part_flow(pose(0, 0.5, 0, 0), pose(math.pi / 2, 1.0, 0.2, 0), visible)
    # (.5, .5) is (1, 1) in the part's frame, which goes to (-1, 1) + (.2, 0); half of that motion is visible
    assert torch.allclose(flow[0, 1, 1], torch.tensor([(-0.8 - 0.5) / 2, (1 - 0.5) / 2]), atol=1e-6)


def test_the_photometric_loss_is_small_for_the_true_flow():
    first, second = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    first[..., 1], second[..., 2] = 1.0, 1.0
    flow = torch.tensor([0.5, 0.0]).expand(1, 4, 4, 2)
    assert flow_capsules.photometric_loss(first, second, flow).item() == pytest.approx(0.001, rel=1e-3)
    # without motion two of four columns differ by one
    assert flow_capsules.photometric_loss(first, second, 0 * flow).item() == pytest.approx(0.5005, rel=1e-3)


def test_smoothness_ends_at_edges_of_the_image():
    flow = torch.zeros(1, 2, 2, 2)
    flow[..., 1, 0] = 1.0  # the right column moves along x: of the four differences along x, two are 1
    grey = torch.full((1, 3, 2, 2), 0.5)
    assert flow_capsules.smoothness_loss(flow, grey).item() == pytest.approx(0.5)
    grey[..., 1] = 0.6
    assert flow_capsules.smoothness_loss(flow, grey).item() == pytest.approx(0.5 * math.exp(-1), rel=1e-4)


def test_a_shape_is_centred_in_its_own_frame():
    shapes = torch.zeros(1, 1, 2, 2)
    shapes[0, 0, 0, 0] = 1.0  # at (-.5, -.5)
    assert flow_capsules.centred_loss(shapes, pose(0.7, 0.5, -0.5, -0.5)).item() == pytest.approx(0, abs=1e-6)
    assert flow_capsules.centred_loss(shapes, pose(0, 0.5, 0, -0.5)).item() == pytest.approx(1.0)


def test_shape_and_depth_do_not_change_between_frames():
    one = Capsules(pose(0, 1, 0, 0), torch.tensor([[[1.0, 2.0]]]), torch.tensor([[0.5]]))
    other = Capsules(pose(1, 1, 1, 0), torch.tensor([[[1.0, 4.0]]]), torch.tensor([[1.5]]))
    assert flow_capsules.static_loss(one, other).item() == pytest.approx(2 + 1)


# PSD


def test_latents_are_compared_with_the_standard_normal_distribution():
    mean, log_variance = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, math.log(2.0)]])
    # 1/2 + (2 - ln 2 - 1) / 2
    assert psd.divergence_loss(mean, log_variance).item() == pytest.approx(0.5 + (1 - math.log(2)) / 2)


def test_a_part_moves_the_places_of_what_hangs_on_it():
    local = torch.zeros(1, 2, 2, 1, 3)
    local[0, 0, :, 0, 0] = torch.tensor([-2.0, 1.0])  # the first part moves by (-2, 1), in the first pixel
    local[0, 1, 0, 0, 1:] = torch.tensor([4.0, 1.0])  # the second in the others, furthest in the second
    structure = torch.tensor([[0.9, 0.5], [0.0, 0.7]])  # the second hangs by half on the first
    moved = psd.global_motions(local, structure)
    assert torch.allclose(moved[0, 0, :, 0], torch.tensor([[-2.0, -1.0, -0.25], [1.0, 0.5, 0.125]]), atol=1e-5)
    assert torch.allclose(moved[0, 1], local[0, 1], atol=1e-5)
    assert psd.structure_loss(structure).item() == pytest.approx(0.25)


def test_image_and_flow_are_compared_by_squares():
    assert psd.image_loss(torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, 3, 2, 2)).item() == 0.25
    assert psd.flow_loss(torch.full((1, 2, 2, 2), 3.0), torch.ones(1, 2, 2, 2)).item() == 4


def test_a_latent_of_zero_moves_nothing():
    torch.manual_seed(0)
    network = SEGMENTERS["psd"].build(SEGMENTERS["psd"].config(num_parts=2, image_size=32))
    features = torch.rand(1, 2, 8, 8)
    assert network.local_motions(features, torch.zeros(1, 2)).abs().max() == 0
    moved = network.local_motions(features, torch.tensor([[1.0, 0.0]]))
    assert moved[:, 0].abs().max() > 0
    assert moved[:, 1].abs().max() == 0


def test_pixels_that_hardly_move_are_background():
    masks = shares_of(torch.tensor([2.0, 0.2]).reshape(1, 1, 1, 2), 0.3)
    # relative heats 1 and .1 beside .3
    assert torch.allclose(masks[0, :, 0], torch.tensor([[0.3 / 1.3, 0.75], [1 / 1.3, 0.25]]))


def test_the_flow_of_a_moved_picture_is_found():
    ramp = np.random.default_rng(0).random((12, 12, 3)).astype(np.float32)
    large = torch.from_numpy(np.kron(ramp, np.ones((6, 6, 1), np.float32))).permute(2, 0, 1)
    first, second = large[None, :, 4:68, 4:68], large[None, :, 4:68, 2:66]  # everything goes two pixels to the right
    flow = psd.flows(first, second)[0, :, 16:48, 16:48]
    assert flow.mean((1, 2)).tolist() == pytest.approx([2, 0], abs=0.2)


# N-EM and R-NEM


def test_responsibilities_are_those_of_equal_gaussians():
    means = torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1, 1).expand(1, 2, 3, 1, 1)
    image = torch.full((1, 3, 1, 1), 0.25)
    # |x - psi|^2 = 3 / 16 and 27 / 16; with sigma 1 the logs differ by 24 / 32
    shares = responsibilities(means, image, sigma=1.0)
    assert shares[0, 0].item() == pytest.approx(1 / (1 + math.exp(-0.75)))


def test_a_component_must_draw_its_own_pixels_and_know_nothing_of_others():
    shares = torch.tensor([0.75, 0.25]).reshape(1, 2, 1, 1)
    means = torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1, 1).expand(1, 2, 3, 1, 1)
    image = torch.zeros(1, 3, 1, 1)
    # intra: .25 * 3 / 2; inter: (.25 + .75) * 3 / 4 / 2, or .75 * 3 / 2 with a black prior
    assert nem.intra_cluster_loss(shares, means, image).item() == pytest.approx(0.375)
    assert nem.inter_cluster_loss(shares, means, 0.5).item() == pytest.approx(0.375)
    assert nem.inter_cluster_loss(shares, means).item() == pytest.approx(1.125)


def test_equal_components_part_only_from_pixels_far_from_the_prior():
    count, sigma = 10, SIGMA

    def after(contrast: float) -> float:
        """K times the share of the first component, of K times 1.01, once each has drawn its share of a pixel."""
        shares = torch.full((count,), (1 - 1.01 / count) / (count - 1))
        shares[0] = 1.01 / count
        # the minimum of gamma |x - psi|^2 + (1 - gamma) |psi|^2 is psi = gamma x
        means = (shares * contrast).reshape(1, count, 1, 1, 1).expand(-1, -1, 3, -1, -1)
        return responsibilities(means, torch.full((1, 3, 1, 1), contrast), sigma)[0, 0].item() * count

    # (1/K) (1 - 1/K) 3 x^2 / sigma^2 is 1 at x = .19 with sigma = .1
    assert 1 < after(0.12) < 1.01 < after(0.3)


@pytest.mark.parametrize(("relational", "wanted"), [(False, [0, 0, 1, 1]), (True, [0, 1, 1, 1])])
def test_r_nem_must_draw_the_next_frame_and_n_em_the_one_it_sees(relational: bool, wanted: list[int]):
    black, white, empty = torch.zeros(2, 3, 8, 8), torch.ones(2, 3, 8, 8), torch.zeros(2, 1, 8, 8)
    pair = Pair(black, white, empty, empty, black, white, empty, empty)
    learner = nem.NemLearner(NemConfig(2, 8, hidden=8, width=2, iterations=4, relational=relational))
    step, seen = learner.network.step, []

    def record(state: NemState, given: torch.Tensor, image: torch.Tensor) -> NemState:
        seen.append((given.mean().item(), image.mean().item()))
        return step(state, given, image)

    learner.network.step = record  # type: ignore[method-assign]
    learner(pair, Draws(0, 0, 2))
    assert [image for _, image in seen] == wanted
    # a fifth of the values is noise of mean .5
    assert [given for given, _ in seen] == pytest.approx([0.1, 0.1, 0.9, 0.9], abs=0.05)


def test_the_component_along_the_border_is_the_background():
    shares = torch.zeros(1, 2, 3, 3)
    shares[0, 1], shares[0, 0, 1, 1], shares[0, 1, 1, 1] = 1.0, 1.0, 0.0
    masks = with_background(shares)
    assert masks[0, 0].sum() == 8
    assert masks[0, 1].nonzero().tolist() == [[1, 1]]
    assert masks[0, 2].sum() == 0


def test_of_components_that_draw_the_same_the_first_has_the_pixel():
    lowered = earlier_first(torch.tensor([0.4, 0.4, 0.2]).reshape(1, 3, 1, 1)).flatten()
    # .4, .4 (1 - .01 / 3), .2 (1 - .02 / 3), divided by their sum
    assert torch.allclose(lowered, torch.tensor([0.4, 0.39866667, 0.19866667]) / 0.99733333)


def test_relations_see_the_others_and_not_their_order():
    torch.manual_seed(0)
    relations, states = Relations(8), torch.randn(1, 3, 8)
    out = relations(states)
    assert torch.allclose(relations(states[:, [0, 2, 1]])[:, 0], out[:, 0], atol=1e-6)
    changed = states.clone()
    changed[:, 1] += 1
    assert (relations(changed)[:, 0] - out[:, 0]).abs().max() > 1e-5


def test_noise_replaces_its_share_of_the_values():
    images = torch.full((4, 3, 64, 64), 2.0)
    replaced = nem.noisy(images, Draws(0, 0, 4), 0.2) < 1
    assert replaced.float().mean().item() == pytest.approx(0.2, abs=0.01)


# All of them


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("puppets")
    write_clips(folder, "arm", num_clips=2, num_frames=8, size_hw=(64, 64))
    return folder


def tiny(clips: Path, out: Path, method: str, **changes: object) -> BaselineConfig:
    flags = [str(clips), "--out", str(out), "--method", method, "--subject", "background", "--features", "random"]
    config = replace(
        parse_config(flags), steps=4, batch_size=2, num_parts=3, image_size=SIDES[method], checkpoint_every=2,
        device="cpu", threads=1,
    )  # fmt: skip
    return replace(config, **changes)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_it_trains_and_its_export_streams_a_clip_as_the_network_sees_it(method: str, clips: Path, tmp_path: Path):
    run, model = tmp_path / "run", tmp_path / "model.onnx"
    train(tiny(clips, run, method))
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4]
    assert (run / "parts.png").exists()
    assert onnx_model.main([str(run), "-o", str(model), "--num-frames", "4"]) == 0
    bundle = load_model(model)
    assert (bundle.spec.method, bundle.spec.undirected) == (method, True)
    streamed = list(streamparts.track(str(clips / "clip_0000.mp4"), model=bundle, backend="onnxruntime"))
    segmenter = PartSegmenter(bundle, OnnxRuntimeBackend(bundle))
    with open_source(str(clips / "clip_0000.mp4")) as source:
        seen = np.stack([segmenter.prepare(frame).image for frame in source])
    assert len(streamed) == len(seen) == 8
    finder = open_finder(str(run))
    for image, tracks in zip(seen, streamed, strict=True):
        found = finder(image)
        assert (found.labels == tracks.labels).mean() > 0.99
        assert np.allclose(found.masks.sum(0), 1, atol=1e-5)  # type: ignore[union-attr]
    by_torch = open_backend(bundle, "torch", 1).run(seen)
    assert (by_torch.labels == np.stack([tracks.labels for tracks in streamed])).mean() > 0.99


def test_an_interrupted_run_resumes_to_the_same_weights(clips: Path, tmp_path: Path):
    train(tiny(clips, tmp_path / "whole", "nem"))
    train(tiny(clips, tmp_path / "half", "nem", steps=2))
    train(tiny(clips, tmp_path / "half", "nem", resume=True))
    whole, half = (load_segmenter(tmp_path / name / "segmenter.safetensors")[1] for name in ("whole", "half"))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), half.parameters(), strict=True))


def test_subject_masks_pull_the_background_off_the_subject(clips: Path, tmp_path: Path):
    train(tiny(clips, tmp_path / "run", "co-part", subject_masks=True))
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert all(row["subject"] > 0 for row in rows)


def test_what_only_motion_co_part_has_is_refused_elsewhere(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main([str(clips), "--out", str(tmp_path / "run"), "--method", "nem", "--subject-masks"]) == 1
    assert "nem" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_unknown_method_is_refused(tmp_path: Path):
    with pytest.raises(SystemExit) as ended:
        parse_config([str(tmp_path), "--out", "run", "--method", "magic"])
    assert ended.value.code == 2
