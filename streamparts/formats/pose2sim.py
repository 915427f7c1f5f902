"""Describes keypoints that belong to no body model of Pose2Sim: their names and their tree, as the table CUSTOM of its
Config.toml."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

HEAD = """# The keypoints of these files, for Pose2Sim: set pose_model = 'CUSTOM' in [pose] of its Config.toml,
# and append this text to it.
"""
TABLE = "pose.CUSTOM"


def custom_skeleton(names: Sequence[str], parents: Sequence[int | None]) -> str:
    """Keypoint k has the id k. Several keypoints without a parent get a common root that is not a keypoint."""
    roots = [number for number, parent in enumerate(parents) if parent is None]
    if len(roots) == 1:
        lines = [*_node(names, parents, roots[0], f"[{TABLE}]", TABLE)]
    else:
        lines = [f"[{TABLE}]", 'name = "subject"', 'id = "None"']
        for root in roots:
            lines += _node(names, parents, root, f"[[{TABLE}.children]]", f"{TABLE}.children")
    return HEAD + "\n".join(lines) + "\n"


def _node(names: Sequence[str], parents: Sequence[int | None], number: int, table: str, path: str) -> Iterator[str]:
    yield from (table, f"name = {msgspec.json.encode(names[number]).decode()}", f"id = {number}")
    for child, parent in enumerate(parents):
        if parent == number:
            yield from _node(names, parents, child, f"[[{path}.children]]", f"{path}.children")
