"""Fully connected CRF on soft masks, for evaluation and other offline work: Kraehenbuehl and Koltun, "Efficient
inference in fully connected CRFs with Gaussian edge potentials", 2011.

Mean field with Potts compatibility (their Eq. 4): Q(l) <- p(l) exp(sum_m w_m M_m[Q](l)), normalised over l. M_m is the
mean of Q over all pixels, weighted by a Gaussian of their distance: in position only (smoothness), or in position and
colour (appearance; their Eq. 3). Means instead of sums make the weights independent of the image's size; a pixel counts
in its own mean.

SCOPS as released has only the smoothness term (sigma 3 px, weight 5, 5 iterations), and so never uses the image; this
is `RELEASED`. The appearance term is our addition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from streamparts.arrays import ByteArray, FloatArray, require_shape

from .found import FoundParts

SMALLEST = 1e-6
"""Lower bound of probabilities, so that no label is impossible."""
DIMENSIONS = 5
"""Dimensions of the bilateral grid: x, y, R, G, B."""


@dataclass(frozen=True)
class CrfConfig:
    """Parameters of both terms; a weight of 0 disables one. The appearance term's defaults were chosen by the
    foreground IoU of train.dff's parts on 12 of the horses it was fitted to (horses:FOLDER,fit subsampled to 12), from
    about 20 variants around the released smoothness."""

    smoothness_weight: float = 5.0
    smoothness_sigma_px: float = 3.0
    appearance_weight: float = 5.0
    appearance_sigma_px: float = 30.0
    """Sigma of position, in pixels of the given image."""
    appearance_sigma_rgb: float = 13.0
    """Sigma of each colour, 0 to 255."""
    num_iterations: int = 5

    def __post_init__(self) -> None:
        if min(self.smoothness_weight, self.appearance_weight, self.num_iterations) < 0:
            raise ValueError(f"weights and iterations cannot be negative, got {self}")
        if min(self.smoothness_sigma_px, self.appearance_sigma_px, self.appearance_sigma_rgb) <= 0:
            raise ValueError(f"sigmas must be positive, got {self}")


RELEASED = CrfConfig(appearance_weight=0)
"""SCOPS's own post-processing."""

Mean = Callable[[FloatArray], FloatArray]
"""Maps (H, W, 1 + K) to the same shape: each pixel's weighted mean over all pixels."""


WORKING_SIDE = 256
"""Length of the longer side, in pixels, at which parts are refined; the sigmas are meant for about this size."""
CONFIDENCE = 0.9
"""Probability of a hard label, for networks without soft masks; the other labels share the rest."""


def refine_found(found: FoundParts, image: ByteArray, config: CrfConfig | None = None) -> FoundParts:
    """Refine labels and soft masks with the (H, W, 3) image, at WORKING_SIDE or the image's own size if that is
    smaller. Poses stay unchanged."""
    scale = min(1.0, WORKING_SIDE / max(image.shape[:2]))
    wh = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    masks = unary_of_labels(found.labels, len(found.affines)) if found.masks is None else found.masks
    # (1 + K, h, w), still summing to 1: bilinear interpolation is linear
    scaled = np.stack([cv2.resize(mask, wh, interpolation=cv2.INTER_LINEAR) for mask in masks])
    picture = np.asarray(cv2.resize(image, wh, interpolation=cv2.INTER_AREA), np.uint8)
    refined = refine(scaled, picture, config)
    return replace(found, labels=refined.argmax(axis=0).astype(np.uint8), masks=refined)


def unary_of_labels(labels: ByteArray, num_parts: int) -> FloatArray:
    """Return (1 + K, h, w) probabilities of hard labels: CONFIDENCE for the label itself."""
    other = (1 - CONFIDENCE) / max(num_parts, 1)
    # (1 + K, h, w) True at a pixel's own label
    own = labels == np.arange(num_parts + 1, dtype=np.uint8)[:, None, None]
    return np.where(own, np.float32(CONFIDENCE), np.float32(other))


def refine(probabilities: FloatArray, image: ByteArray, config: CrfConfig | None = None) -> FloatArray:
    """Refine (1 + K, H, W) soft masks, which sum to 1 in each pixel, with the borders in the (H, W, 3) RGB `image`.
    Raises ValueError for mismatched shapes."""
    config = config or CrfConfig()
    require_shape("probabilities", probabilities, (None, *image.shape[:2]))
    require_shape("image", image, (None, None, 3))
    terms: list[tuple[float, Mean]] = []
    if config.smoothness_weight > 0:
        terms.append((config.smoothness_weight, smoothness_mean(image.shape[:2], config.smoothness_sigma_px)))
    if config.appearance_weight > 0:
        appearance = appearance_mean(image, config.appearance_sigma_px, config.appearance_sigma_rgb)
        terms.append((config.appearance_weight, appearance))
    # (H, W, 1 + K) log p, labels last
    unary = np.log(np.maximum(probabilities.transpose(1, 2, 0), SMALLEST)).astype(np.float32)
    q = _softmax(unary)
    for _ in range(config.num_iterations):
        # Eq. 4 for all pixels at once: log Q = log p + sum_m w_m M_m[Q], normalised
        q = _softmax(sum((weight * mean(q) for weight, mean in terms), start=unary))
    return np.ascontiguousarray(q.transpose(2, 0, 1))


