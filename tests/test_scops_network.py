"""SCOPS: the parameter count of the paper's network, its label rule, poses from masks, and a streamed clip."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import streamparts  # noqa: E402
from export import onnx_model  # noqa: E402
from export.graph import to_onnx  # noqa: E402
from export.parity import bundle_of, compare_frames, network_runner, tolerance_of  # noqa: E402
from streamparts import geometry  # noqa: E402
from streamparts.backends.loading import load_model  # noqa: E402
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend  # noqa: E402
from streamparts.bundle.spec import ModelSpec  # noqa: E402
from streamparts.errors import StreampartsError  # noqa: E402
from streamparts.models.checkpoint import save_checkpoint  # noqa: E402
from streamparts.models.moments import mask_moments, pixel_variance, pose_from_moments  # noqa: E402
from streamparts.models.readout import ExportedScops, read_masks  # noqa: E402
from streamparts.models.resnet import CAFFE_MEAN, ResNet50  # noqa: E402
from streamparts.models.scops import LIGHT, Backbone, Scops, ScopsConfig, part_labels, part_shares, upsampled_masks  # noqa: E402
from streamparts.models.squeezenet import WIDTHS  # noqa: E402
from streamparts.parity.agreement import pose_differences  # noqa: E402
from streamparts.parity.sample_frames import FrameSet  # noqa: E402
from streamparts.sources import open_source  # noqa: E402
from streamparts.tracking.segment import PartSegmenter  # noqa: E402
from tests.conftest import ROOT  # noqa: E402
from train.pretrained.backbone import load_backbone  # noqa: E402
from train.pretrained.perceptual import load_features, open_network  # noqa: E402

RESNET = ROOT.parent / "shared" / "data" / "features" / "resnet50_pruned80_bnfolded_to_layer3_fp16.npz"
SQUEEZENET = RESNET.with_name("squeezenet1_1_caffe_fp16.npz")
FAST = ScopsConfig(num_parts=3, image_size=64)


def on_meta(config: ScopsConfig) -> Scops:
    with torch.device("meta"):
        return Scops(config)


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def deeplab() -> Scops:
    torch.manual_seed(0)
    return Scops(ScopsConfig(num_parts=2, image_size=64, backbone="resnet50")).eval()


def decisive(config: ScopsConfig = FAST) -> Scops:
    """A random network that is sure of what it sees."""
    torch.manual_seed(1)
    network = Scops(config).eval()
    with torch.no_grad():
        network.head[-1].weight.mul_(200)
    return network


@pytest.mark.parametrize(
    ("backbone", "num_parts", "parameters"),
    [("resnet50-half", 8, 23_839_844), ("resnet50", 8, 24_171_620), ("resnet50-half", 4, 23_692_372)],
)
def test_it_has_the_papers_parameters(backbone: Backbone, num_parts: int, parameters: int) -> None:
    assert count(on_meta(ScopsConfig(num_parts, backbone=backbone))) == parameters


@pytest.mark.parametrize("backbone", LIGHT)
def test_the_light_forms_are_small(backbone: Backbone) -> None:
    assert count(on_meta(ScopsConfig(backbone=backbone))) < 3e6


@pytest.mark.parametrize(
    ("backbone", "size", "side"),
    [("resnet50", 256, 33), ("resnet50-half", 128, 17), ("fast", 256, 64), ("squeezenet", 128, 32)],
)
def test_coarse_logits_have_their_stride(backbone: Backbone, size: int, side: int) -> None:
    network = on_meta(ScopsConfig(8, size, backbone))
    images = torch.zeros(2, 3, size, size, device="meta")
    assert network(images).shape == (2, 9, side, side)
    assert network.masks(images).shape == (2, 9, size, size)


def test_a_feature_cell_is_centred_on_every_eighth_pixel(deeplab: Scops) -> None:
    """A bright pixel 32 is seen by cell 4 and no other as far as conv1, the pooling and layer2's stride go."""
    first = torch.nn.Sequential(deeplab.backbone.conv1, deeplab.backbone.pool)
    stride = deeplab.backbone.layer2[0].conv1.stride
    assert stride == (2, 2) and deeplab.backbone.layer2[0].conv2.stride == (1, 1)
    image = torch.zeros(1, 3, 64, 64)
    image[..., 32, 32] = 1
    seen = first(image).abs().sum(1)[0, :: stride[0], :: stride[1]]
    assert seen.nonzero().tolist() == [[4, 4]]


