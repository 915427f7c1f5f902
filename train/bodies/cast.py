"""What a kind of rendered body must bring, and people, who do; animals.py, hands.py and arms.py have the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .camera import Camera, frame_it, look_at
from .figure import BodyFigure, dress, moved
from .mesh import JOINTS, PARTS, Array, Bodies
from .motion import Steps, draw_headings, roam
from .outfit import Outfit, draw_outfit
from .pose import draw_pose
from .scene import Photos, draw_background
from .walking import draw_steps

TURNING, SWAYING = 40.0, 20.0
"""Typical speed in degrees/s with which people in clips turn, and degrees by which they sway."""
TRAVELS = 0.6
"""Share of clips in which people move along the floor."""


class BodyLooks(Protocol):
    """Clothes or fur."""

    @property
    def phases(self) -> Array:
        """(6,) parameters of the folds."""

    @property
    def contact(self) -> float:
        """Strength of the shade between near surfaces, 0 to 1."""

    @property
    def gloss(self) -> float:
        """Strength of highlights."""

    def paint(self, places: Array, material: Array, rest: Array, /) -> tuple[Array, Array]:
        """Return colours (M, 3) and strengths of uneven shading (M,) for places (M, 8), materials (M,) and positions at
        rest (M, 3)."""


class Prop(Protocol):
    """A thing that an individual uses, partly behind and partly before it."""

    def behind(self, image: Array, camera: Camera, frame: int, /) -> None:
        """Paint what the body hides into (S, S, 3)."""

    def before(self, image: Array, camera: Camera, frame: int, /) -> NDArray[np.bool_]:
        """Paint what hides the body into (S, S, 3); return which pixels it covers (S, S)."""


@dataclass(frozen=True)
class Act:
    """An individual that moves."""

    figures: list[BodyFigure]
    """One for each time."""
    looks: BodyLooks
    prop: Prop | None = None
    framed: NDArray[np.bool_] | None = None
    """(V,) vertices that the image shall show; None for all."""

    def shown(self, frame: int) -> Array:
        """(M, 3) places of the vertices that the image shall show."""
        vertices = self.figures[frame].vertices
        return vertices if self.framed is None else vertices[self.framed]


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

    @property
    def blurred(self) -> float:
        """Share of images with motion blur."""

    def draw(self, rng: Generator) -> tuple[BodyFigure, BodyLooks]:
        """Draw an individual in a pose, with the lowest point on the floor."""

    def second(self, rng: Generator, first: BodyFigure, looks: BodyLooks, /) -> tuple[BodyFigure, BodyLooks]:
        """Draw another one, beside the first."""

    def act(self, rng: Generator, seconds: Array) -> Act:
        """Draw an individual that moves smoothly, at times `seconds` (F,) from 0; it may travel along the floor."""

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
    blurred: float = 0.0

    def draw(self, rng: Generator) -> tuple[BodyFigure, BodyLooks]:
        index, outfit = int(rng.integers(len(self.bodies))), draw_outfit(rng)
        return dress(self.bodies, index, draw_pose(rng, self.bodies.joints[index]), outfit, rng), outfit

    def second(self, rng: Generator, first: BodyFigure, _looks: BodyLooks) -> tuple[BodyFigure, BodyLooks]:
        figure, outfit = self.draw(rng)
        return beside(rng, figure, first), outfit

    def act(self, rng: Generator, seconds: Array) -> Act:
        index, outfit = int(rng.integers(len(self.bodies))), draw_outfit(rng)
        steps = draw_steps(rng, self.bodies.joints[index], seconds)
        headings = draw_headings(rng, seconds, TURNING, SWAYING)
        return self.acted(rng, index, outfit, steps, headings, travels=rng.random() < TRAVELS)

    def acted(
        self, rng: Generator, index: int, outfit: Outfit, steps: Steps, headings: Array, travels: bool = True
    ) -> Act:
        """Dress body number `index` in all poses, turned by `headings` (F,) degrees; see motion.roam."""
        folds = int(rng.integers(1 << 30))
        figures = [dress(self.bodies, index, pose, outfit, np.random.default_rng(folds)) for pose in steps.poses]
        return Act(roam(figures, headings, steps, travels), outfit)

    def view(self, rng: Generator, figure: BodyFigure, size: int) -> Camera:
        names = (("torso", "head"), ("head", "torso", "left_upper_arm", "right_upper_arm"))
        close = tuple(tuple(PARTS.index(name) for name in some) for some in names)
        return frame_it(rng, look_at(rng, figure), figure, size, close)

    def background(self, rng: Generator, size: int, horizon: float, photos: Photos) -> Array:
        return draw_background(rng, size, horizon, photos)


def beside(
    rng: Generator, figure: BodyFigure, first: BodyFigure, apart_range: tuple[float, float] = (0.5, 2.5)
) -> BodyFigure:
    """Turn and move a figure to a distance from the first."""
    angle, apart = rng.uniform(0, 2 * np.pi), rng.uniform(*apart_range)
    spin = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(spin), -np.sin(spin), 0], [np.sin(spin), np.cos(spin), 0], [0, 0, 1]], np.float32)
    shift = np.array([apart * np.cos(angle), apart * np.sin(angle), 0], np.float32) + first.vertices.mean(0) * (1, 1, 0)
    return moved(figure, turn, shift)
