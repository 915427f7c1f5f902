"""The coordinate conventions.

Continuous pixels: origin at the image's top-left corner, pixel centres at +0.5, x right, y down. Normalised coordinates
are 2x/W - 1 and 2y/H - 1 (the meaning of `align_corners=False`), so scaling an image is a pure multiplication and
cropping a pure addition. A part's affine maps its canonical frame to the image: u = A p + t with A = R(theta) diag(sx,
sy). Numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamparts.arrays import ByteArray, FloatArray, require_shape

FloatLike = NDArray[np.floating]
Region = tuple[float, float, float, float]
"""Left, top, width and height of a rectangle, in pixels of the frame as displayed. It may extend beyond the frame."""

CANONICAL_SIGMAS = 2.2
"""c in A A^T = c^2 Sigma: a part's canonical unit circle spans c standard deviations, so that it encloses the part. The
paper's Eq. 9, with c = 1, would cut limbs off at one sigma."""


def normalised_grid(height: int, width: int) -> FloatArray:
    """(height, width, 2) normalised x, y of the pixel centres."""
    # pixel i has its centre at i + 1/2, which is (2 i + 1) / H - 1
    y = (2 * np.arange(height, dtype=np.float32) + 1) / height - 1
    x = (2 * np.arange(width, dtype=np.float32) + 1) / width - 1
    return np.stack(np.meshgrid(x, y, indexing="xy"), axis=-1)


def normalised_to_pixels(points: FloatLike, height: int, width: int) -> FloatLike:
    """(..., 2) normalised x, y -> continuous pixels."""
    return (points + 1) * np.array([width / 2, height / 2], points.dtype)


def pixels_to_normalised(points: FloatLike, height: int, width: int) -> FloatLike:
    """(..., 2) continuous pixels -> normalised x, y."""
    return points / np.array([width / 2, height / 2], points.dtype) - 1


