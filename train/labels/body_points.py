"""Names of body keypoints from detectors, and the parts of a person that each belongs to.

The ten parts are those of `streamparts/assets/puppet-human.onnx.json`; left and right are the person's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

COCO_17 = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
MEDIAPIPE_33 = (
    "nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye", "right_eye_outer",
    "left_ear", "right_ear", "left_mouth", "right_mouth",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_pinky", "right_pinky", "left_index", "right_index", "left_thumb", "right_thumb",
    "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    "left_heel", "right_heel", "left_foot_index", "right_foot_index",
)  # fmt: skip
HAND_21 = ("wrist", *(f"{f}_{n}" for f in ("thumb", "index", "middle", "ring", "pinky") for n in range(1, 5)))
"""MediaPipe's hand: each finger from its base to its tip."""

JOINTS = {
    "head": ("nose", "eye", "eye_inner", "eye_outer", "ear", "mouth"),
    "shoulder": ("shoulder",),
    "elbow": ("elbow",),
    "wrist": ("wrist", "pinky", "index", "thumb"),
    "hip": ("hip",),
    "knee": ("knee",),
    "ankle": ("ankle", "heel", "foot_index"),
}
"""Maps a joint to the keypoints, without side, that are counted with it: 13 groups with sides."""
OWN_PARTS = {
    "head": ("head",),
    "shoulder": ("torso", "upper_arm"),
    "elbow": ("upper_arm", "forearm"),
    "wrist": ("forearm",),
    "hip": ("torso", "thigh"),
    "knee": ("thigh", "shin"),
    "ankle": ("shin",),
}
"""Maps a joint to the parts, without side, that it lies in: a joint between two parts may lie in either."""
LIMBS = ("elbow", "wrist", "knee", "ankle")
"""Joints of arms and legs only; shoulder and hip may also lie in the torso."""
PERSON_PARTS = frozenset({
    "torso", "head", *(f"{side}_{part}" for side in ("left", "right")
                       for part in ("upper_arm", "forearm", "thigh", "shin")),
})  # fmt: skip


def side_of(name: str) -> str:
    """ "left", "right", or "" for what has none."""
    side, _, rest = name.partition("_")
    return side if rest and side in ("left", "right") else ""


def without_side(name: str) -> str:
    return name.partition("_")[2] if side_of(name) else name


def joint_of(point: str) -> str | None:
    """Return the joint that a keypoint is counted with; None for other points."""
    bare = without_side(point)
    return next((joint for joint, points in JOINTS.items() if bare in points), None)


def body_groups(points: Sequence[str], *, sides: bool) -> tuple[str, ...] | None:
    """Return the (L,) group names of the keypoints: 13 with sides, 7 without; None unless all are body keypoints."""
    joints = [joint_of(point) for point in points]
    if not points or any(joint is None for joint in joints):
        return None
    with_sides = [f"{side_of(point)}_{joint}" for point, joint in zip(points, joints, strict=True)]
    groups = [joint if joint == "head" or not sides else name for joint, name in zip(joints, with_sides, strict=True)]
    return tuple(str(group) for group in groups)


def own_parts(points: Sequence[str], parts: Sequence[str], *, sides: bool) -> NDArray[np.bool_] | None:
    """Return (L, 1 + K): True where a keypoint may lie in a part; column 0 is the background. None unless the points
    are of a body and the parts of a person. Without `sides`, the part of the other side also counts."""
    if not set(parts) >= PERSON_PARTS or body_groups(points, sides=False) is None:
        return None
    table = np.zeros((len(points), 1 + len(parts)), np.bool_)
    for row, point in enumerate(points):
        joint = joint_of(point)
        for column, part in enumerate(parts, start=1):
            belongs = joint is not None and without_side(part) in OWN_PARTS[joint]
            table[row, column] = belongs and (not sides or side_of(part) in ("", side_of(point)))
    return table
