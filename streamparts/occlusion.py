"""Hidden parts hang on their neighbours: where a part that is not seen must be, by the joints of the skeleton.

A neighbour holds the joint that both share, so the hidden part's centre follows from its angle. The angle goes with the
neighbour's: what the part turned against it when it was last seen dies away. Two joints tell the angle too; how much
they count against what was carried on is weighed by the variances of all three. So that nothing jumps, a part keeps
the distance to its place that it had when it was last seen, for a moment.

States are rows of filters.PoseFilter: x, y, log sx, log sy, angle, lengths in 1/256 of the frame's shorter side.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamparts.skeleton import Skeleton

Array = NDArray[np.float64]
State = tuple[Array, Array]
"""Values (K, 5) and their velocities (K, 5)."""

TURN_SECONDS = 0.15
"""Time constant with which the turning of a hidden part against its neighbours dies away ..."""
OFFSET_SECONDS = 0.25
"""... and the distance from where the joints have it."""
_DOUBT = 2.0
"""Turning against the neighbours counts as far as its square is more than so many times its variance."""
_SPIN_SHARE = 0.3
"""Of a correction of the angle that goes into the turning: the second gain of an alpha-beta filter."""
_REFERENCE_PX = 256
_ANGLE = 4


class _Link(NamedTuple):
    """A joint as seen from a part that hangs on it."""

    neighbour: int
    in_neighbour: Array
    """(2,) canonical."""
    in_part: Array
    variance: float
    """Of the two parts' disagreement about it, an axis."""


class Hanging:
    """The memory of one video: by how much each hidden part lay beside its place."""

    def __init__(self, skeleton: Skeleton) -> None:
        num_parts = len(skeleton.parts)
        self._links: list[list[_Link]] = [[] for _ in range(num_parts)]
        for joint in skeleton.joints:
            if joint.kind != "free":
                in_parent, in_child = np.array(joint.in_parent), np.array(joint.in_child)
                variance = (joint.residual * _REFERENCE_PX) ** 2 / 2
                self._links[joint.child].append(_Link(joint.parent, in_parent, in_child, variance))
                self._links[joint.parent].append(_Link(joint.child, in_child, in_parent, variance))
        self._offset = np.zeros((num_parts, 2))
        self._hung = np.zeros(num_parts, np.bool_)

    def carry(
        self,
        before: State,
        now: State,
        covariance: Array,
        seen: NDArray[np.bool_],
        known: NDArray[np.bool_],
        step: float,
    ) -> NDArray[np.bool_]:
        """Put hidden parts on their joints, those next to parts that are seen first, by changing the rows of `now` in
        place; (K,) which were put there.

        `before` is the state `step` seconds ago; `covariance` (3, K, 3) that of positions, between them and velocities,
        and of velocities, of translation, log scale and angle; `known` (K,) are the parts that have a state.
        """
        placed, left = known & seen, known & ~seen
        while left.any():
            ready = [(k, links) for k in np.flatnonzero(left).tolist() if (links := self._links_to(placed, k))]
            if not ready:
                break
            for part, links in ready:
                self._hang(part, links, before, now, covariance, step)
                placed[part], left[part] = True, False
        self._hung = placed & ~seen
        return self._hung

    def _links_to(self, placed: NDArray[np.bool_], part: int) -> list[_Link]:
        return [link for link in self._links[part] if placed[link.neighbour]]

    def _hang(self, part: int, links: list[_Link], before: State, now: State, covariance: Array, step: float) -> None:
        (was, was_moving), (value, velocity), (variance, _, speed_variance) = before, now, covariance
        around = [link.neighbour for link in links]
        noise = np.array([_joint_variance(value, variance, link) for link in links])
        turned = _wrapped(value[around, _ANGLE] - was[around, _ANGLE]).mean()
        against = was_moving[part, _ANGLE] - was_moving[around, _ANGLE].mean()
        if not self._hung[part]:
            self._offset[part] = was[part, :2] - _place(was, part, links, noise)
            doubt = speed_variance[part, 2] + speed_variance[around, 2].mean() / len(around)
            against *= max(0.0, 1 - _DOUBT * doubt / max(against**2, 1e-12))
        value[part, _ANGLE] = was[part, _ANGLE] + turned + against * step
        if len(links) > 1:
            turn = _turn(value, part, links, noise, variance[part, 2])
            value[part, _ANGLE] += turn
            against += _SPIN_SHARE * turn / step
        velocity[part, _ANGLE] = velocity[around, _ANGLE].mean() + against * math.exp(-step / TURN_SECONDS)
        self._offset[part] *= math.exp(-step / OFFSET_SECONDS)
        value[part, :2] = _place(value, part, links, noise) + self._offset[part]
        velocity[part, :2] = np.mean([_drawn(value, velocity, part, link) for link in links], axis=0)


def _arm(row: Array, point: Array) -> Array:
    """(2,) from a part's centre to a canonical point of it."""
    x, y = np.exp(row[2:4]) * point
    cos, sin = math.cos(row[_ANGLE]), math.sin(row[_ANGLE])
    return np.array([cos * x - sin * y, sin * x + cos * y])


def _joint_variance(value: Array, variance: Array, link: _Link) -> float:
    """Of the place of a joint as its neighbour has it, an axis."""
    arm = _arm(value[link.neighbour], link.in_neighbour)
    turning = variance[link.neighbour, 2] * (arm @ arm) / 2
    return float(variance[link.neighbour, 0] + turning + link.variance)


def _joints(value: Array, part: int, links: list[_Link]) -> tuple[Array, Array]:
    """(J, 2) joints as the neighbours have them, and (J, 2) from the part's centre to them by its own angle."""
    places = [value[link.neighbour, :2] + _arm(value[link.neighbour], link.in_neighbour) for link in links]
    return np.array(places), np.array([_arm(value[part], link.in_part) for link in links])


def _place(value: Array, part: int, links: list[_Link], noise: Array) -> Array:
    """(2,) the part's centre by its joints and its angle."""
    joints, arms = _joints(value, part, links)
    centre: Array = np.average(joints - arms, axis=0, weights=1 / noise)
    return centre


def _turn(value: Array, part: int, links: list[_Link], noise: Array, angle_variance: float) -> float:
    """By how much to turn the part towards where several joints have it: one Gauss-Newton step."""
    joints, arms = _joints(value, part, links)
    weights = 1 / noise
    joints, arms = (points - np.average(points, axis=0, weights=weights) for points in (joints, arms))
    across = np.stack([-arms[:, 1], arms[:, 0]], axis=1)
    pull = weights @ (across * (joints - arms)).sum(1)
    return float(pull / (weights @ np.square(across).sum(1) + 1 / angle_variance))


def _drawn(value: Array, velocity: Array, part: int, link: _Link) -> Array:
    """(2,) velocity of a part's centre as one joint draws it along."""
    row, point = link.neighbour, link.in_neighbour
    arms = (velocity[row, _ANGLE], _arm(value[row], point)), (-velocity[part, _ANGLE], _arm(value[part], link.in_part))
    drawn: Array = velocity[row, :2] + sum(spin * np.array([-arm[1], arm[0]]) for spin, arm in arms)
    return drawn


def _wrapped(radians: Array) -> Array:
    """Into [-pi, pi)."""
    return (radians + math.pi) % (2 * math.pi) - math.pi
