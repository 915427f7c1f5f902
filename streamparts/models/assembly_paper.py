"""Assembly as in Gao et al., "Unsupervised Co-part Segmentation through Assembly", ICML 2021: the paper's network,
layer for layer, whereas `assembly.py` is the form that learns in minutes.

Three things differ from the public release. Normalisation is per sample, which is what the release's BatchNorm computes
in its tests with one frame: a frame's result never depends on its batch. Scales can become as small as parts are. Pixel
coordinates follow this library (align_corners=False).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamparts.models.assembly import Decoder, Encoding, PartNetwork
from streamparts.models.layers import Affine, in_float32, some_channels


@dataclass(frozen=True)
class PaperAssemblyConfig:
    """The shape of the network, saved with its weights. The defaults are the paper's."""

    num_parts: int = 10
    """K, without the background."""
    image_size: int = 128
    """Side of the square input in pixels, a multiple of 32."""
    latent_channels: int = 10
    """C of the part latents V_k at a quarter of the image's side."""
    stem_widths: tuple[int, int, int] = (64, 256, 512)
    """Encoder channels at strides 1, 2, 4."""
    hourglass_widths: tuple[int, int, int] = (1024, 1024, 1024)
    """Encoder channels at strides 8, 16, 32."""
    slot_channels: int = 128
    """Channels per slot of the map that latents and poses are read from; a multiple of 32."""
    decoder_widths: tuple[int, int, int, int, int] = (64, 128, 64, 32, 16)
    """Decoder channels: two at stride 4, one at stride 2, two at stride 1."""
    scale_range: tuple[float, float] = (0.02, 2.0)
    """Range of sx and sy, which includes CANONICAL_SIGMAS times the deviation of a mask one pixel wide and of one that
    fills the image. Poses start at scale 1."""


class Conv(nn.Sequential):
    """Convolution that preserves the resolution, then LeakyReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__(nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2), nn.LeakyReLU(0.2))


class NormConv(nn.Sequential):
    """3x3 convolution, InstanceNorm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            nn.InstanceNorm2d(out_channels, affine=True),
            nn.ReLU(inplace=True),
        )


class Stem(nn.Sequential):
    """(B, 3, S, S) -> (B, widths[-1], S/4, S/4)."""

    def __init__(self, widths: tuple[int, int, int]) -> None:
        layers: list[nn.Module] = []
        for a, b in pairwise((3, *widths)):
            layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.InstanceNorm2d(b), nn.ELU(), nn.MaxPool2d(2)]
        super().__init__(*layers[:-1])


class Hourglass(nn.Module):
    """(B, C, h, w) -> (B, 2C, h, w): halved and doubled once per width, with a skip connection at each resolution."""

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        ins = (channels, *widths[:-1])
        self.down = nn.ModuleList(NormConv(a, b) for a, b in zip(ins, widths, strict=True))
        # channels that come up from below: twice a width, because skips are concatenated
        below = (widths[-1], *(2 * width for width in ins[:0:-1]))
        self.up = nn.ModuleList(NormConv(a, b) for a, b in zip(below, ins[::-1], strict=True))

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for down in self.down:
            skips.append(x)
            x = F.avg_pool2d(down(x), 2)
        for up, skip in zip(self.up, reversed(skips), strict=True):
            # (B, 2 C_i, h_i, w_i)
            x = torch.cat([up(F.interpolate(x, scale_factor=2.0, mode="nearest")), skip], dim=1)
        return x


