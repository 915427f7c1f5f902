"""A simulated robot arm and its camera: a puppet whose left elbow turns at the commanded speed."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import numpy as np

from streamparts.data import Frame
from tests.media import ArraySource
from train.drawing.puppet_figures import HUMAN
from train.drawing.puppet_motion import kinematics
from train.drawing.puppet_paint import Canvas, backgrounds, colours, paint

SIDE = 256


class PuppetRobot(ArraySource):
    """A Source; each image is rendered on request, from the elbow's angle at that time."""

    name = "robot"

    def __init__(self, num_frames: int, elbow_degrees: float, seed: int = 0) -> None:
        super().__init__(num_frames, SIDE, SIDE)
        rng = np.random.default_rng(seed)
        self.elbow_degrees = elbow_degrees
        self.speed = 0.0
        """Commanded speed in degrees per second."""
        self.commands: list[float] = []
        self._bones = HUMAN.bones
        painted = zip(self._bones, colours(self._bones, rng), strict=True)
        self._patches = [paint(bone, colour, 1.15 * SIDE / 64, rng) for bone, colour in painted]
        self._background = next(iter(backgrounds(rng, np.zeros(1), (SIDE, SIDE), False)))
        self._root = np.array([[SIDE / 64, 0, SIDE / 2], [0, SIDE / 64, SIDE / 2], [0, 0, 1]])

    def send(self, degrees_per_second: float) -> None:
        self.commands.append(degrees_per_second)
        self.speed = degrees_per_second

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.num_frames):
            self.elbow_degrees += self.speed / 30
            image = self.picture()
            yield Frame(index, index, self.time_base, image, 0, SIDE, SIDE, time.perf_counter())

    def picture(self) -> np.ndarray:
        """(SIDE, SIDE, 3) RGB: arms away from the body, the left forearm at `elbow_degrees` from the upper arm."""
        motion = np.array([[self._motion(bone.name, *bone.swing) for bone in self._bones]])
        poses = kinematics(self._bones, motion, self._root[None])[0]
        canvas = Canvas(self._background)
        for k, (patch, pose) in enumerate(zip(self._patches, poses, strict=True)):
            canvas.add(patch, pose, k + 1)
        return (canvas.rgb + 0.5).astype(np.uint8)

    def _motion(self, name: str, low: float, high: float) -> float:
        if name == "left_forearm":
            return self.elbow_degrees
        return -70.0 if name == "left_upper_arm" else 70.0 if name == "right_upper_arm" else (low + high) / 2


def turned(degrees: float) -> float:
    """Into [-180, 180)."""
    return math.remainder(degrees, 360)