def test_the_half_head_reads_the_second_half_of_the_features() -> None:
    head = Scops(ScopsConfig(2, 64, "resnet50-half")).head
    features = torch.rand(1, 2048, 3, 3)
    changed = features.clone()
    changed[:, :1024] = 0
    assert torch.equal(head(features), head(changed))
    changed[:, 1024] += 1
    assert not torch.equal(head(features), head(changed))


def test_each_channel_loses_its_own_mean(deeplab: Scops) -> None:
    assert deeplab.backbone.mean.tolist() == pytest.approx(CAFFE_MEAN)
    seen = []
    with deeplab.backbone.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])):
        deeplab(torch.tensor([1.0, 0.5, 0.0])[None, :, None, None].expand(1, 3, 64, 64))
    assert seen[0][0, :, 0, 0].tolist() == pytest.approx([255 - 122.679, 127.5 - 116.669, -104.007], abs=1e-4)


@pytest.mark.parametrize("backbone", ["fast", "squeezenet", "resnet50", "resnet50-half"])
def test_the_two_groups_hold_every_parameter_once(backbone: Backbone) -> None:
    network = on_meta(ScopsConfig(backbone=backbone))
    groups = network.parameter_groups
    listed = [id(parameter) for parameter in (*groups.backbone, *groups.head)]
    assert len(listed) == len(set(listed))
    assert set(listed) == {id(parameter) for parameter in network.parameters()}
    assert groups.backbone and groups.head


def test_norms_can_be_frozen_as_in_the_paper_or_whole() -> None:
    network = on_meta(ScopsConfig(backbone="resnet50-half"))
    network.freeze_norms()
    frozen = [p for p in network.parameters() if not p.requires_grad]
    assert sum(p.numel() for p in frozen) == 45_440
    network.train()
    assert network.backbone.bn1.training
    network.freeze_norms(statistics=True)
    assert not network.train().backbone.layer4[0].downsample[1].training
    assert network.backbone.layer1[0].training and network.head.training


def test_masks_sum_to_one_and_are_the_softmax_of_the_upsampled_logits() -> None:
    logits = 30 * torch.randn(2, 4, 8, 8)
    masks = upsampled_masks(logits, 32)
    fine = torch.nn.functional.interpolate(logits, size=(32, 32), mode="bilinear", align_corners=False)
    assert torch.allclose(masks, fine.softmax(1), atol=1e-6)


def test_each_part_is_measured_by_its_own_peak() -> None:
    #          weak part 1  strong part 2  neither
    first = torch.tensor([[0.04, 0.01, 0.003]])
    second = torch.tensor([[0.30, 0.80, 0.07]])
    masks = torch.stack([1 - first - second, first, second])[None]
    # shares of part 1: 1, 0.25, 0.075; of part 2: 0.375, 1, 0.0875; both below 0.1 in the last pixel
    assert part_labels(masks).tolist() == [[[1, 2, 0]]]


def test_on_a_plain_picture_the_first_of_several_parts_at_their_peaks_has_the_pixels() -> None:
    plain = torch.full((1, 4, 8, 8), 0.25)
    noise = 1e-7 * torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    assert (part_labels(plain + noise) == 1).all()


def ellipse(mean: tuple[float, float], semi_axes: tuple[float, float], angle: float, size: int = 128) -> np.ndarray:
    """(size, size) of 0 and 1, in normalised coordinates."""
    offsets = geometry.normalised_grid(size, size) - np.array(mean)
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return (((offsets @ rotation / semi_axes) ** 2).sum(-1) < 1).astype(np.float32)


def soft(*parts: np.ndarray) -> torch.Tensor:
    stacked = torch.from_numpy(np.stack(parts))
    return torch.cat([1 - stacked.sum(0, keepdim=True), stacked])[None]