class ScaleMap(nn.Module):
    """Maps raw values to scales in (low, high), uniformly in their logarithm; 0 gives scale 1.

    The release's 1 / (1 + 0.9 tanh(raw)) stays above 0.526, so A A^T above 0.277: no limb's covariance is that large
    (Eq. 9 requires 0.01, or CANONICAL_SIGMAS^2 as much, from a deviation of 0.1).
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        if not 0 < low < 1 < high:
            raise ValueError(f"scale_range must contain 1, got {low} to {high}")
        self.low, self.reach = low, math.log(high / low)
        # solves low (high / low)^sigmoid(offset) = 1
        self.offset = math.log(math.log(1 / low) / math.log(high))

    def forward(self, raw: Tensor) -> Tensor:
        # low (high / low)^sigmoid(raw + offset)
        return self.low * torch.exp(self.reach * torch.sigmoid(raw + self.offset))


class PoseRegressor(nn.Module):
    """(B, channels * (1 + K), h, w) -> poses: three strided convolutions, then a linear layer each for rotation, shift
    and scale."""

    def __init__(self, config: PaperAssemblyConfig) -> None:
        super().__init__()
        slots, channels = config.num_parts + 1, config.slot_channels
        widths = (channels * slots, channels // 4 * slots, channels // 8 * slots, channels // 32 * slots)
        convolutions = [nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths)]
        first, second, third = convolutions
        self.layers = nn.Sequential(first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2), third, nn.Flatten())
        # three strides of 2 from S/4: a grid of S/32 cells
        features = widths[-1] * (config.image_size // 32) ** 2
        self.rotation, self.translation, self.scale = (nn.Linear(features, 2 * config.num_parts) for _ in range(3))
        self.scale_map = ScaleMap(*config.scale_range)
        with torch.no_grad():
            # poses begin as identities: (cos, sin) = (1, 0), shift 0, scale 1
            self.rotation.bias.copy_(torch.tensor([1.0, 0.0]).repeat(config.num_parts))
            for zero in (*self.translation.parameters(), *self.scale.parameters()):
                zero.zero_()

    def forward(self, features: Tensor) -> Affine:
        return self._poses(self.layers(features))

    @in_float32
    def _poses(self, x: Tensor) -> Affine:
        rotation, translation, raw = (
            head(x).unflatten(1, (-1, 2)) for head in (self.rotation, self.translation, self.scale)
        )
        # (cos, sin) as a unit vector needs no wrapping of angles
        return Affine(F.normalize(rotation, dim=-1), self.scale_map(raw), translation)


class Residual(nn.Module):
    """x + f(x), f twice InstanceNorm, ReLU, 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            convolution = nn.Conv2d(channels, channels, 3, padding=1)
            layers += [nn.InstanceNorm2d(channels, affine=True), nn.ReLU(), convolution]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)  # type: ignore[no-any-return]


class PaperDecoder(Decoder):
    """(N, C, S/4, S/4) -> colours (N, 3, S, S), unbounded, and depth logits (N, 1, S, S)."""

    def __init__(self, latent_channels: int, widths: tuple[int, int, int, int, int]) -> None:
        super().__init__()
        a, b, c, d, e = widths
        self.layers = nn.Sequential(
            Conv(latent_channels, a, 7),
            Residual(a),
            Conv(a, b, 7),
            Conv(b, b, 3),
            nn.Upsample(scale_factor=2, mode="nearest"),
            NormConv(b, c),
            nn.Upsample(scale_factor=2, mode="nearest"),
            NormConv(c, d),
            Conv(d, e, 3),
        )
        self.last = nn.Conv2d(e, 4, 3, padding=1)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        # N = B (1 + K) slots in one batch
        colours, depth = self.last(self.layers(latents)).float().split((3, 1), dim=1)
        return colours, depth

    def depth(self, latents: Tensor) -> Tensor:
        return some_channels(self.last, self.layers(latents), slice(3, None)).float()


class PaperEncoder(nn.Module):
    """(B, 3, S, S) -> latents (B, 1 + K, C, S/4, S/4), background first, and poses."""

    def __init__(self, config: PaperAssemblyConfig) -> None:
        super().__init__()
        slots, channels, last = config.num_parts + 1, config.slot_channels, config.stem_widths[-1]
        self.stem = Stem(config.stem_widths)
        self.hourglass = Hourglass(last, config.hourglass_widths)
        self.merge = nn.Conv2d(2 * last, channels * slots, 3, padding=1)
        self.latents = nn.Sequential(
            Conv(channels * slots, channels // 4 * slots, 7),
            nn.Conv2d(channels // 4 * slots, config.latent_channels * slots, 7, padding=3),
        )
        self.pose = PoseRegressor(config)
        self.slots = slots

    def forward(self, images: Tensor) -> tuple[Tensor, Affine]:
        # (B, slot channels * (1 + K), S/4, S/4)
        merged = self.merge(self.hourglass(self.stem(images)))
        return self.latents(merged).unflatten(1, (self.slots, -1)), self.pose(merged)


class PaperAssembly(PartNetwork):
    """The paper's form; its assembly has no ellipse gate (gate = 0)."""

    config: PaperAssemblyConfig

    def __init__(self, config: PaperAssemblyConfig) -> None:
        super().__init__()
        if config.image_size % 32:
            raise ValueError(f"image_size must be a multiple of 32, got {config.image_size}")
        if config.slot_channels % 32:
            raise ValueError(f"slot_channels must be a multiple of 32, got {config.slot_channels}")
        self.config = config
        self.encoder = PaperEncoder(config)
        self.decoder = PaperDecoder(config.latent_channels, config.decoder_widths)

    def encode(self, images: Tensor) -> Encoding:
        latents, affine = self.encoder(images)
        return Encoding(latents[:, 1:], latents[:, :1], affine)