def mask_moments(mask: NDArray[np.number | np.bool_], threshold: float = 0.0) -> tuple[FloatArray, FloatArray, float]:
    """Mean (2,), covariance (2, 2) in normalised coordinates and mass of an (H, W) mask: Eq. 10 and 11 of Gao
    et al. 2021 over the pixels above `threshold`. An empty mask gives zeros and mass 0."""
    require_shape("mask", mask, (None, None))
    # (H W,) weights, and (H W, 2) positions of the same pixels
    weights = np.where(mask > threshold, mask, 0).astype(np.float32).ravel()
    mass = float(weights.sum())
    if mass <= 0:
        return np.zeros(2, np.float32), np.zeros((2, 2), np.float32), 0.0
    points = normalised_grid(*mask.shape).reshape(-1, 2)
    mean = weights @ points / mass
    centred = points - mean
    covariance = (centred * weights[:, None]).T @ centred / mass
    return mean.astype(np.float32), covariance.astype(np.float32), mass


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Fits a displayed frame, or a region of it, into a model's input with its aspect ratio preserved; the rest is
    padding.

    The content is scaled to `inner_hw` and placed with its top-left corner at `offset_xy` of the model's input.
    """

    frame_hw: tuple[int, int]
    """Size of the displayed frame, in pixels."""
    model_hw: tuple[int, int]
    """Size of the model input, in pixels."""
    inner_hw: tuple[int, int]
    """Size of the scaled content inside the model input, in whole model pixels."""
    offset_xy: tuple[int, int]
    """Left and top padding, in model pixels."""
    crop: Region | None = None
    """Region of the frame that is shown; None is the whole frame."""

    @classmethod
    def fit(cls, frame_hw: tuple[int, int], model_hw: tuple[int, int], region: Region | None = None) -> Letterbox:
        """The largest centred placement that preserves the aspect ratio to within a model pixel.

        With a `region`, the placement of that; parts of it outside the frame are padding, as is the remainder of the
        model input. Its edges are rounded to even pixels of the frame, so that half-resolution chroma stays aligned.
        Raises ValueError for sizes below 1, and for a region that does not intersect the frame.
        """
        if min(*frame_hw, *model_hw) < 1:
            raise ValueError(f"sizes must be positive, got frame {frame_hw} and model {model_hw}")
        if region is not None:
            return cls._fit_region(frame_hw, model_hw, region)
        # model pixels per displayed pixel: the axis that fills the input decides
        scale = min(model_hw[0] / frame_hw[0], model_hw[1] / frame_hw[1])
        inner = (max(1, round(frame_hw[0] * scale)), max(1, round(frame_hw[1] * scale)))
        offset = ((model_hw[1] - inner[1]) // 2, (model_hw[0] - inner[0]) // 2)
        return cls(frame_hw, model_hw, inner, offset)

    @classmethod
    def _fit_region(cls, frame_hw: tuple[int, int], model_hw: tuple[int, int], region: Region) -> Letterbox:
        left, top, width, height = region
        if not (width > 0 and height > 0 and np.isfinite(region).all()):
            raise ValueError(f"a region is left, top, width and height, the last two above 0, got {region}")
        # here displayed pixels per model pixel
        scale = max(width / model_hw[1], height / model_hw[0])
        across = _shown(left, width, frame_hw[1], model_hw[1], scale)
        down = _shown(top, height, frame_hw[0], model_hw[0], scale)
        if across is None or down is None:
            raise ValueError(f"region {region} does not intersect a frame of {frame_hw[1]}x{frame_hw[0]}")
        crop = (float(across.start), float(down.start), float(across.length), float(down.length))
        return cls(frame_hw, model_hw, (down.inner, across.inner), (across.offset, down.offset), crop)

    def resized(self, frame_hw: tuple[int, int]) -> Letterbox:
        """The same for the frame at another displayed size."""
        if self.crop is None:
            return replace(self, frame_hw=frame_hw)
        x, y = frame_hw[1] / self.frame_hw[1], frame_hw[0] / self.frame_hw[0]
        left, top, width, height = self.crop
        return replace(self, frame_hw=frame_hw, crop=(left * x, top * y, width * x, height * y))

    @property
    def shown_hw(self) -> tuple[float, float]:
        """Height and width of the content, in displayed pixels."""
        return self.frame_hw if self.crop is None else (self.crop[3], self.crop[2])

    @property
    def region(self) -> Region:
        """The whole model input, padding included, in displayed pixels."""
        height, width = self.model_hw
        corners = np.array([[0, 0], [width, height]], np.float64)
        (left, top), (right, bottom) = self.model_to_frame(corners).tolist()
        return left, top, right - left, bottom - top

    @property
    def scale_xy(self) -> FloatArray:
        """(2,) displayed pixels per model pixel."""
        height, width = self.shown_hw
        return np.array([width / self.inner_hw[1], height / self.inner_hw[0]], np.float32)

    @property
    def inner_slices(self) -> tuple[slice, slice]:
        """Rows and columns of the model input that contain the content."""
        (x, y), (height, width) = self.offset_xy, self.inner_hw
        return slice(y, y + height), slice(x, x + width)

    def pad(self, inner: ByteArray) -> ByteArray:
        """(inner_h, inner_w, 3) -> (model_h, model_w, 3): the scaled content on black."""
        require_shape("inner", inner, (*self.inner_hw, 3))
        if self.inner_hw == self.model_hw:
            return inner
        canvas = np.zeros((*self.model_hw, 3), np.uint8)
        canvas[self.inner_slices] = inner
        return canvas

    def model_to_frame(self, points: FloatLike) -> FloatLike:
        """(..., 2) model pixels -> displayed pixels."""
        shown = (points - np.array(self.offset_xy, points.dtype)) * self.scale_xy.astype(points.dtype)
        return shown if self.crop is None else shown + np.array(self.crop[:2], points.dtype)

    def frame_to_model(self, points: FloatLike) -> FloatLike:
        """(..., 2) displayed pixels -> model pixels."""
        shown = points if self.crop is None else points - np.array(self.crop[:2], points.dtype)
        return shown / self.scale_xy.astype(points.dtype) + np.array(self.offset_xy, points.dtype)

    def affines_to_frame(self, affines: FloatArray) -> FloatArray:
        """(K, 2, 3) canonical -> normalised model coordinates, to canonical -> displayed pixels."""
        require_shape("affines", affines, (None, 2, 3))
        half = np.array([self.model_hw[1] / 2, self.model_hw[0] / 2], np.float32)
        # u_px = (u + 1) W / 2: rows scale by half the sides, translations also shift by them
        out = affines * half[:, None]
        out[:, :, 2] += half
        out[:, :, 2] = self.model_to_frame(out[:, :, 2])
        # A has no offset: its rows only scale
        out[:, :, :2] *= self.scale_xy[:, None]
        return out

    def areas_to_frame(self, areas: FloatArray) -> FloatArray:
        """Square model pixels -> square displayed pixels."""
        return areas * np.float32(self.scale_xy.prod())


class _Shown(NamedTuple):
    """One axis of a region: pixels `start` to `start + length` of the frame become `inner` pixels of the model input,
    from `offset`."""

    start: int
    length: int
    offset: int
    inner: int


def _shown(start: float, length: float, frame: int, model: int, scale: float) -> _Shown | None:
    # even edges: chroma has half the resolution
    first = 2 * round(start / 2)
    last = first + max(2, 2 * round(length / 2))
    low, high = max(first, 0), min(last, frame)
    if low >= high:
        return None
    inner = min(model, max(1, round((high - low) / scale)))
    offset = (model - length / scale) / 2 + (low - first) / scale
    return _Shown(low, high - low, min(max(0, round(offset)), model - inner), inner)


def affine_from_moments(mean: FloatArray, covariance: FloatArray, sigmas: float = CANONICAL_SIGMAS) -> FloatArray:
    """(2, 3) affine whose unit circle is the `sigmas` ellipse of a Gaussian; the first axis is the longest."""
    # Sigma = V diag(values) V^T in ascending order, so A = c V diag(sqrt(values)) with the columns reversed
    values, vectors = np.linalg.eigh(np.asarray(covariance, np.float64))
    long_axis = vectors[:, 1]
    rotation = np.stack([long_axis, [-long_axis[1], long_axis[0]]], axis=1)
    scales = sigmas * np.sqrt(np.maximum(values[::-1], 1e-12))
    return np.concatenate([rotation * scales, np.asarray(mean)[:, None]], axis=1).astype(np.float32)


CIRCLE = np.stack([np.cos(np.arange(32) * np.pi / 16), np.sin(np.arange(32) * np.pi / 16)])
"""(2, 32) points on the unit circle."""


def outline(affine: ArrayLike) -> NDArray[np.float64]:
    """(32, 2) displayed pixels on the ellipse of a (2, 3) affine."""
    values = np.asarray(affine, np.float64)
    points: NDArray[np.float64] = (values[:, :2] @ CIRCLE + values[:, 2:]).T
    return points


def box_around(affine: ArrayLike, height: int, width: int) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of the ellipse of a (2, 3) affine, clipped to the frame."""
    values = np.asarray(affine, np.float64)
    # (2,) |A's rows|: the largest x and y of A p over the unit circle
    half = np.sqrt(np.square(values[:, :2]).sum(axis=1))
    low, high = (np.clip(values[:, 2] + sign * half, 0, (width, height)).tolist() for sign in (-1, 1))
    return low[0], low[1], high[0], high[1]


