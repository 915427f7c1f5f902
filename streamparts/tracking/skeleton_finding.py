"""Finds joints and a kinematic tree in nothing but the tracks of parts.

Two parts that share a joint both contain one point: A_i p_i + t_i = A_j p_j + t_j in every frame, 2F linear equations
for the four unknowns (p_i, p_j) in the parts' own canonical frames. They are solved for every pair by iteratively
re-weighted least squares, so that outlier frames do not count, with a weak prior that the joint lies in both parts if
the motion does not determine it. The pairs with the best fit form the tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from streamparts.arrays import FloatArray, require_shape
from streamparts.tracking.skeleton import Array, Joint, Kind, Skeleton

MAX_FRAMES = 1500
"""Longer tracks are subsampled evenly to this many frames."""
MIN_FRAMES = 20
"""Pairs visible together in fewer frames have no joint."""
RIGID_DEGREES = 15.0
"""Parts whose relative angle varies more than this, robustly, are neither welded nor sliding."""
FREE_RADII = 0.5
"""No joint if the two parts' positions of it differ by more than this many mean radii."""
_ITERATIONS = 12
NEAR = 1.0
"""Distance of a joint from a part's centre without cost, in canonical units: half a radius outside."""
_REACH_PRICE = 0.35
"""Cost of each canonical unit beyond NEAR, as disagreement."""


class PairFit(NamedTuple):
    """Fit of a shared point to two parts."""

    in_first: Array
    """(2,) the joint in the first part's canonical frame."""
    in_second: Array
    residual: float
    """Robust RMS of the disagreement, in pixels."""
    reach: float
    """Distance of the joint beyond NEAR canonical units, summed over both."""
    kind: Kind


def find_skeleton(
    affines: FloatArray,
    weights: FloatArray,
    names: tuple[str, ...],
    side_px: float,
    min_seen: float = 0.05,
    connected: Sequence[tuple[int, int]] = (),
) -> Skeleton:
    """Find the tree of F frames of K parts: `affines` (F, K, 2, 3) canonical -> pixels, `weights` (F, K) in [0, 1], 0
    if a part is not visible, `side_px` the frame's shorter side. Parts visible in less than `min_seen` of the frames
    are left out. Pairs of parts that are known to be `connected` come before all others. Raises ValueError if fewer
    than two parts are visible together long enough.
    """
    require_shape("affines", affines, (None, len(names), 2, 3))
    require_shape("weights", weights, affines.shape[:2])
    rows = np.unique(np.linspace(0, len(affines) - 1, min(len(affines), MAX_FRAMES)).round().astype(int))
    poses, weights64 = affines[rows].astype(np.float64), weights[rows].astype(np.float64)
    seen = np.flatnonzero((weights64 > 0).mean(axis=0) >= min_seen) if len(rows) else np.array([], int)
    fits = {}
    for i, j in combinations(seen.tolist(), 2):
        # (F,) a frame counts as much as its less certain part
        both = np.minimum(weights64[:, i], weights64[:, j])
        use = both > 0
        if use.sum() >= MIN_FRAMES:
            fits[i, j] = fit_pair(poses[use, i], poses[use, j], both[use])
    if not fits:
        raise ValueError(f"no two parts are visible together in {MIN_FRAMES} frames: track a longer video")
    radii = {int(part): float(np.median(_radius(poses[weights64[:, part] > 0, part]))) for part in seen}
    # disagreement plus distance from both parts, as shares of the frame's side
    costs = {
        (i, j): (fit.residual + _REACH_PRICE * (radii[i] + radii[j]) / 2 * fit.reach) / side_px
        for (i, j), fit in fits.items()
    }
    known = {(min(pair), max(pair)) for pair in connected}
    edges = spanning_tree({pair: cost * (pair not in known) for pair, cost in costs.items()})
    root = _root(edges, radii)
    joints = tuple(_joint(edge, fits, costs, edges, side_px) for edge in _outwards(edges, root))
    return Skeleton(parts=names, root=root, joints=joints, num_frames=len(affines))


