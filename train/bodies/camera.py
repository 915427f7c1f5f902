"""Camera, framing and light of a rendered image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from .builds import Array
from .figure import BodyFigure
from .pose import unit


@dataclass(frozen=True)
class Camera:
    """Projects the world to pixels; the rows of `turned` point right, down and ahead."""

    turned: Array
    """(3, 3) rotation from the world to the camera."""
    place: Array
    """(3,) position in metres."""
    focal: float = 1.0
    """Focal length in pixels."""
    centre: tuple[float, float] = (0.0, 0.0)
    """Principal point in pixels."""

    def project(self, points: Array) -> Array:
        """Project (M, 3) points to (M, 3): x and y in pixels, and the depth in metres."""
        # (M, 3) in the camera's axes: right, down, ahead
        seen = (points - self.place) @ self.turned.T
        ahead = np.maximum(seen[:, 2:], 0.05)
        # pinhole: f x / z + c
        flat = seen[:, :2] / ahead * self.focal + np.array(self.centre, np.float32)
        return np.asarray(np.concatenate([flat, seen[:, 2:]], 1), np.float32)

    def finer(self, times: int) -> Camera:
        centre = (self.centre[0] * times, self.centre[1] * times)
        return Camera(self.turned, self.place, self.focal * times, centre)


def look_at(rng: Generator, figure: BodyFigure) -> Camera:
    """Place the camera at any angle around a person, most often in front, at the height of the eyes or the hips."""
    height = max(0.5, float(np.ptp(figure.vertices[:, 2])))
    middle = np.asarray(figure.vertices.mean(0), np.float32)
    kind = rng.random()
    around = rng.normal(0, 38) if kind < 0.58 else rng.uniform(-180, 180)
    above = rng.normal(6, 11) if rng.random() < 0.87 else rng.uniform(-35, 75)
    facing = figure.facing * (1, 1, 0)
    front = np.arctan2(*unit(facing)[1::-1]) if np.linalg.norm(facing) > 0.3 else 0.0
    angle, lift = front + np.radians(around), np.radians(np.clip(above, -40, 80))
    # spherical coordinates around the body
    outwards = np.array([np.cos(angle) * np.cos(lift), np.sin(angle) * np.cos(lift), np.sin(lift)], np.float32)
    place = middle + outwards * max(
        1.3, height * float(rng.choice([rng.uniform(1.1, 2.2), rng.uniform(2.2, 8)], p=[0.2, 0.8]))
    )
    return Camera(turned_towards(-outwards, rng.normal(0, 5)), place)


def turned_towards(ahead: Array, roll: float) -> Array:
    """Return the (3, 3) rotation of a camera that looks along the unit vector `ahead`, rolled by degrees."""
    right = unit(np.cross(ahead, (0, 0, 1)))
    down = np.cross(ahead, right)
    angle = np.radians(roll)
    cos, sin = np.cos(angle), np.sin(angle)
    # rows: the camera's axes in the world, rolled about the line of sight
    return np.asarray(np.stack([cos * right + sin * down, cos * down - sin * right, ahead]), np.float32)


def frame_it(
    rng: Generator, camera: Camera, figure: BodyFigure, size: int, close: tuple[tuple[int, ...], ...]
) -> Camera:
    """Choose zoom and principal point: the tracker's crop with jitter, a wide view, or a view so close that it cuts the
    body: of the first or the second set of parts of `close`."""
    seen = camera.project(figure.vertices)[:, :2]
    low, high = seen.min(0), seen.max(0)
    kind = rng.random()
    margin = 0.25
    if kind < 0.14:  # from the waist or the chest up, as seen by a webcam
        chosen = np.isin(figure.parts, close[0] if rng.random() < 0.6 else close[1])
        low, high = seen[chosen].min(0), seen[chosen].max(0)
        side, shift = float((high - low).max()) * rng.uniform(0.85, 1.5), rng.uniform(-0.15, 0.15, 2)
    elif kind < 0.32:  # the whole picture, of which the person is a part
        side, shift = float((high - low).max()) * rng.uniform(1.6, 5.5), rng.uniform(-0.36, 0.36, 2)
    else:
        side = (1 + 2 * margin) * float((high - low).max()) * rng.uniform(0.68, 1.35)
        shift = rng.uniform(-0.13, 0.13, 2)
    focal = size / side
    middle = (low + high) / 2 + shift * side
    centre = (size / 2 - focal * middle[0], size / 2 - focal * middle[1])
    return Camera(camera.turned, camera.place, focal, (float(centre[0]), float(centre[1])))


@dataclass(frozen=True)
class Light:
    """A lamp and ambient light."""

    towards: Array
    """(3,) unit vector to the lamp, in world coordinates."""
    colour: Array
    ambient: Array


def draw_light(rng: Generator, camera: Camera) -> Light:
    towards = unit(rng.normal(0, 1, 3) + np.array([0, 0, 0.9]) - 0.8 * camera.turned[2])
    share = rng.uniform(0.1, 0.75)
    bright = rng.uniform(0.8, 1.25)
    tint = 1 + rng.normal(0, 0.05, 3)
    return Light(
        towards, np.asarray(bright * share * tint, np.float32), np.asarray(bright * (1 - share) / tint, np.float32)
    )


def horizon(camera: Camera, size: int) -> float:
    """Return the horizon of a level floor, as a share of the height from the top."""
    forward = camera.turned[2]
    level = unit(forward * (1, 1, 0) + 1e-6)
    # the vanishing point of horizontal lines in the direction of view
    seen = camera.turned @ level
    return float(np.clip((seen[1] / max(seen[2], 0.05) * camera.focal + camera.centre[1]) / size, -0.5, 1.5))
