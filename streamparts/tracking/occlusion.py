"""Places hidden parts by their neighbours, through the joints of the skeleton.

A neighbour determines the position of the shared joint, so the hidden part's centre follows from its angle. The angle
turns with the neighbour; the part's own angular velocity relative to the neighbour decays. Two joints also determine
the angle; they and the predicted angle are weighted by their variances. To avoid jumps, the offset that a part had to
its computed place when last visible fades out.

A visible part with low confidence has an unreliable measurement. Its joints are then additional measurements of a
Kalman filter, of the position that centre and angle together imply.

States are rows of PoseFilter: x, y, log sx, log sy, angle, with lengths in 1/256 of the frame's shorter side.
Points are complex numbers here, x + iy, which for a few hidden parts is many times faster than arrays.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamparts.tracking.skeleton import Skeleton

Array = NDArray[np.float64]
State = tuple[Array, Array]
"""Values (K, 5) and their velocities (K, 5)."""

TURN_SECONDS = 0.15
"""Time constant of the decay of a hidden part's angular velocity relative to its neighbours."""
OFFSET_SECONDS = 0.15
"""Time constant of the decay of a hidden part's offset from the place given by its joints."""
_DOUBT = 1.0
"""Angular velocity relative to the neighbours counts as far as its square exceeds this multiple of its variance."""
_SPIN_SHARE = 0.3
"""Share of an angle's correction that goes into the angular velocity: the second gain of an alpha-beta filter."""
_REFERENCE_PX = 256
_ANGLE = 4


class _Link(NamedTuple):
    """A joint, seen from a part attached to it."""

    neighbour: int
    in_neighbour: complex
    """Position in the part's canonical frame."""
    in_part: complex
    variance: float
    """Variance of the two parts' disagreement about it, per axis."""


class _Pose(NamedTuple):
    """One row of the filter's values, or of their velocities."""

    center: complex
    scales: tuple[float, float]
    angle: float

    def arm(self, point: complex) -> complex:
        """From the centre to a canonical point."""
        return cmath.rect(1, self.angle) * complex(self.scales[0] * point.real, self.scales[1] * point.imag)


class Chains:
    """Places parts along the chains of a skeleton. The memory of one video: each hidden part's offset from its computed
    place."""

    def __init__(self, skeleton: Skeleton) -> None:
        num_parts = len(skeleton.parts)
        self._links: list[list[_Link]] = [[] for _ in range(num_parts)]
        for joint in skeleton.joints:
            if joint.kind != "free":
                in_parent, in_child = complex(*joint.in_parent), complex(*joint.in_child)
                # the residual is a distance in both axes, each with half of its square
                variance = (joint.residual * _REFERENCE_PX) ** 2 / 2
                self._links[joint.child].append(_Link(joint.parent, in_parent, in_child, variance))
                self._links[joint.parent].append(_Link(joint.child, in_child, in_parent, variance))
        self._offset = [0j] * num_parts
        self._placed_before = np.zeros(num_parts, np.bool_)

    def exchange(self, order: NDArray[np.intp]) -> None:
        """Give each part the memory of part `order` (K,)."""
        self._offset, self._placed_before = [self._offset[part] for part in order], self._placed_before[order]

    def place(
        self,
        before: State,
        now: State,
        covariance: Array,
        sure: NDArray[np.bool_],
        seen: NDArray[np.bool_],
        known: NDArray[np.bool_],
        step: float,
    ) -> NDArray[np.bool_]:
        """Place hidden parts by their joints, and move visible parts that are not `sure` (K,) towards theirs, starting
        with those next to sure ones, by changing the rows of `now` in place. Returns (K,) the parts that were moved.

        `before` is the state `step` seconds ago; `covariance` (3, K, 5) those of positions, between positions and
        velocities, and of velocities; `known` (K,) are the parts with a state.
        """
        # Breadth-first from the certain parts outwards: a part is placed once a neighbour is.
        placed, left = known & seen & sure, set(np.flatnonzero(known & ~(seen & sure)).tolist())
        while left:
            ready = [(part, links) for part in sorted(left) if (links := self._links_to(placed, part))]
            for part, links in ready:
                if seen[part]:
                    for link in links:
                        _correct(part, link, now, covariance)
                else:
                    self._infer(part, links, before, now, covariance, step)
            # without any, an uncertain but visible part becomes the start of its chain
            settled = [part for part, _ in ready] or [part for part in left if seen[part]]
            if not settled:
                break
            placed[settled] = True
            left.difference_update(settled)
        self._placed_before = placed & ~seen
        return placed & ~(seen & sure)

    def _links_to(self, placed: NDArray[np.bool_], part: int) -> list[_Link]:
        return [link for link in self._links[part] if placed[link.neighbour]]

    def _infer(self, part: int, links: list[_Link], before: State, now: State, covariance: Array, step: float) -> None:
        own, own_moving = _poses(before, part)
        pairs = [(_poses(before, link.neighbour), _poses(now, link.neighbour)) for link in links]
        were, were_moving = [was for (was, _), _ in pairs], [moving for (_, moving), _ in pairs]
        around, moving = [pose for _, (pose, _) in pairs], [moving for _, (_, moving) in pairs]
        weights = [
            1 / _joint_variance(pose, covariance[0, link.neighbour].tolist(), link)
            for pose, link in zip(around, links, strict=True)
        ]
        turned = _mean([_wrapped(pose.angle - was.angle) for pose, was in zip(around, were, strict=True)])
        # angular velocity relative to the neighbours, in radians per second
        against = own_moving.angle - _mean([was.angle for was in were_moving])
        if not self._placed_before[part]:  # first hidden frame: keep offset and significant rotation
            self._offset[part] = own.center - _place(own, were, links, weights)
            doubt = covariance[2, part, _ANGLE] + covariance[2, links[0].neighbour, _ANGLE] / len(links)
            # shrinks to 0 if the squared angular velocity is below _DOUBT times its variance
            against *= max(0.0, 1 - _DOUBT * float(doubt) / max(against**2, 1e-12))
        own = own._replace(angle=own.angle + turned + against * step)
        if len(links) > 1:
            turn = _turn(own, around, links, weights, float(covariance[0, part, _ANGLE]))
            own = own._replace(angle=own.angle + turn)
            against += _SPIN_SHARE * turn / step
        spin = _mean([each.angle for each in moving]) + against * math.exp(-step / TURN_SECONDS)
        self._offset[part] *= math.exp(-step / OFFSET_SECONDS)
        center = _place(own, around, links, weights) + self._offset[part]
        # velocity of each joint according to its neighbour, minus the part's own rotation about its centre: v + i w r
        drawn = [
            each.center + 1j * (each.angle * pose.arm(link.in_neighbour) - spin * own.arm(link.in_part))
            for each, pose, link in zip(moving, around, links, strict=True)
        ]
        velocity = sum(drawn) / len(drawn)
        value_row, velocity_row = now[0][part], now[1][part]
        value_row[0], value_row[1], value_row[_ANGLE] = center.real, center.imag, own.angle
        velocity_row[0], velocity_row[1], velocity_row[_ANGLE] = velocity.real, velocity.imag, spin