def _softmax(logits: FloatArray) -> FloatArray:
    grown = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=-1, keepdims=True), np.float32)


def smoothness_mean(hw: tuple[int, int], sigma_px: float) -> Mean:
    """Return the mean over neighbours; pixels outside the image do not count."""

    def blurred(values: FloatArray) -> FloatArray:
        out = cv2.GaussianBlur(values, (0, 0), sigma_px, borderType=cv2.BORDER_CONSTANT)
        return np.asarray(out, np.float32).reshape(values.shape)

    # the Gaussian's sum over the pixels inside the image: less than 1 near the border
    inside = blurred(np.ones((*hw, 1), np.float32))
    return lambda q: blurred(q) / inside


def appearance_mean(image: ByteArray, sigma_px: float, sigma_rgb: float) -> Mean:
    """Return the mean over pixels near in position and colour, from a bilateral grid."""
    grid = BilateralGrid.of(image, sigma_px, sigma_rgb)
    shape = image.shape[:2]
    # the filter of ones: dividing by it turns weighted sums into means
    inside = grid.filtered(np.ones((shape[0] * shape[1], 1), np.float32))
    return lambda q: (grid.filtered(q.reshape(-1, q.shape[-1])) / inside).reshape(q.shape)


@dataclass(frozen=True)
class BilateralGrid:
    """Gaussian of position and colour as splat, blur and slice on a grid with cells of one sigma; only cells touched by
    a pixel exist.

    Linear splatting and slicing have a variance of 1/6 cell each, a mean of three cells has 2/3; together this is 1, as
    required.
    """

    weights: csr_array
    """(H * W, C) weights between each pixel and the corners of its cell."""
    neighbours: NDArray[np.int32]
    """(DIMENSIONS, 2, C) indices of the cells before and after, C if there is none."""

    @classmethod
    def of(cls, image: ByteArray, sigma_px: float, sigma_rgb: float) -> BilateralGrid:
        points = _features(image, sigma_px, sigma_rgb)
        low = np.floor(points).astype(np.int32)
        sizes = low.max(axis=0) + 4  # one more for the upper corner, and an empty cell on either side
        strides = np.cumprod([1, *sizes[:-1]]).astype(np.int64)
        keys, shares = _corners(low + 1, points - low, strides)
        rank, cells = _ranks(keys, int(sizes.prod()))
        num_pixels, num_corners = keys.shape
        starts = np.arange(num_pixels + 1, dtype=np.int32) * num_corners
        shape = (num_pixels, len(cells))
        weights = csr_array((shares.ravel(), rank[keys].ravel(), starts), shape=shape)
        return cls(weights, np.stack([[rank[cells - step], rank[cells + step]] for step in strides]))

    def filtered(self, values: FloatArray) -> FloatArray:
        """Filter (H * W, n) -> (H * W, n): each pixel's weighted sum, up to a constant."""
        # splat: (C, n) sums of the pixels around each cell
        cells = np.asarray(self.weights.T @ values, np.float32)
        nothing = np.zeros((1, cells.shape[1]), np.float32)
        for before, after in self.neighbours:
            # blur along one dimension: a cell plus its two neighbours; index C reads the row of zeros
            known = np.concatenate([cells, nothing])
            cells = cells + known[before] + known[after]
        return np.asarray(self.weights @ cells, np.float32)


def _features(image: ByteArray, sigma_px: float, sigma_rgb: float) -> FloatArray:
    """Return (H * W, DIMENSIONS) position and colour in sigmas, starting at 0."""
    # cells have a side of one sigma, so distances in cells are distances in sigmas
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32) / np.float32(sigma_px)
    colours = image.reshape(-1, 3).astype(np.float32) / np.float32(sigma_rgb)
    return np.concatenate([np.stack([x.ravel(), y.ravel()], axis=1), colours - colours.min(axis=0)], axis=1)


def _corners(
    low: NDArray[np.int32], inside: FloatArray, strides: NDArray[np.int64]
) -> tuple[NDArray[np.int64], FloatArray]:
    """Return (n, 32) keys of the corners around each point, and its weight for each: a product of linear weights."""
    keys, shares = (low @ strides)[:, None], np.ones((len(low), 1), np.float32)
    for step, part in zip(strides, inside.T[..., None], strict=True):
        keys = np.concatenate([keys, keys + step], axis=1)
        shares = np.concatenate([shares * (1 - part), shares * part], axis=1)
    return keys, shares


def _ranks(keys: NDArray[np.int64], size: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return (size,) the index of each key among those in use, their number for the others; and the keys in use."""
    used = np.zeros(size, np.bool_)
    used[keys] = True
    cells = np.flatnonzero(used)
    rank = np.full(size, len(cells), np.int32)
    rank[cells] = np.arange(len(cells), dtype=np.int32)
    return rank, cells
