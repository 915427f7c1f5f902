"""A skeleton: joints between parts, which form a tree. skeleton_finding.py finds one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import FloatArray
from streamparts.bundle.spec import require_part_names, short
from streamparts.data import Joints
from streamparts.errors import SkeletonError

Array = NDArray[np.float64]
Kind = Literal["weld", "hinge", "slide", "free"]

SCHEMA = "streamparts.skeleton/1"
MAX_REACH = 1e3
"""Limit of numbers in a skeleton's file."""
ANEW = "find one in this model's tracks: streamparts skeleton TRACKS.jsonl -o FILE.json"


class Joint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A joint between a part and its parent."""

    parent: int
    """Number of the part nearer to the root."""
    child: int
    """Number of the other part."""
    in_parent: tuple[float, float]
    """The joint in the parent's canonical frame."""
    in_child: tuple[float, float]
    """The same point in the child's canonical frame."""
    kind: Kind
    """"weld": the two never move relative to each other; "hinge": they turn about the joint; "slide": one shifts along
    the other; "free": none of these fits, and the joint is a guess."""
    residual: float
    """Robust distance between both parts' positions of the joint, as a share of the frame's shorter side."""
    confidence: float
    """In [0, 1]: advantage over the best other tree edge between the same two halves of the figure."""

    def __post_init__(self) -> None:
        if not all(abs(value) <= MAX_REACH for value in (*self.in_parent, *self.in_child)):
            raise ValueError(f"a joint must lie within {MAX_REACH:g} radii of its parts' centres")
        if not (0 <= self.residual <= MAX_REACH and 0 <= self.confidence <= 1):
            raise ValueError("residual must not be negative or huge, and confidence in [0, 1]")


class Skeleton(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kinematic tree over parts. Parts that were rarely visible are not in it."""

    schema: str = SCHEMA
    parts: tuple[str, ...]
    """(K,) names, in the model's order."""
    root: int
    """The root: all other parts are attached to it, directly or indirectly."""
    joints: tuple[Joint, ...]
    """From the root outwards: parents come before their children."""
    num_frames: int
    """Number of frames it was found in."""

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"schema is {short(self.schema)}, this version reads {SCHEMA!r}")
        require_part_names(self.parts)
        if self.num_frames < 0:
            raise ValueError(f"num_frames must not be negative, got {self.num_frames}")
        placed = {self.root}
        for joint in self.joints:
            if joint.parent not in placed or joint.child in placed:
                raise ValueError(
                    f"the joints do not form a tree from part {self.root} outwards (at part {joint.child})"
                )
            placed.add(joint.child)
        if not placed <= set(range(len(self.parts))):
            raise ValueError(f"the joints name parts that are not among the {len(self.parts)}")

    def require_parts(self, names: Sequence[str]) -> None:
        """Raise SkeletonError with a one-line message unless `names` are its parts, in the same order."""
        if len(self.parts) != len(names):
            raise SkeletonError(f"the skeleton has {len(self.parts)} parts, but the model has {len(names)}; {ANEW}")
        for part, (own, other) in enumerate(zip(self.parts, names, strict=True)):
            if own != other:
                raise SkeletonError(
                    f"part {part} is {short(own)} in the skeleton and {short(other)} in the model; {ANEW}"
                )

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Pairs of part numbers, parent first."""
        return tuple((joint.parent, joint.child) for joint in self.joints)

    def joint_positions(self, affines: FloatArray, visible: NDArray[np.bool_]) -> FloatArray:
        """(J, 2) pixels from (K, 2, 3) affines and (K,) visible: the mean of both parts' positions, or that of the
        visible one; nan if neither is visible."""
        # (J, 2)
        out = np.full((len(self.joints), 2), np.nan, np.float32)
        for number, joint in enumerate(self.joints):
            ends = ((joint.parent, joint.in_parent), (joint.child, joint.in_child))
            # one or two points (2,)
            ideas = [place(affines[part], point) for part, point in ends if visible[part]]
            if ideas:
                out[number] = np.mean(ideas, axis=0)
        return out

    def joints_of(
        self, affines: FloatArray, scores: FloatArray, visible: NDArray[np.bool_], filled: NDArray[np.bool_]
    ) -> Joints:
        """The joints of a frame from its (K, 2, 3) affines: by the `visible` parts (K,), or else by the `filled` ones;
        `scores` (K,) are the confidences of the visible ones."""
        # measured positions first; where neither part is visible, those of the filled parts
        points = self.joint_positions(affines, visible)
        unknown = np.isnan(points[:, 0])
        points[unknown] = self.joint_positions(affines, filled)[unknown]
        # (K,) scores of visible parts, and (J, 2) the two parts of each joint
        sure, ends = np.where(visible, scores, 0), np.array(self.edges, np.int64).reshape(-1, 2)
        # (J,) confidence of the joint itself, times that of its more certain visible part
        trust = np.array([joint.confidence for joint in self.joints], np.float32)
        return Joints(self.edges, points, trust * sure[ends].max(axis=1))

    def to_json(self) -> bytes:
        """Text for `load_skeleton`, see docs/skeleton.md."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def place(affine: FloatArray, point: tuple[float, float] | Array) -> Array:
    """(2, 3) affine of a canonical point (2,)."""
    # u = A p + t
    placed: Array = affine[:, :2] @ np.asarray(point) + affine[:, 2]
    return placed
