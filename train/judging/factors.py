"""Deep feature factorisation: fits factors to features, reads parts from their heat, saves and opens them. train/dff.py
states the rules."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import NMF, non_negative_factorization
from torch import Tensor
from torch.nn import functional as F

from streamparts.arrays import ByteArray, FloatArray
from streamparts.errors import ModelError, StreampartsError
from streamparts.geometry import Letterbox, affine_from_moments, mask_moments

from ..frames.transforms import to_images
from ..pretrained.perceptual import FeatureNetwork, load_features
from .found import FACTORS, Finder, RawParts

STRIDE = 16
"""Stride of the features in pixels, the coarsest of the networks in perceptual.py."""
PERCENTILE = 99
BASIS = "factors.npz"

Features = Callable[[ByteArray], FloatArray]
"""Maps an (S, S, 3) image to (S / STRIDE, S / STRIDE, C)."""


@dataclass(frozen=True)
class DffConfig:
    """Parameters of the factorisation."""

    num_parts: int = 4
    num_background: int = 1
    """Number of factors besides the parts."""
    threshold: float = 0.3
    """Threshold relative to a part's own 99th percentile."""
    image_size: int = 256
    """Images are letterboxed into a square of this side, a multiple of STRIDE."""
    num_iterations: int = 300
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.num_parts, self.num_iterations) < 1 or self.num_background < 0 or not 0 <= self.threshold < 1:
            raise ValueError(f"parts and iterations must be positive and the threshold in [0, 1), got {self}")
        if self.image_size < 2 * STRIDE or self.image_size % STRIDE:
            raise ValueError(f"the side must be a multiple of {STRIDE}, at least {2 * STRIDE}, got {self.image_size}")


@dataclass(frozen=True)
class Factors:
    """The basis; parts first, background last."""

    basis: FloatArray
    """(K + num_background, C) H, non-negative."""
    heats: FloatArray
    """(K + num_background,) the 99th percentile of each factor's heat."""
    border_shares: FloatArray
    """(K + num_background,) share of the heat along the borders relative to their share of the cells, increasing."""

    def heat(self, features: FloatArray) -> FloatArray:
        """(h, w, C) -> (K + num_background, h, w) in units of `heats`."""
        height, width, channels = features.shape
        # argmin |V - W H| over W >= 0, with H fixed: one row of W per cell
        heat, _, _ = non_negative_factorization(
            features.reshape(-1, channels), H=self.basis, n_components=len(self.basis), update_H=False, max_iter=1000
        )
        return np.asarray((heat / self.heats).T.reshape(-1, height, width), np.float32)