Mask = NDArray[np.bool_]


def mask_placement(letterbox: Letterbox) -> tuple[tuple[float, float], tuple[float, float]]:
    """Placement of masks at model resolution on the displayed frame: the mask's x, y at the frame's top-left corner,
    and displayed pixels per mask pixel."""
    (height, width), (inner_height, inner_width) = letterbox.shown_hw, letterbox.inner_hw
    scale = (width / inner_width, height / inner_height)
    (x, y), (left, top) = letterbox.offset_xy, (0.0, 0.0) if letterbox.crop is None else letterbox.crop[:2]
    return (x - left / scale[0], y - top / scale[1]), scale


def displayed(
    mask: Mask, offset_xy: tuple[float, float], scale_xy: tuple[float, float], height: int, width: int
) -> Mask:
    """Scale to (height, width): every displayed pixel takes the mask pixel under its centre; 0 outside."""
    (left, top), (scale_x, scale_y) = offset_xy, scale_xy
    # the mask pixel under each displayed pixel's centre
    columns = np.floor((np.arange(width) + 0.5) / scale_x + left).astype(np.int64)
    rows = np.floor((np.arange(height) + 0.5) / scale_y + top).astype(np.int64)
    bordered = np.pad(mask, 1)  # pixels outside take the border
    columns, rows = np.clip(columns, -1, mask.shape[1]) + 1, np.clip(rows, -1, mask.shape[0]) + 1
    out: Mask = bordered.take(columns, axis=1).take(rows, axis=0)
    return out


def box_of(mask: Mask) -> tuple[float, float, float, float] | None:
    """x0, y0, x1, y1 around the pixels of a mask; None without any."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(columns):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