def fit_pair(first: Array, second: Array, weights: Array) -> PairFit:
    """Fit the point that two parts, (F, 2, 3) each, share, and classify their relative motion.

    Geman-McClure weights (9 m / (9 m + r^2))^2 with m the median of r^2 / 1.386; a ridge of variance / (sum of weights)
    in canonical units keeps what the motion does not determine near the parts' centres.
    """
    # (F, 2, 4) and (F, 2): [A_i, -A_j] (p_i, p_j) = t_j - t_i
    system = np.concatenate([first[..., :2], -second[..., :2]], axis=2)
    shift = second[..., 2] - first[..., 2]
    robust, solution = np.ones(len(system)), np.zeros(4)
    # the median of a squared 2-D Gaussian distance is 2 ln 2 = 1.386 variances
    variance = float(np.median(np.square(shift).sum(1))) / 1.386
    for _ in range(_ITERATIONS):
        use = (weights * robust)[:, None, None]
        # (4, 4) and (4,): the weighted normal equations
        normal = np.einsum("fai,faj->ij", system * use, system)
        side = np.einsum("fai,fa->i", system * use, shift)
        solution = np.linalg.solve(normal + (variance + 1e-12) * np.eye(4), side)
        squared = np.square(system @ solution - shift).sum(1)
        middle = _weighted_median(squared, weights) / 1.386 + 1e-12
        robust = np.square(9 * middle / (9 * middle + squared))
        variance = middle
    in_first, in_second = solution[:2], solution[2:]
    reach = sum(max(0.0, float(np.linalg.norm(point)) - NEAR) for point in (in_first, in_second))
    residual = float(np.sqrt(middle))
    return PairFit(in_first, in_second, residual, reach, _kind(first, second, residual, weights))


def _kind(first: Array, second: Array, hinge_px: float, weights: Array) -> Kind:
    """The kind with the shortest description of the second part's centre in the first one's axes, given both angles: a
    coordinate with a residual costs the entropy of a Gaussian, a freely sliding one that of its range and a bit more,
    each parameter half the log of their number. Parts that turn relative to each other neither weld nor slide, and a
    joint that is off by half a part does not count.
    """
    radius = float(np.sqrt(np.median(_radius(first)) * np.median(_radius(second))))
    # (F, 2, 2) the first part's axes as unit columns; (F, 2) the second one's centre in them
    axes = first[..., :2] / np.linalg.norm(first[..., :2], axis=1, keepdims=True)
    moved = np.einsum("fba,fb->fa", axes, second[..., 2] - first[..., 2])
    centred = moved - [_weighted_median(column, weights) for column in moved.T]
    # rows: the direction in which the centre slides most, then the one across
    directions = np.linalg.svd(centred * weights[:, None], full_matrices=False)[2]
    along, across = centred @ directions[0], centred @ directions[1]
    noise = 0.005 * radius

    def entropy(sigma: float) -> float:
        return float(np.log(np.sqrt(2 * np.pi * np.e) * max(sigma, noise)))

    rules: dict[Kind, tuple[float, int]] = {"hinge": (2 * entropy(hinge_px), 4)}
    turn = _angle(second) - _angle(first)
    # circular mean
    middle = np.angle(np.sum(weights * np.exp(1j * turn)))
    if np.rad2deg(_rms((turn - middle + np.pi) % (2 * np.pi) - np.pi, weights)) < RIGID_DEGREES:
        spreads = _rms(along, weights), _rms(across, weights)
        rules["weld"] = (2 * entropy(float(np.sqrt(np.mean(np.square(spreads))))), 2)
        rules["slide"] = (entropy(spreads[1]) + float(np.log(2 * max(_range(along), 4 * noise))), 3)
    num = len(first)
    # description length of 2 F numbers: their entropy, plus half the log of their number for each parameter
    best = min(rules, key=lambda kind: num * rules[kind][0] + rules[kind][1] / 2 * np.log(2 * num))
    return "free" if best == "hinge" and hinge_px > FREE_RADII * radius else best


