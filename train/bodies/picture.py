"""Renders one image of people with exact parts: `draw_picture` makes all choices, the other modules paint."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from streamparts.arrays import ByteArray
from streamparts.geometry import CANONICAL_SIGMAS

from .builds import Array
from .camera import Camera, Light, draw_light, horizon
from .cast import BodyLooks, Cast
from .colours import any_colour
from .figure import BodyFigure
from .layers import compose, paint_person
from .pose import unit
from .raster import rasterise, triangle_areas
from .scene import Photos, paste_cutout
from .things import add_thing


@dataclass(frozen=True)
class BodyPicture:
    """An image and its ground truth; poses and facing direction are those of the first person."""

    image: ByteArray
    """(S, S, 3) RGB."""
    labels: ByteArray
    """(S, S) labels: 0 background, k + 1 part k."""
    canonical: Array
    """(S, S, 3) canonical coordinates of each pixel on the body at rest, in body heights; 0 on the background."""
    affines: Array
    """(K, 2, 3) canonical frame of each part -> normalised coordinates, as in PuppetTruth."""
    seen: Array
    """(K,) visible share of each part's own silhouette."""
    facing: Array
    """(3,) direction of the chest: right, down, ahead."""
    joints: Array
    """(J, 2) joints in pixels."""
    depths: Array
    """(K,) distances of the parts along the view, see part_depths."""
    people: int


EMPTY = 0.165
"""Share of images without a person."""
SHAKEN, COMPRESSED = 0.04, 0.15
"""Shares of images that a moving camera blurs as a whole, and that are compressed as JPEG."""


def draw_picture(rng: Generator, cast: Cast, photos: Photos, size: int, empty: float = EMPTY) -> BodyPicture:
    """Draw one image; a share `empty` of the images shows no body."""
    if rng.random() < empty:
        return nobody(rng, cast, photos, size)
    figures: list[BodyFigure] = []
    outfits: list[BodyLooks] = []
    for k in range(2 if rng.random() < cast.together else 1):
        figure, outfit = cast.draw(rng) if k == 0 else cast.second(rng, figures[0], outfits[0])
        figures.append(figure)
        outfits.append(outfit)
    camera = cast.view(rng, figures[0], size)
    light = draw_light(rng, camera)
    background = cast.background(rng, size, horizon(camera, size), photos)
    if rng.random() < 0.6:
        for figure in figures:
            background *= 1 - shadow(rng, figure, camera, light, size)
    layers = [
        paint_person(figure, outfit, camera, light, size) for figure, outfit in zip(figures, outfits, strict=True)
    ]
    # of its own, so that what a video does to an image changes no other choice
    filmed = rng.spawn(1)[0]
    smear = smear_kernel(filmed, size) if filmed.random() < cast.blurred else None
    image, labels, canonical = compose(background, layers, size, smear)
    if rng.random() < 0.16:
        for _ in range(rng.integers(1, 3)):
            _hide(add_thing(rng, image, 0.8, near=True, animals=cast.animals), labels, canonical)
    if rng.random() < 0.12:
        _hide(_add_bars(rng, image), labels, canonical)
    if rng.random() < 0.05:
        _add_caption(rng, image)
    joints = camera.project(figures[0].joints)[:, :2]
    facing = camera.turned @ figures[0].facing
    affines, seen = part_poses(figures[0], camera, labels)
    depths = part_depths(figures[0], camera, len(cast.parts))
    whole = as_filmed(filmed, image)
    return BodyPicture(whole, labels, canonical, affines, seen, facing, joints, depths, len(figures))


def as_filmed(rng: Generator, image: Array) -> ByteArray:
    """Return an image (S, S, 3) in [0, 1] as bytes, in some cases shaken or compressed."""
    if rng.random() < SHAKEN:
        kernel = smear_kernel(rng, len(image))
        image = np.asarray(cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101), np.float32)
    whole = np.asarray(np.clip(image, 0, 1) * 255 + 0.5, np.uint8)
    if rng.random() < COMPRESSED:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 85))]
        coded = cv2.imencode(".jpg", whole[..., ::-1], quality)[1]
        # OpenCV's order is BGR
        whole = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]
    return np.ascontiguousarray(whole, np.uint8)


def _hide(hidden: NDArray[np.bool_], labels: ByteArray, canonical: Array) -> None:
    labels[hidden], canonical[hidden] = 0, 0


def _add_bars(rng: Generator, image: Array) -> NDArray[np.bool_]:
    """Add black bars, as in crops beyond the frame and letterboxed frames; also return which pixels they cover."""
    size = len(image)
    first, second = (int(size * share) for share in rng.uniform(0, 0.3, 2))
    hidden = np.zeros((size, size), bool)
    hidden[:first], hidden[size - second :] = True, True
    if rng.random() < 0.4:
        hidden[size - second :] = False
    hidden = hidden if rng.random() < 0.4 else hidden.T
    image[hidden] = 0
    return hidden


