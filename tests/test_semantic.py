"""The features V: their layers and grid; they are not trained."""

from __future__ import annotations

import urllib.error
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from streamparts.errors import StreampartsError  # noqa: E402
from tests.test_perceptual import REAL_VGG, RESNET, SLIM_VGG, SQUEEZENET, saved, shared_file, tiny_vgg  # noqa: E402
from train.inputs.images import ImageFolder  # noqa: E402
from train.pretrained import perceptual  # noqa: E402
from train.terms.semantic import CollectionFeatures, SemanticFeatures, factorised_basis, load_semantic  # noqa: E402

NARROW = (4, 4, 4, 4, 4)


def blocky(side: int = 128) -> torch.Tensor:
    """Coloured blocks of 16 pixels, (2, 3, side, side)."""
    cells = torch.rand(2, 3, side // 16, side // 16, generator=torch.Generator().manual_seed(0))
    return cells.repeat_interleave(16, 2).repeat_interleave(16, 3)


def narrow_weights() -> dict[str, torch.Tensor]:
    return perceptual.random_vgg(torch.Generator().manual_seed(0), NARROW, perceptual.ALL_VGG_BLOCKS)


def test_the_papers_layers_are_relu5_2_and_relu5_4_of_torchvisions_vgg(monkeypatch: pytest.MonkeyPatch) -> None:
    random, stored = narrow_weights(), {}
    numbers = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
    layers = sorted({name.split(".")[0] for name in random})
    for number, layer in zip(numbers, layers, strict=True):
        for part in ("weight", "bias"):
            stored[f"features.{number}.{part}"] = random[f"{layer}.{part}"]
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: stored)
    semantic, images = load_semantic(), blocky(64)
    features = semantic(images)
    assert features.shape == (2, 8, 4, 4)
    by_name = dict(semantic.network.walk(images))
    assert list(by_name)[-4:] == ["relu5_1", "relu5_2", "relu5_3", "relu5_4"]
    assert torch.equal(features, torch.cat([by_name["relu5_2"], by_name["relu5_4"]], dim=1))


def test_layers_after_the_last_that_is_wanted_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    network = perceptual.Vgg(perceptual._with_scaling(narrow_weights()), "constant")
    computed: list[str] = []
    convolve = network.convolve
    monkeypatch.setattr(network, "convolve", lambda name, *rest: computed.append(name) or convolve(name, *rest))
    assert set(network(torch.rand(1, 3, 32, 32))) == {1, 2, 4, 8, 16}
    assert computed[-1] == "conv5_1"


def test_finer_layers_are_averaged_over_the_area_of_a_cell() -> None:
    network = perceptual.Vgg(perceptual._with_scaling(narrow_weights()), "constant")
    images = blocky(64)
    features = SemanticFeatures(network, ("relu4_1", "relu5_1"))(images)
    fine = network(images)[8]
    torch.testing.assert_close(features[:, :4], torch.nn.functional.avg_pool2d(fine, 2))


def test_nothing_is_trained_and_images_get_no_gradient() -> None:
    semantic = load_semantic("random")
    features = semantic(torch.rand(1, 3, 32, 32, requires_grad=True))
    assert features.shape == (1, 1024, 2, 2) and features.min() >= 0
    assert not features.requires_grad and list(semantic.parameters()) == [] and not semantic.training


def test_without_network_or_file_one_line_says_how_to_get_the_features(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    for source, words in (
        ("torchvision", r"put https://.*\.npz"),
        (tmp_path / "missing.npz", r"no features file at .*missing\.npz"),
    ):
        with pytest.raises(StreampartsError, match=words) as caught:
            load_semantic(source)
        assert "\n" not in str(caught.value)


def test_a_network_that_ends_too_early_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StreampartsError, match=r"short\.npz.*conv5_1"):
        load_semantic(saved(tmp_path / "short.npz", tiny_vgg()))


def test_a_picture_that_has_no_whole_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 16, got 40 x 32"):
        load_semantic("random")(torch.rand(1, 3, 40, 32))


def test_the_real_vgg_stops_before_anything_semantic() -> None:
    with pytest.raises(StreampartsError, match="ends before conv5_1"):
        load_semantic(shared_file(REAL_VGG))


@pytest.mark.parametrize(("name", "channels"), [(SLIM_VGG, 1024), (SQUEEZENET, 1024), (RESNET, 1024)])
def test_real_features_lie_where_the_picture_changes(name: str, channels: int) -> None:
    semantic, images = load_semantic(shared_file(name)), blocky()
    features = semantic(images)
    assert features.shape == (2, channels, 8, 8) and features.min() >= 0
    changed = images.clone()
    changed[:, :, 32:48, 64:80] = 1 - changed[:, :, 32:48, 64:80]
    difference = (semantic(changed) - features).square().mean((0, 1))
    shares, places = difference / difference.sum(), torch.arange(8.0)
    assert (shares.sum(1) @ places).item() == pytest.approx(2, abs=0.5)
    assert (shares.sum(0) @ places).item() == pytest.approx(4, abs=0.5)


@pytest.fixture
def collection(tmp_path: Path) -> ImageFolder:
    rng = np.random.default_rng(0)
    for number in range(5):
        cv2.imwrite(str(tmp_path / f"{number}.png"), rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    return ImageFolder.open(tmp_path, 64)


def test_v_of_a_collection_is_the_same_kept_or_computed_again(collection: ImageFolder) -> None:
    semantic = load_semantic("random")
    kept = CollectionFeatures(semantic, collection, 32, torch.device("cpu"))
    again = CollectionFeatures(semantic, collection, 32, torch.device("cpu"), budget=0)
    assert kept.kept == {} and again.kept is None
    for numbers in ([0, 3], [3, 1, 3], [4]):
        assert torch.allclose(kept.of(numbers), again.of(numbers), rtol=2e-3, atol=1e-5), "half precision"
    assert sorted(kept.kept) == [0, 1, 3, 4]
    assert kept.of([0]).shape == (1, kept.channels, 2, 2)
    everything = kept.of(range(5))
    assert everything.square().mean().item() == pytest.approx(1, rel=1e-2)


def test_the_basis_starts_at_what_differs_within_the_subjects() -> None:
    """Two kinds of cells on the subject, one beside it: the factors are the two kinds, at the size of the cells."""
    one, two, beside = torch.eye(6)[[0, 2, 5]] * torch.tensor([3.0, 0.5, 9.0])[:, None]
    features = torch.stack([one, two, beside, beside]).T.reshape(1, 6, 2, 2).repeat(8, 1, 1, 1)
    saliency = torch.tensor([[1.0, 1.0], [0.0, 0.0]]).expand(8, 1, 2, 2)
    basis = factorised_basis(features, saliency, 2, seed=0)
    order = basis.argmax(dim=1).argsort()
    assert torch.allclose(basis[order], torch.stack([one, two]), atol=1e-2)
    with pytest.raises(StreampartsError, match="salient"):
        factorised_basis(features, torch.zeros_like(saliency), 2, seed=0)