@pytest.mark.parametrize("angle", [-1.5, -0.9, 0.0, 0.4, 0.8, math.pi / 2])
def test_the_pose_of_an_ellipse_is_known(angle: float) -> None:
    mask = ellipse((0.2, -0.1), (0.5, 0.2), angle)
    affine = read_masks(soft(mask)).affines[0, 0]
    assert affine[:, 2].tolist() == pytest.approx([0.2, -0.1], abs=2e-3)
    # An ellipse's standard deviations are half its semi-axes.
    sx, sy = affine[:, :2].norm(dim=0).tolist()
    assert (sx, sy) == pytest.approx((2.2 * 0.25, 2.2 * 0.1), rel=0.01)
    along = affine[:, 0] / sx
    assert abs(along @ torch.tensor([math.cos(angle), math.sin(angle)])) == pytest.approx(1, abs=1e-4)
    assert torch.linalg.det(affine[:, :2]) > 0


def test_poses_are_those_of_the_numpy_geometry() -> None:
    mask = np.random.default_rng(0).random((40, 40), np.float32) ** 4
    mean, covariance, mass = geometry.mask_moments(mask)
    moments = mask_moments(torch.from_numpy(mask)[None, None])
    got = pose_from_moments(moments, 1e-9).matrix()[0, 0].numpy()
    expected = geometry.affine_from_moments(mean, covariance)
    assert moments.mass.item() == pytest.approx(mass, rel=1e-5)
    assert pose_differences(expected[None, None], got[None, None], undirected=True).item() < 1e-4


def test_a_part_without_a_pixel_has_score_0_and_a_pose_that_can_be_inverted() -> None:
    readout = read_masks(soft(ellipse((0, 0), (0.5, 0.2), 0.3), np.zeros((128, 128), np.float32)))
    assert readout.scores[0].tolist() == pytest.approx([1, 0])
    assert readout.affines.isfinite().all()
    assert torch.linalg.det(readout.affines[0, 1, :, :2]) > 0


def test_a_part_of_one_pixel_is_as_large_as_that_pixel() -> None:
    mask = np.zeros((64, 64), np.float32)
    mask[10, 50] = 1
    affine = read_masks(soft(mask)).affines[0, 0].numpy()
    assert geometry.normalised_to_pixels(affine[:, 2], 64, 64).tolist() == pytest.approx([50.5, 10.5], abs=1e-4)
    assert np.allclose(affine[:, :2], np.eye(2) * 2.2 * math.sqrt(pixel_variance(64, 64)))


def test_the_score_is_what_the_network_is_sure_of() -> None:
    half = 0.5 * ellipse((0, 0), (0.5, 0.2), 0.3)
    readout = read_masks(soft(half))
    assert readout.scores.item() == pytest.approx(0.5)
    assert (readout.labels[0].numpy() == (half > 0)).all()


@pytest.mark.parametrize("change", [{"image_size": 100}, {"num_parts": 0}, {"backbone": "resnet18"}])
def test_shapes_that_do_not_fit_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Scops(replace(FAST, **change))  # type: ignore[arg-type]


def test_the_fast_form_learns() -> None:
    torch.manual_seed(0)
    network = Scops(ScopsConfig(num_parts=1, image_size=64))
    images = torch.rand(8, 3, 64, 64) * 0.2
    labels = torch.zeros(8, 64, 64, dtype=torch.long)
    for row, (x, y) in enumerate(torch.randint(0, 40, (8, 2)).tolist()):
        images[row, 0, y : y + 20, x : x + 20] += 0.8
        labels[row, y : y + 20, x : x + 20] = 1
    groups = network.parameter_groups
    optimiser = torch.optim.Adam([{"params": groups.backbone}, {"params": groups.head, "lr": 1e-2}], 1e-3)
    losses = []
    for _ in range(25):
        loss = torch.nn.functional.nll_loss(network.masks(images).log(), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def write_run(folder: Path, network: Scops, step: int = 5) -> Path:
    folder.mkdir(exist_ok=True)
    save_checkpoint(folder / "scops.safetensors", network, None, step, asdict(network.config))
    (folder / "config.json").write_text(json.dumps({"clips": str(folder), "steps": 5}))
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, video: Path) -> Iterator[tuple[Scops, Path]]:
    folder = tmp_path_factory.mktemp("scops")
    network = decisive()
    run, model = write_run(folder / "run", network), folder / "small.onnx"
    (run / "names.txt").write_text("head\nbody\ntail\n")
    assert onnx_model.main([str(run), "-o", str(model), "--frames", str(video), "--num-frames", "6"]) == 0
    yield network, model


