"""The interface of a kind of rendered body, and people; animals.py, hands.py and arms.py have the other kinds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .builds import Array
from .camera import Camera, frame_it, look_at
from .figure import BodyFigure, dress, moved
from .mesh import JOINTS, PARTS, Bodies
from .motion import Steps, draw_headings, roam
from .outfit import Outfit, draw_outfit
from .pose import draw_pose
from .scene import Photos, draw_background
from .walking import draw_steps
from .wardrobe import Wardrobe

TURNING, SWAYING = 40.0, 20.0
"""Typical speed in degrees/s with which people in clips turn, and degrees by which they sway."""
TRAVELS = 0.6
"""Share of clips in which people move along the floor."""
TRIES = 6
"""Draws of where somebody moves beside another one."""


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

    def paint(self, places: Array, material: Array, rest: Array, uv: Array | None, /) -> tuple[Array, Array]:
        """Return colours (M, 3) and strengths of uneven shading (M,) for places (M, 8), materials (M,), positions at
        rest (M, 3) and texture coordinates (M, 2), for figures that have them."""


class Prop(Protocol):
    """A thing that an individual uses, partly behind it and partly in front of it."""

    def behind(self, image: Array, camera: Camera, frame: int, /) -> None:
        """Paint its part behind the body into (S, S, 3)."""

    def before(self, image: Array, camera: Camera, frame: int, /) -> NDArray[np.bool_]:
        """Paint its part in front of the body into (S, S, 3); return which pixels it covers (S, S)."""


@dataclass(frozen=True)
class Act:
    """An individual that moves."""

    figures: list[BodyFigure]
    """One for each time."""
    looks: BodyLooks
    prop: Prop | None = None
    framed: NDArray[np.bool_] | None = None
    """(V,) vertices that the image must show; None for all."""

    def shown(self, frame: int) -> Array:
        """(M, 3) places of the vertices that the image must show."""
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

    def second_act(self, rng: Generator, seconds: Array, first: Act, /) -> Act:
        """Draw another one that moves, beside the first."""

    def side(self, figure: BodyFigure, /) -> str:
        """Return `left` or `right` for a body that is one of a pair, else an empty string."""

    def view(self, rng: Generator, figure: BodyFigure, size: int) -> Camera:
        """Place a camera and choose its zoom."""

    def background(self, rng: Generator, size: int, horizon: float, photos: Photos) -> Array:
        """(S, S, 3); `horizon` is a share of the height from the top."""


@dataclass(frozen=True)
class People:
    """People with clothes."""

    bodies: Bodies
    wardrobe: Wardrobe | None = None
    parts: tuple[str, ...] = PARTS
    joints: tuple[str, ...] = JOINTS
    together: float = 0.12
    animals: bool = True
    blurred: float = 0.08

    def draw(self, rng: Generator) -> tuple[BodyFigure, BodyLooks]:
        index, outfit = self._dressed(rng)
        base = self.wardrobe.base if self.wardrobe else None
        return dress(self.bodies, index, draw_pose(rng, self.bodies.joints[index]), outfit, rng, base), outfit

    def _dressed(self, rng: Generator) -> tuple[int, Outfit]:
        """Draw somebody's build and clothes."""
        index, outfit = int(rng.integers(len(self.bodies))), draw_outfit(rng)
        # of its own, so that a wardrobe changes no other choice
        return index, self.wardrobe.dressed(rng.spawn(1)[0], outfit) if self.wardrobe else outfit

    def second(self, rng: Generator, first: BodyFigure, _looks: BodyLooks) -> tuple[BodyFigure, BodyLooks]:
        figure, outfit = self.draw(rng)
        return beside(rng, figure, first), outfit

    def act(self, rng: Generator, seconds: Array) -> Act:
        index, outfit = self._dressed(rng)
        steps = draw_steps(rng, self.bodies.joints[index], seconds)
        headings = draw_headings(rng, seconds, TURNING, SWAYING)
        return self.acted(rng, index, outfit, steps, headings, travels=rng.random() < TRAVELS)

    def second_act(self, rng: Generator, seconds: Array, first: Act) -> Act:
        return act_beside(rng, self.act(rng, seconds), first)

    def side(self, _figure: BodyFigure) -> str:
        return ""

    def acted(
        self, rng: Generator, index: int, outfit: Outfit, steps: Steps, headings: Array, travels: bool = True
    ) -> Act:
        """Dress body number `index` in all poses, turned by `headings` (F,) degrees; see motion.roam."""
        folds = int(rng.integers(1 << 30))
        base = self.wardrobe.base if self.wardrobe else None
        figures = [dress(self.bodies, index, pose, outfit, np.random.default_rng(folds), base) for pose in steps.poses]
        return Act(roam(figures, headings, steps, travels), outfit)

    def view(self, rng: Generator, figure: BodyFigure, size: int) -> Camera:
        names = (("torso", "head"), ("head", "torso", "left_upper_arm", "right_upper_arm"))
        close = tuple(tuple(PARTS.index(name) for name in some) for some in names)
        return frame_it(rng, look_at(rng, figure), figure, size, close)

    def background(self, rng: Generator, size: int, horizon: float, photos: Photos) -> Array:
        return draw_background(rng, size, horizon, photos)


APART = (0.5, 2.5)
"""Range of the distance between two bodies."""


def beside(
    rng: Generator, figure: BodyFigure, first: BodyFigure, apart_range: tuple[float, float] = APART
) -> BodyFigure:
    """Turn and move a figure to a distance from the first."""
    turn, shift = _placed(rng, apart_range)
    return moved(figure, turn, shift + first.vertices.mean(0) * (1, 1, 0))


def act_beside(rng: Generator, act: Act, first: Act, apart_range: tuple[float, float] = APART) -> Act:
    """Turn and move somebody to a distance from the first in the middle of a clip; of a few draws, the one in which
    they come least near to each other."""
    own, other = (np.stack([act.figures[i].joints.mean(0) for i in range(len(act.figures))]) for act in (act, first))
    middle = len(own) // 2
    best: tuple[float, Array, Array] | None = None
    for _ in range(TRIES):
        turn, shift = _placed(rng, apart_range)
        shift = shift + (other[middle] - turn @ own[middle]) * (1, 1, 0)
        near = float(np.linalg.norm((own @ turn.T + shift - other)[:, :2], axis=1).min())
        if best is None or near > best[0]:
            best = (near, turn, np.asarray(shift, np.float32))
    assert best is not None
    return replace(act, figures=[moved(figure, *best[1:]) for figure in act.figures])


def _placed(rng: Generator, apart_range: tuple[float, float]) -> tuple[Array, Array]:
    """Draw a (3, 3) turn about the vertical and a (3,) shift along the floor."""
    angle, apart = rng.uniform(0, 2 * np.pi), rng.uniform(*apart_range)
    spin = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(spin), -np.sin(spin), 0], [np.sin(spin), np.cos(spin), 0], [0, 0, 1]], np.float32)
    return turn, np.array([apart * np.cos(angle), apart * np.sin(angle), 0], np.float32)
