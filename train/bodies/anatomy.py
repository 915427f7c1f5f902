"""Anatomy of the animals' meshes: parts, landmarks of the head, and the variation between individuals."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .builds import Array
from .skins import Rig

SIDES = (("left", "L"), ("right", "R"))


@dataclass(frozen=True)
class Anatomy:
    """One kind of animal. Lengths are those of the file until `scaled`."""

    name: str
    species: str
    """dog or rodent: poses, coats and builds."""
    view: str
    """around, above or side; selects cameras and backgrounds."""
    files: tuple[str, str]
    """Mesh and skeleton, below dm_control's walkers."""
    cell: float
    """Side of the cubes whose vertices are merged, see skins.coarser."""
    owners: dict[str, tuple[str, ...]]
    """The beginnings of the names of each part's bones; sides are filled in."""
    axes: dict[str, tuple[str, str]]
    """The bones at the ends of each part's first axis."""
    nose: tuple[float, float, float]
    eye: tuple[float, float, float]
    """The left one."""
    ear: tuple[float, float, float]
    """Base of the left ear."""
    ear_box: tuple[float, float, float]
    """An ear's vertices are behind this x, further out than this y and higher than this z."""
    snout: float
    """The x at which the snout begins."""
    tail: str
    """Beginning of the names of the tail's bones, and the number of the last."""
    last: int
    neck: str
    """The bone at the front end of the trunk."""

    def scaled(self, length: float) -> Anatomy:
        """Divide the landmarks by the length of a body."""
        nose, eye, ear, box = (
            (x / length, y / length, z / length) for x, y, z in (self.nose, self.eye, self.ear, self.ear_box)
        )
        return replace(self, nose=nose, eye=eye, ear=ear, ear_box=box, snout=self.snout / length)

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.axes)

    @property
    def points(self) -> dict[str, tuple[str, Array]]:
        """Landmarks that become bones: name, parent and place."""
        nose, ear = np.array(self.nose, np.float32), np.array(self.ear, np.float32)
        tip = ear + np.array([0, 0.3, 0.7], np.float32) * (nose[0] - self.snout)
        flip = np.array([1, -1, 1], np.float32)
        out = {"nose": ("skull", nose), "brow": ("skull", np.array([self.snout, 0, nose[2]], np.float32))}
        for name, place in (("ear", ear), ("ear_tip", tip)):
            out |= {f"{name}_L": ("skull", place), f"{name}_R": ("skull", place * flip)}
        return out


