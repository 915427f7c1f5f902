"""Building blocks shared by the networks: a small U-Net, affine maps, and warps of feature maps.

Each network chooses its normalisation: GroupNorm, or BatchNorm if it must fold into the convolutions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache, wraps
from itertools import pairwise
from typing import NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Norm = Callable[[int], nn.Module]
Given = ParamSpec("Given")
Result = TypeVar("Result")


# Otherwise the compiler traces through the cache, with a warning.
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def has_bfloat16(device_type: str) -> bool:
    """True if "cpu" or "cuda" has bfloat16 instructions. Otherwise PyTorch emulates them at a tenth of float32's
    speed."""
    return _has_bfloat16(device_type)


@cache
def _has_bfloat16(device_type: str) -> bool:
    if device_type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device_type != "cpu":
        return False
    known: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # PyTorch before 2.10 cannot report it
    return any(known.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def in_float32(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Decorate a `function` of tensors to compute in float32 inside networks with mixed precision: 16 bits resolve a
    position only to a quarter of a pixel."""

    @wraps(function)
    def computed(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        device = next(value.device.type for value in args if isinstance(value, Tensor))
        if not torch.is_autocast_enabled(device):
            return function(*args, **kwargs)
        exact = [value.float() if isinstance(value, Tensor) else value for value in args]
        with torch.autocast(device, enabled=False):
            return function(*exact, **kwargs)  # type: ignore[arg-type]

    return computed


@in_float32
def product(first: Tensor, second: Tensor) -> Tensor:
    """Matrix product of poses and points."""
    return first @ second


class Affine(NamedTuple):
    """Part transforms T: canonical -> image, u = R diag(s) p + t, in normalised coordinates."""

    rotation: Tensor
    """(B, K, 2) unit vector (cos, sin) of the angle."""
    scale: Tensor
    """(B, K, 2) sx, sy > 0."""
    translation: Tensor
    """(B, K, 2) x, y."""

    def matrix(self) -> Tensor:
        """(B, K, 2, 3) [A | t] with A = R diag(sx, sy): Eq. 1 and 2 of Gao et al. 2021."""
        cos, sin = self.rotation.unbind(-1)
        sx, sy = self.scale.unbind(-1)
        x, y = self.translation.unbind(-1)
        return _stack_rows([cos * sx, -sin * sy, x], [sin * sx, cos * sy, y])

    def inverse_matrix(self) -> Tensor:
        """(B, K, 2, 3) of T^-1 in closed form: A^-1 = diag(1/s) R^T."""
        cos, sin = self.rotation.unbind(-1)
        sx, sy = self.scale.unbind(-1)
        linear = _stack_rows([cos / sx, sin / sx], [-sin / sy, cos / sy])
        shift = -product(linear, self.translation.unsqueeze(-1))
        return torch.cat([linear, shift], dim=-1)

    def covariance(self) -> Tensor:
        """(B, K, 2, 2) A A^T."""
        linear = self.matrix()[..., :2]
        return product(linear, linear.transpose(-1, -2))


def _stack_rows(*rows: list[Tensor]) -> Tensor:
    """Rows of entries, each (...,), -> (..., rows, columns)."""
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def centres(count: int, device: torch.device | None = None) -> Tensor:
    """(count,) normalised coordinates of pixel centres along an axis (align_corners=False)."""
    return (torch.arange(count, device=device) * 2 + 1) / count - 1


def image_grid(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """(height * width, 2) normalised x, y of the pixel centres."""
    axes = torch.meshgrid(centres(width, device), centres(height, device), indexing="xy")
    return torch.stack(axes, dim=-1).reshape(-1, 2)


def transform_points(matrix: Tensor, points: Tensor) -> Tensor:
    """(..., 2, 3) applied to (N, 2) -> (..., N, 2)."""
    return product(F.pad(points, (0, 1), value=1.0), matrix.transpose(-1, -2))


def squared_norms(matrix: Tensor, points: Tensor) -> Tensor:
    """(..., 2, 3) and (N, 2) -> (..., N): |A u + t|^2 of every point u. As a quadratic form of u it is one product with
    six columns, whereas transform_points would write both coordinates of every point."""
    # |x a + y b + t|^2 = x^2 aa + 2 x y ab + y^2 bb + 2 x at + 2 y bt + tt, with the columns a, b, t of the matrix
    columns = matrix.unbind(-1)
    pairs = [(0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2)]
    form = torch.stack([(columns[i] * columns[j]).sum(-1) for i, j in pairs], dim=-1)
    x, y = points.unbind(-1)
    return product(form, torch.stack([x * x, 2 * x * y, y * y, 2 * x, 2 * y, torch.ones_like(x)]))


def _bilinear_weights(size: int, factor: int, device: torch.device) -> Tensor:
    """(size * factor, size): each output pixel's weights of the input pixels along one axis."""
    lines = torch.eye(size, device=device)[None, None]
    return F.interpolate(lines, size=(size * factor, size), mode="bilinear", align_corners=False)[0, 0]


def enlarge(maps: Tensor, factor: int) -> Tensor:
    """(..., h, w) -> (..., h * factor, w * factor), bilinear as in F.interpolate; one product along each axis, whose
    gradient costs a CPU a fifth."""
    rows, columns = (_bilinear_weights(size, factor, maps.device) for size in maps.shape[-2:])
    return product(product(rows, maps), columns.T)


def warp(maps: Tensor, sampling: Tensor) -> Tensor:
    """Bilinear warp of (B, K, C, h, w) by (B, K, 2, 3) matrices that map output to input coordinates; zero outside.
    Warping by T gives canonical maps, by T^-1 the image's: Eq. 4 of Gao et al. 2021."""
    b, k, c, h, w = maps.shape
    grid = transform_points(sampling, image_grid(h, w, maps.device)).reshape(b * k, h, w, 2)
    flat = F.grid_sample(maps.reshape(b * k, c, h, w), grid, align_corners=False)
    return flat.reshape(maps.shape)


def carry(picture: Tensor, sampling: Tensor) -> Tensor:
    """(B, C, h, w) warped by each of (B, K, 2, 3) -> (B, K, C, h, w), as `warp` with K copies of it, but with a
    replicated border: one image is sampled at K grids stacked vertically."""
    (batch, _, h, w), parts = picture.shape, sampling.shape[1]
    # (B, K h, w, 2): grid_sample reads the image once for all parts
    grid = transform_points(sampling, image_grid(h, w, picture.device)).reshape(batch, parts * h, w, 2)
    rows = F.grid_sample(picture, grid, padding_mode="border", align_corners=False)
    return rows.reshape(batch, -1, parts, h, w).transpose(1, 2)


def part_masks(depth: Tensor) -> Tensor:
    """Eq. 3 of Gao et al. 2021: inverse depths D_k (B, 1 + K, S, S) -> masks M_k, with the nearest slot in front."""
    return depth.softmax(dim=1)


def assemble_image(masks: Tensor, part_images: Tensor) -> Tensor:
    """sum_k M_k * P_k: masks (B, 1 + K, S, S) and part images (B, 1 + K, 3, S, S) -> (B, 3, S, S)."""
    return (masks.unsqueeze(2) * part_images).sum(dim=1)


def group_norm(channels: int) -> nn.Module:
    """Normalises each sample separately: a frame's result does not depend on its batch, in training either."""
    return nn.GroupNorm(math.gcd(8, channels), channels)


def compose(first: Tensor, second: Tensor) -> Tensor:
    """(..., 2, 3) of the map that applies `second`, then `first`."""
    # A (B p + s) + t = A B p + (A s + t)
    linear = product(first[..., :2], second[..., :2])
    return torch.cat([linear, product(first[..., :2], second[..., 2:]) + first[..., 2:]], dim=-1)


def invert(matrix: Tensor) -> Tensor:
    """(..., 2, 3) of the inverse of any affine map."""
    (a, b), (c, d) = (row.unbind(-1) for row in matrix[..., :2].unbind(-2))
    determinant = a * d - b * c
    linear = _stack_rows([d, -b], [-c, a]) / determinant[..., None, None]
    return torch.cat([linear, product(-linear, matrix[..., 2:])], dim=-1)  # u = A^-1 p - A^-1 t


class ConvBlock(nn.Sequential):
    """3x3 convolution, normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, norm: Norm = group_norm) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False),
            norm(out_channels),
            nn.ReLU(inplace=True),
        )


def some_channels(convolution: nn.Conv2d, maps: Tensor, wanted: slice) -> Tensor:
    """Only the selected output channels of a convolution."""
    bias = None if convolution.bias is None else convolution.bias[wanted]
    return F.conv2d(maps, convolution.weight[wanted], bias, convolution.stride, convolution.padding)


class DoublingConv(nn.Conv2d):
    """(B, in_channels, h, w) -> (B, out_channels, 2h, 2w): nearest-neighbour upsampling, then a 3x3 convolution. Both
    are computed at once, as a transposed convolution with a 4x4 kernel: along an axis, taps (a, b, c) contribute to an
    even output b + c of its input pixel and a of the one before, to an odd output a + b of its pixel and c of the one
    after. That needs 4/9 of the multiplications, and writes nothing twice."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        # (in, out, 3, 3) -> (in, out, 4, 4); a transposed convolution applies its kernel flipped
        kernel = self.weight.transpose(0, 1).flip(-2, -1)
        kernel = F.pad(kernel, (0, 1)) + F.pad(kernel, (1, 0))  # (c, b, a) -> (c, b + c, a + b, a)
        kernel = F.pad(kernel, (0, 0, 0, 1)) + F.pad(kernel, (0, 0, 1, 0))
        return F.conv_transpose2d(maps, kernel, self.bias, stride=2, padding=1)


class UNet(nn.Module):
    """(B, 3, S, S) -> features (B, out_channels, S/4, S/4), the stem's (B, widths[0], S/2, S/2) and the
    bottleneck's mean (B, widths[-1]). `widths` are the channels at strides 2, 4, 8, 16, 32."""

    def __init__(self, widths: tuple[int, ...], out_channels: int, norm: Norm = group_norm) -> None:
        super().__init__()
        self.stem = ConvBlock(3, widths[0], stride=2, norm=norm)
        self.down = nn.ModuleList(
            nn.Sequential(ConvBlock(a, b, stride=2, norm=norm), ConvBlock(b, b, norm=norm)) for a, b in pairwise(widths)
        )
        self.context = nn.Linear(widths[-1], widths[-1])
        skips = widths[-2:0:-1]  # strides 16, 8, 4; the stem at stride 2 has no skip connection
        outs = (*skips[:-1], out_channels)
        self.up = nn.ModuleList(
            ConvBlock(below + skip, out, norm=norm)
            for below, skip, out in zip((widths[-1], *outs), skips, outs, strict=False)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        stem = self.stem(images - 0.5)
        levels = [stem]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = levels[-1]
        summary = x.mean(dim=(2, 3))
        x = x + self.context(summary)[:, :, None, None]
        for up, skip in zip(self.up, levels[-2:0:-1], strict=True):
            x = up(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skip], dim=1))
        return x, stem, summary