def coarse_features(networks: Sequence[FeatureNetwork], images: Tensor) -> Tensor:
    """Return the last features of all networks for (B, 3, S, S) RGB in [0, 1], as (B, C, S / STRIDE, S / STRIDE) >= 0,
    each divided by the mean over its channels and cells of that image."""
    hw = (images.shape[2] // STRIDE, images.shape[3] // STRIDE)
    # per network (B, C_i, h_i, w_i)
    maps = [network(images)[STRIDE] for network in networks]
    scaled = [F.interpolate(x, hw, mode="bilinear", align_corners=False) for x in maps]
    return torch.cat([x / x.mean((1, 2, 3), keepdim=True).clamp(min=1e-6) for x in scaled], dim=1)


def open_features(files: Iterable[Path]) -> Features:
    """Return a function that computes an image's features with the networks in these files. Raises StreampartsError."""
    networks = [load_features(path) for path in files]
    for network in networks:
        if STRIDE not in network(torch.full((1, 3, 64, 64), 0.5)):
            raise StreampartsError(f"{type(network).__name__} has no features of stride {STRIDE} in its file")

    @torch.inference_mode()
    def features(image: ByteArray) -> FloatArray:
        found: FloatArray = coarse_features(networks, to_images(torch.from_numpy(image[None])))[0].numpy()
        return found.transpose(1, 2, 0)

    return features


def fit(pictures: Iterable[ByteArray], features: Features, config: DffConfig) -> Factors:
    """Factorise all (H, W, 3) images of a collection together; letterbox borders are excluded."""
    cells, borders = zip(*(_cells(picture, features, config.image_size) for picture in pictures), strict=True)
    values, border = np.concatenate(cells), np.concatenate(borders)
    num_factors = config.num_parts + config.num_background
    if len(values) < num_factors:
        raise ValueError(f"{num_factors} factors need as many cells, but the images have {len(values)}")
    model = NMF(num_factors, init="nndsvda", max_iter=config.num_iterations, tol=1e-3, random_state=config.seed)
    heat = model.fit_transform(values)
    # background factors are warm along the borders: sorted by that, they come last
    share = heat[border].sum(axis=0) / np.maximum(heat.sum(axis=0), 1e-9) / border.mean()
    order = np.argsort(share)
    percentiles = np.maximum(np.percentile(heat, PERCENTILE, axis=0), 1e-6)
    return Factors(*(x[order].astype(np.float32) for x in (model.components_, percentiles, share)))


def _cells(picture: ByteArray, features: Features, side: int) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return (n, C) features of the cells inside the image, and (n,) True for those at its border."""
    box = Letterbox.fit(picture.shape[:2], (side, side))
    scaled = np.asarray(cv2.resize(picture, box.inner_hw[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    # only cells that lie wholly inside the content
    rows, columns = (slice(-(-inner.start // STRIDE), inner.stop // STRIDE) for inner in box.inner_slices)
    found = features(box.pad(scaled))[rows, columns]
    border = np.ones(found.shape[:2], np.bool_)
    border[1:-1, 1:-1] = False
    return found.reshape(-1, found.shape[2]), border.ravel()


def soft_masks(heat: FloatArray, num_parts: int, threshold: float, hw: tuple[int, int]) -> FloatArray:
    """Return (1 + K, H, W) masks that sum to 1: the parts' heats and, as background, the threshold or a background
    factor's heat if larger, upscaled bilinearly and divided by their sum."""
    # (K + num_background, H, W)
    scaled = np.stack([cv2.resize(x, hw[::-1], interpolation=cv2.INTER_LINEAR) for x in heat])
    limit = np.full((1, *hw), max(threshold, 1e-6), np.float32)
    background = np.concatenate([limit, scaled[num_parts:]]).max(axis=0, keepdims=True)
    masks = np.concatenate([background, scaled[:num_parts]])
    return np.asarray(masks / masks.sum(axis=0), np.float32)


def read_parts(masks: FloatArray) -> RawParts:
    """Return labels by the largest mask, and poses by the moments of each mask where it is the largest: its faint tail
    covers the whole image."""
    labels = masks.argmax(axis=0).astype(np.uint8)
    # per part: mean (2,), covariance (2, 2), mass
    moments = [mask_moments(np.where(labels == k, mask, 0)) for k, mask in enumerate(masks[1:], start=1)]
    affines = np.stack([affine_from_moments(mean, covariance) for mean, covariance, _ in moments])
    return RawParts(labels, affines, masks)


def save(folder: Path, factors: Factors, config: DffConfig, files: Sequence[Path], images: str) -> None:
    """Write FACTORS (JSON) and BASIS, which `open_factors` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / BASIS, **asdict(factors))
    about = {"config": asdict(config), "features": [str(path.resolve()) for path in files], "images": images}
    (folder / FACTORS).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def open_factors(folder: Path) -> Finder:
    """Load the files of `save` as a function from an image to parts. Raises ModelError."""
    try:
        about = json.loads((folder / FACTORS).read_text(encoding="utf-8"))
        config, files = DffConfig(**about["config"]), [Path(path) for path in about["features"]]
        with np.load(folder / BASIS, allow_pickle=False) as stored:
            factors = Factors(stored["basis"], stored["heats"], stored["border_shares"])
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ModelError(f"{folder} contains no factors of train-dff ({error})") from error
    features, side = open_features(files), config.image_size

    def run(image: ByteArray) -> RawParts:
        heat = factors.heat(features(image))
        return read_parts(soft_masks(heat, config.num_parts, config.threshold, (side, side)))

    names = tuple(f"part{k}" for k in range(config.num_parts))
    return Finder({"name": folder.name, "method": "dff", **about}, names, (side, side), run)
