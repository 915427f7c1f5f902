"""The skeleton's joints, which can replace the parts in an output, and the tree of either."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streamparts.errors import TracksError
from streamparts.formats.shots import Shot, edges_of, joints_of, shots
from streamparts.tracksfile.reading import TracksFile
from streamparts.tracksfile.records import JointRecord


def joint_names(tracks: TracksFile) -> list[str]:
    """Names of the joints. Raises TracksError if the tracks have none."""
    return [joint.name for joint in _first_joints(tracks)]


def joint_positions(shot: Shot, names: Sequence[str], num_subjects: int) -> NDArray[np.float64]:
    """(S, J, 3) x, y in pixels of the frame, and confidence; nan, nan and 0 for a joint without a position."""
    out = np.tile(np.array([np.nan, np.nan, 0.0]), (num_subjects, len(names), 1))
    for subject in range(num_subjects):
        found = {joint.name: joint for joint in joints_of(shot, subject)}
        for number, name in enumerate(names):
            joint = found.get(name)
            if joint is not None and joint.x is not None and joint.y is not None:
                out[subject, number] = joint.x, joint.y, joint.confidence
    return out


def joint_edges(tracks: TracksFile) -> list[tuple[int, int]]:
    """Pairs of joint numbers, parent first: the first joint leads to the part at which the second begins."""
    leads_to: dict[int, int] = {}
    joints = _first_joints(tracks)
    for number, joint in enumerate(joints):
        leads_to.setdefault(joint.parts[1], number)
    return [(leads_to[joint.parts[0]], number) for number, joint in enumerate(joints) if joint.parts[0] in leads_to]


def parents_of(count: int, edges: Sequence[tuple[int, int]]) -> list[int | None]:
    """Parent of each node, None for a root. Edges that would add a second parent or close a cycle are left out."""
    parents: list[int | None] = [None] * count

    def is_above(number: int, other: int | None) -> bool:
        while other is not None and other != number:
            other = parents[other]
        return other is not None

    for parent, child in edges:
        if parent < count and child < count and parents[child] is None and not is_above(child, parent):
            parents[child] = parent
    return parents


def part_parents(tracks: TracksFile) -> list[int | None]:
    """Parent of each part; None for all if the tracks have no joints."""
    return parents_of(len(tracks.header.model.parts), edges_of(tracks))


def _first_joints(tracks: TracksFile) -> list[JointRecord]:
    for shot in shots(tracks):
        for one in shot.subjects:
            if joints := joints_of(shot, one.subject):
                return joints
    raise TracksError(f"{tracks.path}: has no joints; run with --skeleton FILE.json first (docs/skeleton.md)")