@pytest.mark.slow
def test_the_exported_run_streams_a_clip_as_the_network_sees_it(exported: tuple[Scops, Path], video: Path) -> None:
    network, model = exported
    bundle = load_model(model)
    assert (bundle.spec.method, bundle.spec.parts) == ("scops", ("head", "body", "tail"))
    tracks = list(streamparts.track(str(video), model=bundle))
    segmenter = PartSegmenter(bundle, OnnxRuntimeBackend(bundle))
    with open_source(str(video)) as source:
        inputs = [segmenter.prepare(frame) for frame in source]
    assert len(tracks) == len(inputs) == 40
    with torch.no_grad():
        wanted = ExportedScops(network)(torch.from_numpy(np.stack([item.image for item in inputs[:8]])))
    for row, (item, got) in enumerate(zip(inputs, tracks[:8], strict=False)):
        inside = item.letterbox.inner_slices
        assert (wanted.labels[row].numpy()[inside] != got.labels[inside]).mean() < 1e-3
        expected = item.letterbox.affines_to_frame(wanted.affines[row].numpy())
        assert pose_differences(expected[None], got.affines[None], undirected=True).max() < 0.5
        assert np.allclose(wanted.scores[row], got.scores, atol=1e-3)
    for before, after in pairwise(tracks):
        forwards = (before.affines[:, :, 0] * after.affines[:, :, 0]).sum(1) >= 0
        assert forwards[before.visible & after.visible].all()


@pytest.mark.slow
def test_the_exported_graph_says_what_the_network_says(exported: tuple[Scops, Path]) -> None:
    network, model = exported
    frames = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    bundle, noise = load_model(model), FrameSet(frames, tuple("abcde"), 5)
    graph = OnnxRuntimeBackend(bundle).run

    def problem() -> str | None:
        compared = compare_frames(network_runner(ExportedScops(network)), graph, noise, bundle.spec)
        return compared.agreement().problem(tolerance_of("fp32"))

    assert problem() is None
    with torch.no_grad():
        network.head[-1].weight[1] += 0.2
        changed = problem()
        network.head[-1].weight[1] -= 0.2
    assert changed is not None


def test_an_unfinished_run_is_not_exported(tmp_path: Path, video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", Scops(FAST), step=3)
    assert onnx_model.main([str(run), "-o", str(tmp_path / "x.onnx"), "--frames", str(video)]) == 1
    assert "stopped at step 3 of 5; finish it with --resume" in capsys.readouterr().err
    assert not (tmp_path / "x.onnx").exists()


def test_the_real_weights_are_loaded_and_the_layers_without_any_are_named(deeplab: Scops) -> None:
    if not RESNET.exists():
        pytest.skip(f"the feature files are not here: ../shared/data/features/{RESNET.name} is missing")
    network = Scops(deeplab.config).eval()
    missing = load_backbone(network, RESNET)
    assert "layer4.2.conv3" in missing and not [layer for layer in missing if not layer.startswith("layer4")]
    assert not {"layer4.0.conv1", "layer4.0.bn1"} & set(missing)
    # The same weights, with dense features at stride 8 and the other pooling: the first layer is the very same.
    images = torch.rand(1, 3, 64, 64)
    features, backbone = load_features(RESNET), network.backbone
    with torch.no_grad():
        x = (images * 255 - backbone.mean[:, None, None]) / backbone.std[:, None, None]
        got = backbone.bn1(backbone.conv1(x)).relu()
        assert torch.allclose(got, features(images)[2], atol=1e-4)
        assert network(images).isfinite().all()


def numpy_block(backbone: ResNet50) -> dict[str, torch.Tensor]:
    return {name: value for name, value in backbone.state_dict().items() if name.startswith(("conv1", "bn1"))}


def test_a_safetensors_file_fills_what_it_has(deeplab: Scops, tmp_path: Path) -> None:
    path = tmp_path / "part.safetensors"
    tensors = numpy_block(deeplab.backbone)
    tensors["bn1.weight"] = tensors["bn1.weight"] + 1
    save_file({**tensors, "fc.weight": torch.zeros(10, 2048), "std": torch.full((3,), 2.0)}, path)
    network = Scops(deeplab.config)
    missing = load_backbone(network, path)
    assert torch.equal(network.backbone.bn1.weight, torch.full((64,), 2.0))
    assert torch.equal(network.backbone.conv1.weight, deeplab.backbone.conv1.weight)
    assert network.backbone.std.tolist() == [2, 2, 2]
    assert not {"conv1", "bn1"} & set(missing) and "layer1.0.conv1" in missing


def test_torchvisions_weights_bring_their_scaling(monkeypatch: pytest.MonkeyPatch, deeplab: Scops) -> None:
    saved = {name: value for name, value in deeplab.backbone.state_dict().items() if name not in ("mean", "std")}
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: {**saved, "fc.bias": torch.zeros(9)})
    network = Scops(deeplab.config)
    assert load_backbone(network, "torchvision") == ()
    assert network.backbone.std.tolist() == pytest.approx([58.395, 57.12, 57.375])
    assert torch.equal(network.backbone.layer4[2].conv3.weight, deeplab.backbone.layer4[2].conv3.weight)


