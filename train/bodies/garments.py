"""Garments of MakeHuman: meshes that are fastened to the base mesh, with their textures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray
from streamparts.errors import StreampartsError

from .builds import Array

QUAD = 10
"""Numbers of a face in three.js' JSON: a type, four vertices, a material, four texture coordinates."""
QUAD_TYPE = 11
"""Type of such a face: quad (1), material (2) and texture coordinates of its corners (8)."""
DECIMETRES = 0.1
TEXTURE = 512
"""Maximum side of a texture in pixels."""
SEEN = 127
"""Opacity above which a pixel of a texture is drawn."""


@dataclass(frozen=True)
class Garment:
    """Clothes or hair: N vertices fastened to the base mesh, T triangles."""

    anchors: NDArray[np.int64]
    """(N, 3) vertices of the base mesh."""
    shares: Array
    """(N, 3) weights of the anchors; rows sum to 1."""
    offsets: Array
    """(N, 3) metres from the weighted anchors, x to the body's left, y to its back, z up."""
    faces: NDArray[np.int32]
    corners: Array
    """(T, 3, 2) texture coordinates of the triangles' corners; 0, 0 is the texture's upper left."""
    texture: ByteArray
    """(h, w, 4) RGBA."""
    hides: NDArray[np.bool_]
    """(B,) vertices of the base mesh that lie below it."""

    @property
    def see_through(self) -> bool:
        """Whether parts of the texture are transparent."""
        return bool((self.texture[..., 3] <= SEEN).any())

    def fitted(self, base: Array) -> Array:
        """(N, 3) its vertices on the base mesh (B, 3) of somebody at rest."""
        # v = w_1 a_1 + w_2 a_2 + w_3 a_3 + offset
        return np.asarray(np.einsum("na,nac->nc", self.shares, base[self.anchors]) + self.offsets, np.float32)

    def carried(self, values: Array) -> Array:
        """(N, C) means of the anchors' `values` (B, C), such as the weights of the joints."""
        # negative weights, of vertices beside their triangle, do not carry over
        shares = np.clip(self.shares, 0, None)
        return np.asarray(
            np.einsum("na,nac->nc", shares / shares.sum(1, keepdims=True), values[self.anchors]), np.float32
        )


@dataclass(frozen=True)
class Worn:
    """A garment in the colours of its wearer."""

    garment: Garment
    gains: Array
    """(3,) factors of red, green and blue."""
    grey: float
    """Share of the texture's own colours that is replaced by its brightness."""

    def colours(self, uv: Array) -> Array:
        """(M, 3) in [0, 1] at texture coordinates (M, 2)."""
        own = sampled(self.garment.texture, uv)[:, :3]
        bright = own.mean(1, keepdims=True)
        return np.asarray((own + self.grey * (bright - own)) * self.gains, np.float32).clip(0, 1)

    def opaque(self, uv: Array) -> NDArray[np.bool_]:
        return sampled(self.garment.texture, uv)[:, 3] * 255 > SEEN


def sampled(texture: ByteArray, uv: Array) -> Array:
    """(M, C) values in [0, 1] of a texture (h, w, C) at coordinates (M, 2), the nearest pixel of each; the texture
    repeats."""
    height, width = texture.shape[:2]
    columns = np.floor(uv[:, 0] * width).astype(np.int64) % width
    rows = np.floor(uv[:, 1] * height).astype(np.int64) % height
    return np.asarray(texture[rows, columns], np.float32) / 255


def read_garment(path: Path) -> Garment:
    """Read one garment. Raises StreampartsError for another format."""
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        fastening = about["metadata"]
        numbers = np.array(about["faces"], np.int64).reshape(-1, QUAD)
        places = np.array(about["uvs"][0], np.float32).reshape(-1, 2)
        anchors = np.array(fastening["ref_vIdxs"], np.int64)
        shares, offsets = (np.array(fastening[name], np.float32) for name in ("weights", "offsets"))
        hides = np.array(fastening["deleteVerts"], bool)
        texture = read_texture(path.parent / about["materials"][0]["mapDiffuse"])
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise StreampartsError(f"{path} is no garment of MakeHuman's: {error}") from error
    if not (numbers[:, 0] == QUAD_TYPE).all():
        raise StreampartsError(f"{path} has faces of other kinds than quads with texture coordinates")
    quads, corners = numbers[:, 1:5], places[numbers[:, 6:10]]
    # v counts from the texture's lower edge
    corners = np.stack([corners[..., 0], 1 - corners[..., 1]], -1)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    halves = np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]])
    # MakeHuman's y is up and its z towards the viewer; the body's y is to its back
    moved = DECIMETRES * np.stack([offsets[:, 0], -offsets[:, 2], offsets[:, 1]], 1)
    return Garment(anchors, shares, moved, faces, halves, texture, hides)


def read_texture(path: Path) -> ByteArray:
    """(h, w, 4) RGBA."""
    image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3:
        raise ValueError(f"{path} is not a colour image")
    scale = min(1.0, TEXTURE / max(image.shape[:2]))
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    opaque = image[..., 3] if image.shape[2] == 4 else np.full(image.shape[:2], 255, np.uint8)
    return np.dstack([image[..., 2::-1], opaque])
