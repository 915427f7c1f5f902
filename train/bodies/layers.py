"""Paints one body, and puts bodies and background together."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from streamparts.arrays import ByteArray

from .builds import Array
from .camera import Camera, Light
from .cast import BodyLooks
from .figure import BodyFigure
from .outfit import GARMENT
from .raster import Ints, interpolate, nearest_value, rasterise
from .shading import REACH, highlight, hollows, shade

FINE = 2
"""Factor by which people are painted finer than the image."""


@dataclass(frozen=True)
class Layer:
    """A person painted alone, FINE times finer than the image."""

    nearness: Array
    rgb: Array
    labels: ByteArray
    canonical: Array


def paint_person(
    figure: BodyFigure, outfit: BodyLooks, camera: Camera, light: Light, size: int, times: int = FINE
) -> Layer:
    """Rasterise a person `times` finer than the image, paint it by the place on the body, and shade it."""
    fine = size * times
    points = camera.finer(times).project(figure.vertices)
    nearness, owner, inside = (
        visible(figure, points, fine) if figure.worn else rasterise(points, figure.faces, fine, fine)
    )
    rows, columns = np.nonzero(owner >= 0)
    owner, inside = owner[rows, columns], inside[rows, columns]
    # (V, 15): 8 places, material, 3 rest positions, 3 normals, interpolated together
    values = np.concatenate([figure.places, figure.materials, figure.rest, figure.normals], 1)
    some = interpolate(owner, inside, figure.faces, values)
    colour, uneven = outfit.paint(some[:, :8], some[:, 8], some[:, 9:12], texture_places(figure, owner, inside))
    layer = Layer(
        nearness,
        *(
            np.zeros((fine, fine, *more), kind)
            for more, kind in (((3,), np.float32), ((), np.uint8), ((3,), np.float32))
        ),
    )
    layer.rgb[rows, columns] = colour * shade(some[:, 12:], some[:, 9:12], uneven, outfit.phases, camera, light)
    if outfit.gloss:
        layer.rgb[rows, columns] += outfit.gloss * highlight(some[:, 12:], camera, light)
    layer.labels[rows, columns] = nearest_value(owner, inside, figure.faces, figure.parts)
    layer.canonical[rows, columns] = some[:, 9:12]
    if outfit.contact:
        reach = REACH * camera.focal * times / max(0.05, float(camera.project(figure.vertices.mean(0)[None])[0, 2]))
        layer.rgb[...] *= 1 - outfit.contact * hollows(nearness, reach, camera.turned @ light.towards)
    return layer


def visible(figure: BodyFigure, points: Array, size: int) -> tuple[Array, Ints, Array]:
    """Rasterise as `raster.rasterise`, but transparent pixels of textures show what is behind."""
    # (T,) number of the garment of each triangle, negative for the body
    wearing = (figure.materials[figure.faces[:, 0], 0] - GARMENT).astype(int)
    sheer_ones = [k for k, worn in enumerate(figure.worn) if worn.garment.see_through]
    clear = np.isin(wearing, sheer_ones)
    nearness, owner, inside = rasterise(points, figure.faces[~clear], size, size)
    owner = np.where(owner >= 0, np.flatnonzero(~clear)[owner], -1).astype(np.int32)
    for k in sheer_ones:
        mine = np.flatnonzero(wearing == k)
        # the nearest layer of the garment alone: behind its transparent pixels are other things
        near, triangle, place = rasterise(points, figure.faces[mine], size, size)
        rows, columns = np.nonzero(near > nearness)
        owners = mine[triangle[rows, columns]].astype(np.int32)
        uv = texture_places(figure, owners, place[rows, columns])
        assert uv is not None
        opaque = figure.worn[k].opaque(uv)
        rows, columns = rows[opaque], columns[opaque]
        nearness[rows, columns], owner[rows, columns] = near[rows, columns], owners[opaque]
        inside[rows, columns] = place[rows, columns]
    return nearness, owner, inside


def texture_places(figure: BodyFigure, owner: Ints, inside: Array) -> Array | None:
    """(M, 2) texture coordinates of M pixels, which show the triangles `owner` (M,) at `inside` (M, 2); None for
    figures without."""
    if figure.corners is None:
        return None
    first, second, third = (figure.corners[owner, k] for k in range(3))
    v, w = inside[:, :1], inside[:, 1:]
    # barycentric: u + v + w = 1
    return np.asarray((1 - v - w) * first + v * second + w * third, np.float32)


def compose(
    background: Array, layers: list[Layer], size: int, smear: Array | None = None
) -> tuple[Array, ByteArray, Array]:
    """Composite people into an image (S, S, 3), labels (S, S) and canonical coordinates (S, S, 3); the nearer person
    covers the other. `smear` blurs the people, but not the truth."""
    front = layers[0]
    for layer in layers[1:]:
        nearer = layer.nearness > front.nearness
        front = Layer(
            np.where(nearer, layer.nearness, front.nearness),
            np.where(nearer[..., None], layer.rgb, front.rgb),
            np.where(nearer, layer.labels, front.labels),
            np.where(nearer[..., None], layer.canonical, front.canonical),
        )
    # (FINE S, FINE S) 1 where a body is
    alpha = (front.nearness > 0).astype(np.float32)
    # (S, S, 1) covered share of each pixel, from FINE x FINE samples
    cover = cv2.resize(alpha, (size, size), interpolation=cv2.INTER_AREA)[..., None]
    rgb = cv2.resize(front.rgb, (size, size), interpolation=cv2.INTER_AREA)
    if smear is not None:
        rgb, cover = cv2.filter2D(rgb, -1, smear), cv2.filter2D(cover, -1, smear)[..., None]
    image = background * (1 - cover) + rgb
    # truth is not averaged: the middle sample of each pixel
    times = len(front.labels) // size
    some = slice(times // 2, None, times)
    return image, np.ascontiguousarray(front.labels[some, some]), np.ascontiguousarray(front.canonical[some, some])