def _sided(table: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Fill in both sides of names with {}; the first of them is the part's, with the side before it."""
    out: dict[str, tuple[str, ...]] = {}
    for part, names in table.items():
        if "{}" not in part:
            out[part] = names
            continue
        out |= {part.format(side): tuple(name + letter for name in names) for side, letter in SIDES}
    return out


def _axes(table: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    return {part: (ends[0], ends[1]) for part, ends in _sided(dict(table)).items()}


DOG = Anatomy(
    name="dog",
    species="dog",
    view="around",
    files=("dog_v2/dog_skin.skn", "dog_v2/dog.xml"),
    cell=0.012,
    owners=_sided({
        "torso": ("torso", "L_", "pelvis", "scapula_"),
        "neck": ("C_7", "C_6", "C_5", "C_4", "C_3", "C_2"),
        "head": ("C_1", "skull", "jaw"),
        "tail": ("Ca_",),
        "{}_front_upper_leg": ("upper_arm_",),
        "{}_front_lower_leg": ("lower_arm_", "hand_anchor_", "hand_", "finger_"),
        "{}_hind_upper_leg": ("upper_leg_",),
        "{}_hind_lower_leg": ("lower_leg_", "foot_", "foot_anchor_", "toe_"),
    }),
    axes=_axes({
        "torso": ("pelvis", "C_7"),
        "neck": ("C_7", "C_1"),
        "head": ("C_1", "nose"),
        "tail": ("Ca_1", "Ca_21"),
        "{}_front_upper_leg": ("upper_arm_", "lower_arm_"),
        "{}_front_lower_leg": ("lower_arm_", "finger_"),
        "{}_hind_upper_leg": ("upper_leg_", "lower_leg_"),
        "{}_hind_lower_leg": ("lower_leg_", "toe_"),
    }),
    nose=(0.467, 0.0, 0.667),
    eye=(0.342, 0.04, 0.694),
    ear=(0.283, 0.055, 0.725),
    ear_box=(0.32, 0.05, 0.70),
    snout=0.37,
    tail="Ca_",
    last=21,
    neck="C_7",
)  # fmt: skip
RODENT_TOP = Anatomy(
    name="rodent-top",
    species="rodent",
    view="above",
    files=("rodent_walker_skin.skn", "rodent.xml"),
    cell=0.0015,
    owners=_sided({
        "torso_front": ("torso", "vertebra_1", "vertebra_2", "vertebra_cervical", "scapula_"),
        "torso_rear": ("vertebra_3", "vertebra_4", "vertebra_5", "vertebra_6", "pelvis"),
        "head": ("vertebra_a", "skull", "jaw"),
        "snout": (),
        "tail": ("vertebra_C",),
        "{}_ear": (),
        "{}_forepaw": ("upper_arm_", "lower_arm_", "hand_", "finger_"),
        "{}_hindpaw": ("upper_leg_", "lower_leg_", "foot_", "toe_"),
    }),
    axes=_axes({
        "torso_front": ("vertebra_2", "vertebra_atlant"),
        "torso_rear": ("pelvis", "vertebra_2"),
        "head": ("vertebra_atlant", "brow"),
        "snout": ("brow", "nose"),
        "tail": ("vertebra_C1", "vertebra_C30"),
        "{}_ear": ("ear_", "ear_tip_"),
        "{}_forepaw": ("upper_arm_", "finger_"),
        "{}_hindpaw": ("upper_leg_", "toe_"),
    }),
    nose=(0.157, 0.0, 0.081),
    eye=(0.128, 0.0125, 0.0905),
    ear=(0.098, 0.0135, 0.102),
    ear_box=(0.112, 0.0115, 0.0995),
    snout=0.131,
    tail="vertebra_C",
    last=30,
    neck="vertebra_cervical_5",
)  # fmt: skip
RODENT_SIDE = replace(RODENT_TOP, name="rodent-side", view="side")
ANATOMIES = {each.name: each for each in (DOG, RODENT_TOP, RODENT_SIDE)}


def parts_of(anatomy: Anatomy, rig: Rig) -> NDArray[np.uint8]:
    """(V,) index of each vertex's part: the one whose bones move it most; ears and snouts by their place."""
    sums = np.zeros((len(rig.vertices), len(anatomy.parts)), np.float32)
    for part, names in anatomy.owners.items():
        mine = [b for b in rig.bones(*names) if rig.names[b] not in anatomy.points] if names else []
        # (V,) influence of the part's bones together
        sums[:, anatomy.parts.index(part)] = rig.weights[:, mine].sum(1)
    out = sums.argmax(1).astype(np.uint8)
    head = out == anatomy.parts.index("head")
    if "snout" in anatomy.parts:
        out[head & (rig.vertices[:, 0] > anatomy.snout)] = anatomy.parts.index("snout")
        for side, sign in (("left", 1), ("right", -1)):
            ear = head & is_ear(anatomy, rig.vertices) & (np.sign(rig.vertices[:, 1]) == sign)
            out[ear] = anatomy.parts.index(f"{side}_ear")
    return np.asarray(out, np.uint8)


def is_ear(anatomy: Anatomy, vertices: Array) -> NDArray[np.bool_]:
    """(V,) True in the box of either ear."""
    back, out, up = anatomy.ear_box
    return np.asarray((vertices[:, 0] < back) & (np.abs(vertices[:, 1]) > out) & (vertices[:, 2] > up))


def places_of(anatomy: Anatomy, rig: Rig, parts: NDArray[np.uint8], normals: Array) -> Array:
    """(V, 8) where each vertex lies, for coats:

    0 downwards: -1 on the back, 1 on the belly
    1 along the leg: 0 at the trunk, 1 at the toes; 0 elsewhere
    2 distance from the nose, and 3 from the nearer eye, in lengths of the head
    4 along the tail: 0 at the trunk, 1 at the tip; -1 elsewhere
    5 bareness: 1 where rodents have no fur
    6, 7 unused
    """
    out = np.zeros((len(parts), 8), np.float32)
    # the z of the normal, downwards
    out[:, 0] = -normals[:, 2]
    names = np.array(anatomy.parts)[parts]
    low = np.char.find(names, "lower_leg") >= 0
    paw = np.char.find(names, "paw") >= 0
    # (V,) the end of the leg is where z is lowest at rest
    height = rig.vertices[:, 2] - rig.vertices[:, 2].min()
    top = float(rig.joints[rig.names.index("lower_leg_L"), 2]) - float(rig.vertices[:, 2].min())
    out[low, 1] = np.clip(1 - height[low] / (1.3 * top), 0, 1)
    nose, eye = np.array(anatomy.nose), np.array(anatomy.eye)
    head = nose[0] - anatomy.ear[0]
    out[:, 2] = np.linalg.norm(rig.vertices - nose, axis=1) / head
    # the right half is mirrored, so that both eyes are the left one
    left = np.stack([rig.vertices[:, 0], np.abs(rig.vertices[:, 1]), rig.vertices[:, 2]], 1)
    out[:, 3] = np.linalg.norm(left - eye, axis=1) / head
    tail = names == "tail"
    start, end = (rig.joints[rig.names.index(f"{anatomy.tail}{n}"), 0] for n in (1, anatomy.last))
    # the tail is straight along x at rest
    out[:, 4] = np.where(tail, (rig.vertices[:, 0] - start) / (end - start), -1)
    out[:, 5] = (tail | (np.char.find(names, "_ear") >= 0) | (paw & (height < 0.35 * top))).astype(np.float32)
    return out