def _add_caption(rng: Generator, image: Array) -> None:
    """Draw a line or two of text over the image, including people."""
    size, mask = len(image), np.zeros(image.shape[:2], np.uint8)
    for _ in range(rng.integers(1, 3)):
        text = "".join(rng.choice(list("abcdefghiklmnoprstuvw  "), int(rng.integers(5, 24))))
        low = rng.uniform(0.05, 0.2) if rng.random() < 0.4 else rng.uniform(0.75, 0.98)
        at, font = (int(rng.integers(-20, size // 2)), int(size * low)), int(rng.integers(0, 5))
        cv2.putText(mask, text, at, font, float(rng.uniform(0.3, 0.9)), 255, 1, cv2.LINE_AA)
    image += (mask.astype(np.float32) / 255)[..., None] * (any_colour(rng) - image)


def nobody(rng: Generator, cast: Cast, photos: Photos, size: int) -> BodyPicture:
    """Draw a background with more clutter than other images have."""
    image = cast.background(rng, size, rng.uniform(0.1, 0.9), photos)
    for _ in range(rng.integers(0, 6)):
        add_thing(rng, image, rng.uniform(0.2, 0.9), animals=cast.animals)
    if photos.cutouts and rng.random() < 0.6:
        paste_cutout(rng, image, photos)
    whole = np.asarray(np.clip(image, 0, 1) * 255 + 0.5, np.uint8)
    none = np.zeros((size, size, 3), np.float32)
    poses = np.tile(np.array([[0.1, 0, 0], [0, 0.1, 0]], np.float32), (len(cast.parts), 1, 1))
    zeros = np.zeros(len(cast.parts), np.float32)
    return BodyPicture(
        whole,
        np.zeros((size, size), np.uint8),
        none,
        poses,
        zeros,
        np.zeros(3, np.float32),
        np.zeros((len(cast.joints), 2), np.float32),
        zeros,
        0,
    )


def shadow(rng: Generator, figure: BodyFigure, camera: Camera, light: Light, size: int) -> Array:
    """Return (S, S, 1) the darkness of the floor."""
    slope = light.towards[:2] / max(light.towards[2], 0.35)
    flat = figure.vertices.copy()
    # along the light's direction down to the floor, z = 0
    flat[:, :2] -= flat[:, 2:] * slope
    flat[:, 2] = 0
    points = camera.project(flat)[:, :3]
    quarter = points * np.array([0.5, 0.5, 1], np.float32)
    # half the resolution and half the triangles suffice for something blurred
    mask = (rasterise(quarter, figure.faces[::2], size // 2, size // 2)[1] >= 0).astype(np.float32)
    blurred = cv2.GaussianBlur(cv2.dilate(mask, np.ones((2, 2))), (0, 0), rng.uniform(0.6, 4))
    return np.asarray(cv2.resize(blurred, (size, size))[..., None] * rng.uniform(0.1, 0.6), np.float32)


def smear_kernel(rng: Generator, size: int) -> Array:
    """A line of 1 to 6 % of the image: the path of a moving body while the shutter is open."""
    reach, angle = rng.uniform(0.005, 0.03) * size, rng.uniform(0, np.pi)
    side = 2 * int(np.ceil(reach)) + 1
    kernel = np.zeros((side, side), np.float32)
    ends = [(int(16 * (side // 2 + sign * reach * np.cos(angle))), int(16 * (side // 2 + sign * reach * np.sin(angle))))
            for sign in (-1, 1)]  # fmt: skip
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_8, 4)
    return np.asarray(kernel / kernel.sum(), np.float32)


def part_depths(figure: BodyFigure, camera: Camera, num_parts: int) -> Array:
    """Return the (K,) distances of the parts' middles from the camera along the view, in the world's unit of length;
    sorted, they give the depth order."""
    mine = figure.parts < num_parts
    # (v - c) . ahead
    away = (figure.vertices[mine] - camera.place) @ camera.turned[2]
    counts = np.maximum(np.bincount(figure.parts[mine], minlength=num_parts), 1)
    return np.asarray(np.bincount(figure.parts[mine], away, num_parts) / counts, np.float32)


def part_poses(figure: BodyFigure, camera: Camera, labels: NDArray[np.uint8]) -> tuple[Array, Array]:
    """Return (K, 2, 3) poses as in PuppetTruth.affines, an ellipse of CANONICAL_SIGMAS around each unoccluded part with
    its first axis along the bone; and the (K,) visible share of each part's silhouette. A silhouette is covered twice,
    by its front and its back, so the moments of its triangles are its own."""
    size = labels.shape[0]
    points = camera.project(figure.vertices)[:, :2] * (2 / size) - 1
    ends = camera.project(figure.ends.reshape(-1, 3))[:, :2].reshape(-1, 2, 2) * (2 / size) - 1
    areas, middles = triangle_areas(points, figure.faces)
    owners = figure.parts[figure.faces[:, 0]]
    pixels = np.bincount(labels.ravel(), minlength=len(ends) + 1)
    out, seen = np.zeros((len(ends), 2, 3), np.float32), np.zeros(len(ends), np.float32)
    for k, (start, end) in enumerate(ends):
        mine = np.flatnonzero(owners == k)
        whole = float(areas[mine].sum())
        # (t,) areas as weights: moments of the silhouette from its triangles
        weights = areas[mine] / max(whole, 1e-9)
        centre = weights @ middles[mine]
        along = unit(end - start)
        axes = np.stack([along, (-along[1], along[0])])
        # (2,) standard deviations along and across the bone
        spread = np.sqrt(weights @ ((middles[mine] - centre) @ axes.T) ** 2 + 1e-6)
        out[k, :, :2] = axes.T * (CANONICAL_SIGMAS * spread)
        out[k, :, 2] = centre
        # a pixel has a normalised area of 4 / S^2; front and back together cover the silhouette twice
        seen[k] = min(1.0, pixels[k + 1] / max(whole / 2 * size**2 / 4, 1.0))
    return out, seen
