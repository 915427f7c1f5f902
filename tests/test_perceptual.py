"""The perceptual term: hand-computed values on a tiny network, every type of file, one line for every error."""

from __future__ import annotations

import urllib.error
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from streamparts.errors import StreampartsError  # noqa: E402
from tests.conftest import ROOT  # noqa: E402
from train.pretrained import perceptual  # noqa: E402
from train.pretrained.perceptual import STRIDE_WEIGHTS, load_features, load_perceptual  # noqa: E402

SHARED = ROOT.parent / "shared" / "data"
REAL_VGG = "vgg19_normalised_conv1_1-conv3_1_fp16.npz"
SLIM_VGG = "vgg19_slim16x_to_relu5_1_fp16.npz"
SQUEEZENET = "squeezenet1_1_caffe_fp16.npz"
RESNET = "resnet50_pruned80_bnfolded_to_layer3_fp16.npz"


def shared_file(name: str) -> Path:
    path = SHARED / "features" / name
    if not path.exists():
        pytest.skip(f"the feature files are not here: ../shared/data/features/{name} is missing")
    return path


def tiny_vgg() -> dict[str, np.ndarray]:
    """Two channels per block that look at the pixel itself: the first adds up RGB, the second is its negative."""
    arrays = {"conv0.weight": np.eye(3)[:, :, None, None], "conv0.bias": np.zeros(3)}
    for block, count in enumerate((2, 2, 1), start=1):
        for i in range(1, count + 1):
            first = (block, i) == (1, 1)
            weight = np.zeros((2, 3 if first else 2, 3, 3))
            weight[:, :, 1, 1] = [[1, 1, 1], [-1, -1, -1]] if first else np.eye(2)
            arrays[f"conv{block}_{i}.weight"], arrays[f"conv{block}_{i}.bias"] = weight, np.zeros(2)
    return arrays


def saved(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return saved(tmp_path / "tiny.npz", tiny_vgg())


def test_the_term_is_the_weighted_sum_of_the_features_differences(tiny: Path) -> None:
    loss = load_perceptual(tiny)
    grey, lighter = torch.full((1, 3, 16, 16), 0.2), torch.full((1, 3, 16, 16), 0.3)
    # channel 0 is 0.6 or 0.9 at every depth, channel 1 is 0 after its ReLU: a mean difference of 0.15
    assert loss(lighter, grey).item() == pytest.approx(0.15 * (1 / 32 + 1 / 16 + 1 / 8))
    assert loss(grey, grey).item() == 0


def test_pooling_takes_the_largest(tiny: Path) -> None:
    image = torch.zeros(1, 3, 8, 8)
    image[:, :, 0, 0] = 1
    features = load_features(tiny)(image)
    assert {stride: value[0, 0].sum().item() for stride, value in features.items()} == {1: 3, 2: 3, 4: 3}
    assert features[4].shape == (1, 2, 2, 2)


def test_a_slim_network_is_brought_to_full_channels(tmp_path: Path) -> None:
    aux = np.array([[2, 0], [0, 1], [-1, 0]], float)[:, :, None, None]
    path = saved(tmp_path / "slim.npz", {**tiny_vgg(), "conv1_1_aux.weight": aux, "conv1_1_aux.bias": np.zeros(3)})
    features = load_features(path)(torch.ones(1, 3, 8, 8))
    assert features[1][0, :, 0, 0].tolist() == pytest.approx([6, 0, 0])
    assert features[2].shape[1] == 2


def test_gradients_reach_the_prediction_alone_and_nothing_is_trained(tiny: Path) -> None:
    loss = load_perceptual(tiny)
    predicted, image = (torch.rand(1, 3, 16, 16, requires_grad=True) for _ in range(2))
    loss(predicted, image).backward()
    assert predicted.grad is not None and predicted.grad.abs().sum() > 0
    assert image.grad is None
    assert list(loss.parameters()) == [] and not loss.training


def test_the_first_source_that_has_a_level_gives_it(tiny: Path, tmp_path: Path) -> None:
    short = {name: 10 * value for name, value in tiny_vgg().items() if name.startswith(("conv0", "conv1_1"))}
    both = load_perceptual(saved(tmp_path / "short.npz", short), tiny)
    features = both.features(torch.ones(1, 3, 8, 8))
    assert [features[stride][0, 0].max().item() for stride in (1, 2, 4)] == pytest.approx([300, 3, 3])


def test_random_features_are_had_by_name_and_the_same_every_time() -> None:
    image = torch.rand(1, 3, 32, 32)
    one, other = (load_perceptual("random").features(image) for _ in range(2))
    assert [value.shape[1] for value in one.values()] == [64, 128, 256, 512, 512]
    assert set(one) == set(STRIDE_WEIGHTS)
    assert all(torch.equal(one[stride], other[stride]) for stride in one)
    assert all(0.1 < value.mean() < 10 for value in one.values())


def test_torchvisions_layers_are_found_by_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    random, saved_weights = perceptual.random_vgg(torch.Generator().manual_seed(0), (2, 2, 2, 2, 2)), {}
    numbers = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28)
    layers = sorted({name.split(".")[0] for name in random})
    for number, layer in zip(numbers, layers, strict=True):
        for part in ("weight", "bias"):
            saved_weights[f"features.{number}.{part}"] = random[f"{layer}.{part}"]
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: saved_weights)
    features = load_perceptual("torchvision").features(torch.rand(1, 3, 32, 32))
    assert set(features) == set(STRIDE_WEIGHTS)