def test_from_scratch_every_layer_keeps_its_first_weights() -> None:
    network = Scops(FAST)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert len(load_backbone(network, "scratch")) > 10
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    with pytest.raises(StreampartsError, match="learns from scratch"):
        load_backbone(network, "torchvision")


def torchvisions_squeezenet() -> dict[str, torch.Tensor]:
    """Random weights under torchvision's names."""
    generator = torch.Generator().manual_seed(0)
    places, out = dict(zip((3, 4, 6, 7, 9, 10, 11, 12), WIDTHS.items(), strict=True)), {}
    shapes: dict[str, tuple[int, ...]] = {"features.0": (64, 3, 3, 3), "classifier.1": (10, 512, 1, 1)}
    channels = 64
    for place, (_, (squeezed, expanded)) in places.items():
        shapes |= {
            f"features.{place}.squeeze": (squeezed, channels, 1, 1),
            f"features.{place}.expand1x1": (expanded, squeezed, 1, 1),
            f"features.{place}.expand3x3": (expanded, squeezed, 3, 3),
        }
        channels = 2 * expanded
    for layer, shape in shapes.items():
        out[f"{layer}.weight"] = torch.randn(shape, generator=generator) / math.sqrt(math.prod(shape[1:]))
        out[f"{layer}.bias"] = torch.randn(shape[0], generator=generator) / 10
    return out


