"""What a kind of rendered body must bring, and people, who bring it; animals.py has the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from numpy.random import Generator

from .camera import Camera, frame_it, look_at
from .figure import BodyFigure, dress
from .mesh import JOINTS, PARTS, Array, Bodies
from .outfit import draw_outfit
from .pose import draw_pose
from .scene import Photos, draw_background


class BodyLooks(Protocol):
    """Clothes or fur."""

    @property
    def phases(self) -> Array:
        """(6,) parameters of the folds."""

    def paint(self, places: Array, material: Array, rest: Array, /) -> tuple[Array, Array]:
        """Return colours (M, 3) and strengths of uneven shading (M,) for places (M, 8), materials (M,) and positions at
        rest (M, 3)."""


class Cast(Protocol):
    """A kind of body, of which individuals are drawn."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts, in the order of the labels."""

    @property
    def joints(self) -> tuple[str, ...]:
        """Names of the figures' joints."""

    @property
    def together(self) -> float:
        """Share of images with two of them."""

    @property
    def animals(self) -> bool:
        """Whether backgrounds may show animals of simple shapes."""

    def draw(self, rng: Generator) -> tuple[BodyFigure, BodyLooks]:
        """Draw an individual in a pose, with the lowest point on the floor."""

    def view(self, rng: Generator, figure: BodyFigure, size: int) -> Camera:
        """Place a camera and choose its zoom."""

    def background(self, rng: Generator, size: int, horizon: float, photos: Photos) -> Array:
        """(S, S, 3); `horizon` is a share of the height from the top."""


@dataclass(frozen=True)
class People:
    """People with clothes."""

    bodies: Bodies
    parts: tuple[str, ...] = PARTS
    joints: tuple[str, ...] = JOINTS
    together: float = 0.12
    animals: bool = True

    def draw(self, rng: Generator) -> tuple[BodyFigure, BodyLooks]:
        index, outfit = int(rng.integers(len(self.bodies))), draw_outfit(rng)
        return dress(self.bodies, index, draw_pose(rng, self.bodies.joints[index]), outfit, rng), outfit

    def view(self, rng: Generator, figure: BodyFigure, size: int) -> Camera:
        names = (("torso", "head"), ("head", "torso", "left_upper_arm", "right_upper_arm"))
        close = tuple(tuple(PARTS.index(name) for name in some) for some in names)
        return frame_it(rng, look_at(rng, figure), figure, size, close)

    def background(self, rng: Generator, size: int, horizon: float, photos: Photos) -> Array:
        return draw_background(rng, size, horizon, photos)
