"""The encoder pretrained on ImageNet: its shape, and its weights if their package is installed."""

from __future__ import annotations

import pytest
import torch

from streamparts.errors import MissingExtraError, StreampartsError
from streamparts.models.efficientnet import ALL_BLOCKS, EfficientNetLite0
from streamparts.models.student import LITE0_SIZES, Student, StudentSize, student_config
from train.pretrained import lite0
from train.pretrained.lite0 import load_lite0


@pytest.fixture(scope="module")
def whole() -> EfficientNetLite0:
    network = EfficientNetLite0()
    load_lite0(network)
    return network.eval()


def test_features_come_at_each_stride_with_the_published_channels(whole: EfficientNetLite0) -> None:
    features = whole(torch.zeros(1, 3, 64, 96))
    assert [tuple(f.shape[1:]) for f in features] == [(16, 32, 48), (24, 16, 24), (40, 8, 12), (112, 4, 6), (320, 2, 3)]
    assert whole.widths == (16, 24, 40, 112, 320)


def test_each_weight_of_the_package_that_the_encoder_needs_is_in_its_place(whole: EfficientNetLite0) -> None:
    path = lite0.lite0_file()
    assert path is not None
    published = torch.load(path, weights_only=True)
    last = whole.stages[6][0]  # type: ignore[index]
    assert torch.equal(whole.stem[1].weight, published["_conv_stem.weight"])  # type: ignore[arg-type]
    assert torch.equal(last.project[1].running_var, published["_blocks.15._bn2.running_var"])
    assert torch.equal(last.depthwise[0].weight, published["_blocks.15._depthwise_conv.weight"])


def test_padding_at_stride_two_is_tensorflows(whole: EfficientNetLite0) -> None:
    """An image in which only the first pixel is bright: with one row of padding at the end only, the first output has
    it in the kernel's first column."""
    network = EfficientNetLite0()
    convolution = next(layer for layer in network.stem if isinstance(layer, torch.nn.Conv2d))
    picture = torch.zeros(1, 3, 8, 8)
    picture[:, :, 0, 0] = 1
    padded = network.stem[0](picture)
    assert padded.shape == (1, 3, 9, 9)
    assert torch.allclose(convolution(padded)[0, :, 0, 0], convolution.weight[:, :, 0, 0].sum(1))


@pytest.mark.parametrize(("size", "millions"), [("nano", 0.7), ("small", 1.7), ("base", 3.5)])
def test_the_sizes_hold_what_they_say(size: StudentSize, millions: float) -> None:
    network = Student(student_config(10, 128, "lite0", size))
    count = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    assert 0.8 * millions <= count <= millions
    logits, affine = network.eval()(torch.zeros(1, 3, 128, 128))
    assert logits.shape == (1, 11, 128, 128) and affine.matrix().shape == (1, 10, 2, 3)


def test_a_smaller_encoder_has_the_weights_of_the_first_blocks(whole: EfficientNetLite0) -> None:
    small = EfficientNetLite0(LITE0_SIZES["small"]["blocks"])
    load_lite0(small)
    assert small.widths == (16, 24, 40, 112, 192)
    for name, value in small.state_dict().items():
        assert torch.equal(value, whole.state_dict()[name])


@pytest.mark.parametrize("blocks", [(1, 2), (1, 2, 2, 3, 4), (*ALL_BLOCKS, 1), (0, 2, 2, 3, 3)])
def test_blocks_that_are_no_part_of_the_network_are_refused(blocks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="blocks must be"):
        EfficientNetLite0(blocks)


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite0, "PACKAGE", "no_such_package")
    with pytest.raises(MissingExtraError, match=r"streamparts\[train\]"):
        load_lite0(EfficientNetLite0())


def test_another_file_in_its_place_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite0, "SHA256", "0" * 64)
    with pytest.raises(StreampartsError, match=r"expected.*weights"):
        load_lite0(EfficientNetLite0())