def _correct(part: int, link: _Link, now: State, covariance: Array) -> None:
    """Update of an extended Kalman filter whose measurement is the joint's position according to the neighbour. The
    innovation covariance is the (2, 2) matrix I m + spread u u^T with u across the arm; its inverse is written out. The
    state's covariance stays unchanged: a joint's error is the same in the next frame, so repeated measurements add no
    information."""
    own, neighbour = _poses(now, part)[0], _poses(now, link.neighbour)[0]
    arm = own.arm(link.in_part)
    surprise = neighbour.center + neighbour.arm(link.in_neighbour) - own.center - arm
    position, cross = covariance[0, part].tolist(), covariance[1, part].tolist()
    expected = position[0] + _joint_variance(neighbour, covariance[0, link.neighbour].tolist(), link)
    # The joint moves by across per radian: H = [I, across], so S = m I + spread across across^T, with m = `expected`.
    across, spread = 1j * arm, position[_ANGLE]
    pull = (surprise.conjugate() * across).real / (expected + spread * abs(arm) ** 2)
    # S^-1 surprise by Sherman and Morrison
    weighed = (surprise - spread * pull * across) / expected
    for row, by in zip(now, (position, cross), strict=True):
        row[part, 0] += by[0] * weighed.real
        row[part, 1] += by[0] * weighed.imag
        row[part, _ANGLE] += by[_ANGLE] * pull


def _poses(state: State, part: int) -> tuple[_Pose, _Pose]:
    """Values and velocities of one part; the velocities' scales are meaningless."""
    (x, y, log_sx, log_sy, angle), (vx, vy, _, _, spin) = state[0][part].tolist(), state[1][part].tolist()
    return (
        _Pose(complex(x, y), (math.exp(log_sx), math.exp(log_sy)), angle),
        _Pose(complex(vx, vy), (0.0, 0.0), spin),
    )


def _joint_variance(neighbour: _Pose, variances: Sequence[float], link: _Link) -> float:
    """Variance of a joint's position according to its neighbour, per axis, from those of translation, log scale and
    angle."""
    return variances[0] + variances[_ANGLE] * abs(neighbour.arm(link.in_neighbour)) ** 2 / 2 + link.variance


def _joints(own: _Pose, around: Sequence[_Pose], links: Sequence[_Link]) -> tuple[list[complex], list[complex]]:
    """Joint positions according to the neighbours, and the vectors to them from the part's centre at its own angle."""
    places = [pose.center + pose.arm(link.in_neighbour) for pose, link in zip(around, links, strict=True)]
    return places, [own.arm(link.in_part) for link in links]


def _place(own: _Pose, around: Sequence[_Pose], links: Sequence[_Link], weights: Sequence[float]) -> complex:
    """Centre of the part, given its joints and its angle."""
    joints, arms = _joints(own, around, links)
    return _weighted(joints, weights) - _weighted(arms, weights)


def _turn(
    own: _Pose, around: Sequence[_Pose], links: Sequence[_Link], weights: Sequence[float], variance: float
) -> float:
    """Angle correction from several joints and a predicted angle with that variance: one Gauss-Newton step."""
    joints, arms = _joints(own, around, links)
    joint, arm = _weighted(joints, weights), _weighted(arms, weights)
    # Minimise sum w |joint - (center + arm)|^2 + angle^2 / variance; the centre is eliminated by weighted means.
    pull, stiffness = 0.0, 1 / variance
    for each, own_arm, weight in zip(joints, arms, weights, strict=True):
        across = 1j * (own_arm - arm)
        pull += weight * (across.conjugate() * (each - joint)).real
        stiffness += weight * abs(across) ** 2
    return pull / stiffness


def _weighted(points: Sequence[complex], weights: Sequence[float]) -> complex:
    return sum(point * weight for point, weight in zip(points, weights, strict=True)) / sum(weights)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _wrapped(radians: float) -> float:
    """Into [-pi, pi)."""
    return (radians + math.pi) % (2 * math.pi) - math.pi
