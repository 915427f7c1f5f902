"""The renderer's inner loops, compiled: triangles to a z-buffer, and vertex normals."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from .builds import Array

Ints = NDArray[np.int32]


def compiled(function: Any) -> Any:
    """Compile a loop to machine code, which is kept on disk between runs."""
    return numba.njit(cache=True, fastmath=True)(function)


@compiled
def vertex_normals(vertices: Array, faces: Ints) -> Array:
    """Return (V, 3) unit normals, from face normals weighted by area."""
    normals = np.zeros_like(vertices)
    for t in range(faces.shape[0]):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        ux, uy, uz = (vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2])
        vx, vy, vz = (vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2])
        # u x v: normal to the triangle, as long as twice its area
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in (a, b, c):
            normals[k, 0] += nx
            normals[k, 1] += ny
            normals[k, 2] += nz
    for k in range(normals.shape[0]):
        length = np.sqrt(normals[k, 0] ** 2 + normals[k, 1] ** 2 + normals[k, 2] ** 2) + 1e-12
        normals[k, 0] /= length
        normals[k, 1] /= length
        normals[k, 2] /= length
    return normals


@compiled
def skin(rest: Array, weights: Array, moves: Array) -> Array:
    """Linear blend skinning: move `rest` (V, 3) by the joints' `moves` (J, 3, 4) with `weights` (V, J)."""
    out = np.zeros_like(rest)
    for v in range(rest.shape[0]):
        x, y, z = rest[v, 0], rest[v, 1], rest[v, 2]
        for j in range(weights.shape[1]):
            w = weights[v, j]
            if w == 0:
                continue
            for k in range(3):
                # v' = sum_j w_j (R_j v + t_j)
                out[v, k] += w * (moves[j, k, 0] * x + moves[j, k, 1] * y + moves[j, k, 2] * z + moves[j, k, 3])
    return out


@compiled
def rasterise(points: Array, faces: Ints, height: int, width: int) -> tuple[Array, Ints, Array]:
    """Rasterise `points` (V, 3): x and y in pixels, and the depth, positive ahead. Returns the inverse depth (H, W), 0
    where no triangle is; the nearest triangle (H, W), or -1; and its barycentric coordinates (H, W, 2) of vertices 1
    and 2, corrected for perspective."""
    nearness = np.zeros((height, width), np.float32)
    owner = np.full((height, width), -1, np.int32)
    inside = np.zeros((height, width, 2), np.float32)
    for t in range(faces.shape[0]):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        za, zb, zc = points[a, 2], points[b, 2], points[c, 2]
        if za < 0.05 or zb < 0.05 or zc < 0.05:
            continue
        ax, ay, bx, by, cx, cy = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        # twice the signed area; 0 for a triangle seen edge-on
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-9:
            continue
        # pixels whose centres, at +0.5, lie in the triangle's box
        left, right = max(0, int(np.ceil(min(ax, bx, cx) - 0.5))), min(width - 1, int(np.floor(max(ax, bx, cx) - 0.5)))
        top, bottom = max(0, int(np.ceil(min(ay, by, cy) - 0.5))), min(height - 1, int(np.floor(max(ay, by, cy) - 0.5)))
        for y in range(top, bottom + 1):
            py = y + 0.5
            for x in range(left, right + 1):
                px = x + 0.5
                # barycentric coordinates: areas of the triangles opposite to b and c, as shares
                v = ((px - ax) * (cy - ay) - (py - ay) * (cx - ax)) / area
                w = ((bx - ax) * (py - ay) - (by - ay) * (px - ax)) / area
                u = 1 - v - w
                if u < 0 or v < 0 or w < 0:
                    continue
                # 1 / z is linear in image coordinates, z is not
                near = u / za + v / zb + w / zc
                if near > nearness[y, x]:
                    nearness[y, x] = near
                    owner[y, x] = t
                    # perspective-correct coordinates: shares of 1 / z, divided by their sum
                    inside[y, x, 0] = v / zb / near
                    inside[y, x, 1] = w / zc / near
    return nearness, owner, inside


@compiled
def interpolate(owner: Ints, inside: Array, faces: Ints, values: Array) -> Array:
    """Interpolate the vertices' `values` (V, C) at M pixels, which show the triangles `owner` (M,) at `inside` (M,
    2)."""
    count = values.shape[1]
    out = np.zeros((owner.shape[0], count), np.float32)
    for pixel in range(owner.shape[0]):
        t, v, w = owner[pixel], inside[pixel, 0], inside[pixel, 1]
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        for k in range(count):
            out[pixel, k] = (1 - v - w) * values[a, k] + v * values[b, k] + w * values[c, k]
    return out


@compiled
def nearest_value(owner: Ints, inside: Array, faces: Ints, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (M,) `values` (V,) + 1 of the nearest vertex of each pixel's triangle."""
    out = np.zeros(owner.shape[0], np.uint8)
    for pixel in range(owner.shape[0]):
        v, w = inside[pixel, 0], inside[pixel, 1]
        corner = 0
        # the largest barycentric coordinate belongs to the nearest corner
        if v >= w and v >= 1 - v - w:
            corner = 1
        elif w >= v and w >= 1 - v - w:
            corner = 2
        out[pixel] = values[faces[owner[pixel], corner]] + 1
    return out


@compiled
def triangle_areas(points: Array, faces: Ints) -> tuple[Array, Array]:
    """Return (T,) areas and (T, 2) centres of triangles with corners at `points` (V, 2)."""
    areas, middles = np.zeros(faces.shape[0], np.float32), np.zeros((faces.shape[0], 2), np.float32)
    for t in range(faces.shape[0]):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        ux, uy = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1]
        vx, vy = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1]
        # half of the cross product
        areas[t] = abs(ux * vy - uy * vx) / 2
        for k in range(2):
            middles[t, k] = (points[a, k] + points[b, k] + points[c, k]) / 3
    return areas, middles
