"""Folding BatchNorm changes the layers, not what they compute."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from streamparts.models.fuse import fuse_batch_norms  # noqa: E402
from streamparts.models.student import Student, StudentConfig  # noqa: E402
from tests.networks import NETWORKS, with_lived_norms  # noqa: E402


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_a_fused_network_has_no_norms_and_computes_the_same(name: str) -> None:
    torch.manual_seed(0)
    network = with_lived_norms(NETWORKS[name]())
    fused = fuse_batch_norms(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    images = torch.rand(2, 3, 64, 64)
    (wanted,), (got,) = ((x if isinstance(x, tuple) else (x,))[:1] for x in (network(images), fused(images)))
    assert (wanted - got).abs().max() < 1e-4 * wanted.abs().max()


def test_the_network_itself_stays_as_it_was() -> None:
    network = Student(StudentConfig(3, 64))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fuse_batch_norms(network)
    assert network.training
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_the_keys_are_the_networks_own_but_for_the_norms() -> None:
    network = Student(StudentConfig(3, 64))
    norms = [name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]
    kept = {key for key in network.state_dict() if key.rpartition(".")[0] not in norms}
    gained = {f"{norm.rpartition('.')[0]}.0.bias" for norm in norms}
    assert set(fuse_batch_norms(network).state_dict()) == kept | gained


def test_a_norm_that_follows_no_convolution_stays() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3))
    assert isinstance(fuse_batch_norms(network)[2], nn.BatchNorm2d)
