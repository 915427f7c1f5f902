"""EfficientNet-lite0 (Tan and Le 2019, in the "lite" form without squeeze-and-excitation, ReLU6 throughout): an encoder
pretrained on ImageNet. train/pretrained/lite0.py loads the weights."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

NORM_EPS = 1e-3
NORM_MOMENTUM = 0.01
"""Parameters of BatchNorm, as used in pretraining."""


class Stage(NamedTuple):
    """Blocks of one width; the first of them has the stride."""

    kernel: int
    stride: int
    expansion: int
    channels: int


STEM_CHANNELS = 32
STAGES = (
    Stage(3, 1, 1, 16),
    Stage(3, 2, 6, 24),
    Stage(5, 2, 6, 40),
    Stage(3, 2, 6, 80),
    Stage(5, 1, 6, 112),
    Stage(5, 2, 6, 192),
    Stage(3, 1, 6, 320),
)
ALL_BLOCKS = (1, 2, 2, 3, 3, 4, 1)
"""Blocks of each stage in the full network."""


class EfficientNetLite0(nn.Module):
    """Images (B, 3, S, S) RGB in [0, 1] -> features at strides 2, 4, 8, 16 and, with the sixth stage, 32.

    `blocks` is the number of blocks kept in each stage; with fewer than ALL_BLOCKS, or fewer stages, the network is
    smaller, and its weights are those of the full network's first blocks.
    """

    def __init__(self, blocks: tuple[int, ...] = ALL_BLOCKS) -> None:
        """Raises ValueError for `blocks` that are not part of the network."""
        super().__init__()
        fits = 5 <= len(blocks) <= len(STAGES) and all(
            1 <= kept <= whole for kept, whole in zip(blocks, ALL_BLOCKS, strict=False)
        )
        if not fits:
            raise ValueError(f"blocks must be five to seven numbers from 1 to those of {ALL_BLOCKS}, got {blocks}")
        self.blocks = tuple(blocks)
        self.stem = nn.Sequential(*convolution(3, STEM_CHANNELS, 3, stride=2))
        self.stages = nn.ModuleList()
        before = STEM_CHANNELS
        for stage, kept in zip(STAGES, blocks, strict=False):
            self.stages.append(
                nn.Sequential(
                    *(Block(stage.channels if i else before, stage, stage.stride if i == 0 else 1) for i in range(kept))
                )
            )
            before = stage.channels
        self.channels = tuple(stage.channels for stage, _ in zip(STAGES, blocks, strict=False))

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of `forward`'s features."""
        deepest = self.channels[5:]
        return (*self.channels[:3], self.channels[4], *deepest[-1:])

    def forward(self, images: Tensor) -> list[Tensor]:
        # TensorFlow's input: (bytes - 127) / 128
        x = self.stem(images * (255 / 128) - 127 / 128)
        given = []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            # the last stage of each stride: 2, 4, 8, 16 and 32
            if number in (0, 1, 2, 4) or number == len(self.stages) - 1:
                given.append(x)
        return given


def convolution(
    in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1, active: bool = True
) -> list[nn.Module]:
    """A convolution with TensorFlow's "same" padding, which at stride 2 pads one more row and column at the end, its
    norm and, if `active`, ReLU6."""
    # padding of both sides together, for even sizes
    both = kernel - 1 if stride == 1 else kernel - 2
    before = both // 2
    even = both == 2 * before
    layers: list[nn.Module] = [] if even else [nn.ZeroPad2d((before, before + 1, before, before + 1))]
    padding = before if even else 0
    layers += [
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels, eps=NORM_EPS, momentum=NORM_MOMENTUM),
    ]
    return [*layers, nn.ReLU6(inplace=True)] if active else layers


class Block(nn.Module):
    """Inverted residual: expand, depthwise filter, project; added to its input if shapes allow."""

    def __init__(self, in_channels: int, stage: Stage, stride: int) -> None:
        super().__init__()
        wide = in_channels * stage.expansion
        self.expand = nn.Sequential(*(convolution(in_channels, wide, 1) if stage.expansion > 1 else ()))
        self.depthwise = nn.Sequential(*convolution(wide, wide, stage.kernel, stride=stride, groups=wide))
        self.project = nn.Sequential(*convolution(wide, stage.channels, 1, active=False))
        self.adds = stride == 1 and in_channels == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        # narrow -> wide -> wide, one filter per channel -> narrow
        out: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + out if self.adds else out