def spanning_tree(costs: dict[tuple[int, int], float]) -> list[tuple[int, int]]:
    """The edges that connect all parts (of each connected piece) with the lowest cost: Kruskal's algorithm."""
    group = {part: part for pair in costs for part in pair}

    def find(part: int) -> int:
        while group[part] != part:
            part = group[part]
        return part

    edges = []
    for i, j in sorted(costs, key=costs.__getitem__):
        if find(i) != find(j):
            group[find(i)] = find(j)
            edges.append((i, j))
    return edges


def _root(edges: list[tuple[int, int]], radii: dict[int, float]) -> int:
    """The part with the most neighbours; among equals, the largest."""
    degree = {part: sum(part in edge for edge in edges) for edge in edges for part in edge}
    return max(degree, key=lambda part: (degree[part], radii[part]))


def _outwards(edges: list[tuple[int, int]], root: int) -> list[tuple[int, int]]:
    """The edges of the root's tree, parent first, from the root outwards."""
    left, placed = list(edges), [root]
    out: list[tuple[int, int]] = []
    while True:
        found = next(((a, b) for part in placed for a, b in left if part in (a, b)), None)
        if found is None:
            return out
        left.remove(found)
        parent, child = found if found[0] in placed else found[::-1]
        placed.append(child)
        out.append((parent, child))


def _joint(
    edge: tuple[int, int],
    fits: dict[tuple[int, int], PairFit],
    costs: dict[tuple[int, int], float],
    edges: list[tuple[int, int]],
    side_px: float,
) -> Joint:
    parent, child = edge
    key = (min(edge), max(edge))
    fit = fits[key]
    points = (fit.in_first, fit.in_second) if parent < child else (fit.in_second, fit.in_first)
    (px, py), (cx, cy) = (point.tolist() for point in points)
    return Joint(
        parent=parent,
        child=child,
        in_parent=(px, py),
        in_child=(cx, cy),
        kind=fit.kind,
        residual=fit.residual / side_px,
        confidence=_confidence(key, costs, edges),
    )


def _confidence(edge: tuple[int, int], costs: dict[tuple[int, int], float], edges: list[tuple[int, int]]) -> float:
    """1 - cost / cost of the best other edge that would connect the same two halves of the tree."""
    side = {edge[0]}
    rest = [other for other in edges if other != edge]
    # all parts that stay connected to the first one without this edge
    while grown := {b for other in rest for a, b in (other, other[::-1]) if a in side} - side:
        side |= grown
    others = [cost for (i, j), cost in costs.items() if (i, j) != edge and (i in side) != (j in side)]
    return 1.0 if not others else float(np.clip(1 - costs[edge] / max(min(others), 1e-12), 0, 1))


def _radius(poses: Array) -> Array:
    """(F,) geometric mean of the two scales of (F, 2, 3) affines."""
    radius: Array = np.sqrt(np.abs(np.linalg.det(poses[..., :2])))
    return radius


def _angle(poses: Array) -> Array:
    angle: Array = np.arctan2(poses[..., 1, 0], poses[..., 0, 0])
    return angle


def _rms(values: Array, weights: Array) -> float:
    """Robust RMS, from the median of the squares."""
    return float(np.sqrt(_weighted_median(np.square(values), weights) / 0.4549))


def _range(values: Array) -> float:
    """Width of the values, estimated from the range of nine tenths of them."""
    # nine tenths of a uniform distribution have nine tenths of its range
    low, high = np.quantile(values, (0.05, 0.95))
    return float(high - low) / 0.9


def _weighted_median(values: Array, weights: Array) -> float:
    # the value at which half of the total weight is reached
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])