def test_torchvisions_squeezenet_sees_pictures_as_it_was_trained_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first two layers by hand, from RGB less ImageNet's mean over its deviation; then, at the cells whose view
    ends within the picture, the same from the backbone that pads."""
    saved = torchvisions_squeezenet()
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: saved)
    images = torch.rand(1, 3, 64, 64)
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    first = F.conv2d((images - mean) / std, saved["features.0.weight"], saved["features.0.bias"], stride=2).relu()
    squeezed = F.conv2d(
        F.max_pool2d(first, 3, 2, ceil_mode=True), saved["features.3.squeeze.weight"], saved["features.3.squeeze.bias"]
    ).relu()
    features = open_network("squeezenet")
    assert torch.allclose(dict(features.walk(images))["conv1"], first, atol=1e-4)
    network = Scops(ScopsConfig(2, 64, "squeezenet")).eval()
    assert {layer.split(".")[0] for layer in load_backbone(network, "torchvision")} == set()
    backbone = network.backbone
    with torch.no_grad():
        x = (images * 255 - backbone.mean[:, None, None]) / backbone.std[:, None, None]
        padded = F.relu(backbone.conv1(x))
        unpadded = F.relu(F.conv2d(x, backbone.conv1.weight, backbone.conv1.bias, stride=2))
        assert padded.shape[-1] == 32
        assert torch.allclose(unpadded, first, atol=1e-4)
        assert torch.allclose(
            F.relu(backbone.fire2.squeeze1x1(F.max_pool2d(unpadded, 3, 2, ceil_mode=True))), squeezed, atol=1e-4
        )
        assert network(images).isfinite().all()


def test_caffes_squeezenet_is_turned_to_rgb() -> None:
    if not SQUEEZENET.exists():
        pytest.skip(f"the feature files are not here: ../shared/data/features/{SQUEEZENET.name} is missing")
    network, features = Scops(ScopsConfig(2, 64, "squeezenet")).eval(), load_features(SQUEEZENET)
    assert load_backbone(network, SQUEEZENET) == ()
    images, backbone = torch.rand(1, 3, 64, 64), network.backbone
    with torch.no_grad():
        x = (images * 255 - backbone.mean[:, None, None]) / backbone.std[:, None, None]
        got = F.relu(F.conv2d(x, backbone.conv1.weight, backbone.conv1.bias, stride=2))
        assert torch.allclose(got, dict(features.walk(images))["conv1"], atol=1e-3)


def test_a_higher_level_leaves_less_to_the_parts() -> None:
    ramp = torch.linspace(0, 0.8, 9)[None, None, None]
    masks = torch.cat([1 - ramp, ramp], dim=1)
    assert [int((part_labels(masks, level) > 0).sum()) for level in (0.0, 0.3, 0.6)] == [8, 6, 4]
    assert part_shares(masks).amax() == 1 and int((part_labels(masks) > 0).sum()) == 8
    with pytest.raises(ValueError, match="background_level"):
        Scops(replace(FAST, background_level=1.0))


def test_bad_sources_are_told_in_one_line(deeplab: Scops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host\nand more")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    for name in ("broken.npz", "broken.safetensors"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
    first = numpy_block(deeplab.backbone)
    save_file({"bn1.bias": first["bn1.bias"]}, tmp_path / "other.safetensors")
    save_file({**first, "bn1.bias": torch.zeros(3)}, tmp_path / "narrow.safetensors")
    save_file({**first, "layer3.6.conv1.weight": torch.zeros(256, 1024, 1, 1)}, tmp_path / "deeper.safetensors")
    save_file({**first, "bn1.bias": torch.full((64,), math.nan)}, tmp_path / "nan.safetensors")
    network = Scops(deeplab.config)
    for source, words in {
        "torchvision": "ResNet-50 could not be downloaded (no route to host): put https://",
        str(tmp_path / "none.npz"): "no weights file at",
        str(tmp_path / "none.safetensors"): "no weights file at",
        "resnet": 'is not "torchvision"',
        str(tmp_path / "broken.npz"): "is not a weights file",
        str(tmp_path / "broken.safetensors"): "is not a weights file",
        str(tmp_path / "other.safetensors"): "no conv1.weight",
        str(tmp_path / "narrow.safetensors"): "its bn1.bias is (3,), but the network's is (64,)",
        str(tmp_path / "deeper.safetensors"): "it has layer3.6.conv1.weight",
        str(tmp_path / "nan.safetensors"): "is not finite",
    }.items():
        with pytest.raises(StreampartsError) as caught:
            load_backbone(network, source)
        assert words in str(caught.value) and "\n" not in str(caught.value)


class OnePixel(torch.nn.Module):
    """A part with a single pixel in every image."""

    config = ScopsConfig(num_parts=1, image_size=64)

    def masks(self, images: torch.Tensor) -> torch.Tensor:
        part = torch.zeros(1, 1, 64, 64)
        part[..., 20, 40] = 0.01
        part = part + 0 * images[:, :1]
        return torch.cat([1 - part, part], dim=1)


@pytest.mark.slow
def test_a_part_of_one_pixel_has_a_pose_in_the_exported_graph_too() -> None:
    """The exporter leaves out what it takes for additions of zero, so nothing may depend on one."""
    spec = ModelSpec(name="one", method="scops", parts=("a",), input_hw=(64, 64))
    network = ExportedScops(OnePixel()).eval()  # type: ignore[arg-type]
    backend = OnnxRuntimeBackend(bundle_of(to_onnx(network, spec), Path("one.onnx")))
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    wanted, got = network_runner(network)(images), backend.run(images)
    assert np.isfinite(got.affines).all() and np.allclose(got.affines, wanted.affines, atol=1e-6)
    assert (got.labels == wanted.labels).all() and (got.labels > 0).sum() == 3
