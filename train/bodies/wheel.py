"""A running wheel around a rodent seen from the side."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .builds import Array
from .camera import Camera

CORNERS = 72
"""Corners of the polygon that stands for the rim."""


@dataclass(frozen=True)
class Wheel:
    """A wheel whose axis is the y axis and whose lowest point is at the origin; lengths are the body's."""

    radius: float
    wide: float
    """Half the distance of the two rims."""
    thick: float
    angles: Array
    """(F,) radians by which it has turned, positive if its top moves ahead."""
    rungs: int
    colour: Array
    dark: Array
    back: float
    """Opacity of the disc behind; 0 without one."""

    def behind(self, image: Array, camera: Camera, frame: int) -> None:
        """Paint the disc, its spokes, the rungs and the farther rim."""
        near, far = self._sides(camera)
        if self.back > 0:
            mask = np.zeros(image.shape[:2], np.uint8)
            cv2.fillPoly(mask, [self._ring(far, camera)], 255, cv2.LINE_AA, shift=4)
            image += (mask.astype(np.float32) / 255 * self.back)[..., None] * (self.dark - image)
        hub = self._at(np.zeros(1), far, camera, 0.0)
        ends = self._at(self._rungs(frame), far, camera)
        for end in ends[:: max(1, len(ends) // 6)]:
            self._line(image, np.stack([hub[0], end]), camera, self.dark)
        for one, other in zip(ends, self._at(self._rungs(frame), near, camera), strict=True):
            self._line(image, np.stack([one, other]), camera, self.dark)
        self._line(image, self._ring(far, camera), camera, self.dark)

    def before(self, image: Array, camera: Camera, _frame: int) -> NDArray[np.bool_]:
        """Paint the nearer rim."""
        mask = np.zeros(image.shape[:2], np.uint8)
        ring = self._ring(self._sides(camera)[0], camera)
        cv2.polylines(mask, [ring], True, 255, self._pixels(camera), cv2.LINE_AA, shift=4)
        image += (mask.astype(np.float32) / 255)[..., None] * (self.colour - image)
        return np.asarray(mask > 127)

    def _sides(self, camera: Camera) -> tuple[float, float]:
        """Return y of the rim nearer to the camera and of the other."""
        sign = 1.0 if camera.place[1] > 0 else -1.0
        return sign * self.wide, -sign * self.wide

    def _rungs(self, frame: int) -> Array:
        return np.asarray(2 * np.pi * np.arange(self.rungs) / self.rungs + self.angles[frame])

    def _at(self, angles: Array, y: float, camera: Camera, share: float = 1.0) -> NDArray[np.int32]:
        """(M, 2) points of the rim, or at a share of its radius, in cv2's fixed point with 4 bits."""
        # angle 0 is the top: x = r sin a ahead, z = r (1 + cos a) above the lowest point
        across, up = self.radius * share * np.sin(angles), self.radius * (1 + share * np.cos(angles))
        points = camera.project(np.stack([across, np.full_like(across, y), up], 1).astype(np.float32))
        return np.asarray(np.rint(np.clip(points[:, :2] - 0.5, -4000, 4000) * 16), np.int32)

    def _ring(self, y: float, camera: Camera) -> NDArray[np.int32]:
        return self._at(np.linspace(0, 2 * np.pi, CORNERS), y, camera)

    def _pixels(self, camera: Camera) -> int:
        away = float(np.linalg.norm(camera.place))
        return max(1, round(self.thick * camera.focal / away))

    def _line(self, image: Array, points: NDArray[np.int32], camera: Camera, colour: Array) -> None:
        cv2.polylines(image, [points], False, colour.tolist(), self._pixels(camera), cv2.LINE_AA, shift=4)


def draw_wheel(rng: Generator, path: Array) -> Wheel:
    """Draw a wheel, turned by a body that would run along `path` (F,)."""
    radius = rng.uniform(0.8, 1.4)
    colour = rng.uniform(0.05, 0.9) * (1 + rng.normal(0, 0.08, 3))
    return Wheel(
        radius,
        rng.uniform(0.2, 0.4),
        rng.uniform(0.015, 0.05),
        # its lowest point moves backwards under the body
        np.asarray(path / radius),
        int(rng.integers(16, 60)),
        np.clip(colour, 0, 1).astype(np.float32),
        np.clip(colour * rng.uniform(0.4, 0.8), 0, 1).astype(np.float32),
        float(rng.uniform(0.2, 0.9) * (rng.random() < 0.5)),
    )
