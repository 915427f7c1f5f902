"""Figures that the papers print. They are of other clips, other networks and days of training: they show the order of
the systems there, not values to expect here."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.markdown import table

GAO = "Gao et al. 2021"
HUNG = "Hung et al. 2019"
LANDMARKS = "sum of 18 or 68 landmarks' absolute errors, px at 256"
IOU = "foreground IoU"
PART_IOU = "part IoU, mean of five"
FACES = "landmark error, % of the distance between the eyes"

PUBLISHED: tuple[tuple[str, str, str, dict[str, float]], ...] = (
    (GAO, "Tai-Chi-HD", IOU, {"SCOPS": 0.5485, "co-part": 0.7686, "Assembly": 0.8724}),
    (GAO, "Tai-Chi-HD", LANDMARKS, {"SCOPS": 411.38, "co-part": 389.78, "Assembly": 326.82}),
    (GAO, "VoxCeleb", IOU, {"SCOPS": 0.5045, "co-part": 0.9135, "Assembly": 0.9270}),
    (GAO, "VoxCeleb", LANDMARKS, {"SCOPS": 663.04, "co-part": 424.96, "Assembly": 338.98}),
    (GAO, "Exercise", PART_IOU, {"nem": 0.251, "r-nem": 0.276, "psd": 0.474, "Assembly": 0.677}),
    (GAO, "Exercise, upper body", "part IoU", {"flow-capsules": 0.690, "Assembly": 0.759}),
    (GAO, "Exercise, left leg", "part IoU", {"flow-capsules": 0.590, "Assembly": 0.726}),
    (GAO, "Exercise, right leg", "part IoU", {"flow-capsules": 0.540, "Assembly": 0.642}),
    (HUNG, "CelebA, unaligned", FACES, {"ULD": 40.82, "DFF": 31.30}),
)
"""Paper, data, figure, and its values by system."""


def published_table(names: Sequence[str]) -> str:
    """The rows that have one of the systems `names`, which are the columns."""
    rows = [
        [paper, f"{data} (other data)", figure, *(values.get(name) for name in names)]
        for paper, data, figure, values in PUBLISHED
        if values.keys() & set(names)
    ]
    return table(["paper", "data", "figure", *names], rows)