def test_without_a_network_one_line_says_how_to_get_vgg(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    with pytest.raises(StreampartsError, match=r"put https://.*vgg19.*\.npz") as caught:
        load_perceptual("torchvision")
    assert "\n" not in str(caught.value)


def damaged(name: str, folder: Path) -> Path:
    path, arrays = folder / f"{name}.npz", tiny_vgg()
    if name == "text":
        path.write_text("these are no features")
    elif name == "array":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif name == "cut":
        whole = saved(folder / "whole.npz", arrays).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif name == "objects":
        saved(path, {**arrays, "conv1_1.bias": np.array([{}, []], dtype=object)})
    elif name == "words":
        saved(path, {**arrays, "conv1_1.bias": np.array(["a", "b"])})
    elif name == "strange":
        saved(path, {"layer.weight": np.zeros(3)})
    elif name == "shape":
        saved(path, {**arrays, "conv1_2.weight": np.zeros((2, 7, 3, 3))})
    elif name == "bias":
        saved(path, {key: value for key, value in arrays.items() if key != "conv2_1.bias"})
    elif name == "nan":
        saved(path, {**arrays, "conv1_1.bias": np.array([np.nan, 0])})
    elif name == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    "name",
    ["missing", "text", "array", "cut", "objects", "words", "strange", "shape", "bias", "nan", "folder"],
)
def test_a_bad_file_is_refused_in_one_line_that_names_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(StreampartsError, match=f"{name}.npz") as caught:
        load_perceptual(damaged(name, tmp_path))
    assert "\n" not in str(caught.value)


def test_a_source_must_be_named() -> None:
    with pytest.raises(ValueError, match="at least one"):
        load_perceptual()


@pytest.mark.parametrize(
    ("names", "channels"),
    [
        ((REAL_VGG,), {1: 64, 2: 128, 4: 256}),
        ((SLIM_VGG,), {1: 64, 2: 128, 4: 256, 8: 512, 16: 512}),
        ((REAL_VGG, SLIM_VGG), {1: 64, 2: 128, 4: 256, 8: 512, 16: 512}),
        ((SQUEEZENET,), {2: 64, 4: 128, 8: 256, 16: 512}),
        ((RESNET,), {2: 64, 4: 256, 8: 512, 16: 1024}),
    ],
)
def test_real_features_tell_a_likeness_from_another_picture(names: tuple[str, ...], channels: dict[int, int]) -> None:
    loss = load_perceptual(*map(shared_file, names))
    torch.manual_seed(0)
    image = torch.rand(1, 3, 8, 8).repeat_interleave(8, 2).repeat_interleave(8, 3)
    assert {stride: value.shape[1] for stride, value in loss.features(image).items()} == channels
    darker, turned = loss(0.9 * image, image).item(), loss(image.flip(3), image).item()
    assert 0 < darker < 0.7 * turned


def test_the_slim_vgg_resembles_the_real_one() -> None:
    real, slim = load_features(shared_file(REAL_VGG)), load_features(shared_file(SLIM_VGG))
    torch.manual_seed(0)
    image = torch.rand(1, 3, 16, 16).repeat_interleave(4, 2).repeat_interleave(4, 3)
    for stride, likeness in ((1, 0.95), (2, 0.8), (4, 0.6)):
        pair = torch.stack([network(image)[stride].flatten() for network in (real, slim)])
        assert torch.corrcoef(pair)[0, 1] > likeness


def test_the_squeezenet_knows_a_horse() -> None:
    cv2 = pytest.importorskip("cv2")
    network = load_features(shared_file(SQUEEZENET))
    paths = sorted((SHARED / "images_horse" / "rgb").glob("*.jpg"))[:8]
    if not paths:
        pytest.skip("the horses are not here: ../shared/data/images_horse is missing")
    images = np.stack([cv2.resize(cv2.imread(str(path)), (224, 224), interpolation=cv2.INTER_AREA) for path in paths])
    photos = torch.from_numpy(images[..., ::-1].copy()).permute(0, 3, 1, 2).float() / 255
    scores = torch.relu(network.convolve("conv10", network(photos)[16])).mean((2, 3))
    sorrel = 339
    assert (scores.topk(5).indices == sorrel).any(1).sum() >= 4
