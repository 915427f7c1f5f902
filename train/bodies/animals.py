"""Animals: each is a new individual of one mesh, with a pose, a coat, and the usual view of its kind."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .anatomy import ANATOMIES, Anatomy, is_ear, parts_of, places_of
from .animal_motion import dog_steps, rodent_steps
from .arena import draw_arena, draw_cage
from .builds import Array
from .camera import Camera, frame_it, turned_towards
from .cast import Act, BodyLooks, act_beside, beside
from .coats import Coat, draw_coat
from .figure import BodyFigure
from .gaits import draw_dog_pose, draw_rodent_pose
from .motion import draw_headings, path_of, roam
from .pose import place_joints
from .raster import skin, vertex_normals
from .scene import Photos, draw_background
from .skins import Rig, coarser, find_assets, read_rig
from .wheel import draw_wheel

ON_WHEEL = 0.4
"""Share of clips of rodents from the side that show one in a running wheel."""


@dataclass(frozen=True)
class Animals:
    """One kind of animal, of which individuals are drawn; lengths are in body lengths, from the nose to the tail."""

    anatomy: Anatomy
    rig: Rig
    parts_of_vertices: NDArray[np.uint8]
    places: Array
    """(V, 8), see anatomy.places_of."""
    ears: NDArray[np.bool_]
    """(V,) True in an ear."""
    length: float
    """Body length in the file's units."""
    together: float = 0.1
    """Share of images with two of them."""
    animals: bool = False
    """Backgrounds contain nothing that resembles an animal."""
    blurred: float = 0.08

    @property
    def parts(self) -> tuple[str, ...]:
        return self.anatomy.parts

    @property
    def joints(self) -> tuple[str, ...]:
        """The bones at the ends of the parts."""
        return tuple(dict.fromkeys(name for ends in self.anatomy.axes.values() for name in ends))

    @property
    def rodent(self) -> bool:
        return self.anatomy.species == "rodent"

    def draw(self, rng: Generator) -> tuple[BodyFigure, Coat]:
        """Draw an individual in a pose, standing on the floor, and its coat."""
        rig, rest = self._individual(rng)
        pose = draw_rodent_pose(rng, rig) if self.rodent else draw_dog_pose(rng, rig)
        return self.posed(rig, rest, pose), draw_coat(rng, self.rodent)

    def act(self, rng: Generator, seconds: Array) -> Act:
        """Draw an individual that runs, or looks around on the spot; some of those seen from the side run in a
        wheel."""
        return self._acted(rng, seconds, ON_WHEEL if self.anatomy.view == "side" else 0.0)

    def _acted(self, rng: Generator, seconds: Array, on_wheel: float) -> Act:
        rig, rest = self._individual(rng)
        wheel = on_wheel > 0 and rng.random() < on_wheel
        draw = partial(rodent_steps, runs=1.0 if wheel else 0.6) if self.rodent else dog_steps
        steps = draw(rng, rig, self.joints, seconds)
        figures = [self.posed(rig, rest, pose) for pose in steps.poses]
        coat = draw_coat(rng, self.rodent)
        tailed = not self.rodent or rng.random() < 0.4
        shown = None if tailed else self.parts_of_vertices != self.parts.index("tail")
        if wheel and steps.standing is not None:
            path = path_of(np.stack([figure.joints for figure in figures]), steps.standing, steps.smooth)
            return Act(figures, coat, draw_wheel(rng, path[:, 0]), shown)
        return Act(roam(figures, draw_headings(rng, seconds, 12.0, 8.0), steps), coat, framed=shown)

    def second(self, rng: Generator, first: BodyFigure, _looks: BodyLooks) -> tuple[BodyFigure, BodyLooks]:
        """Draw another one, beside the first."""
        figure, coat = self.draw(rng)
        return beside(rng, figure, first), coat

    def second_act(self, rng: Generator, seconds: Array, first: Act) -> Act:
        """Another one, beside the first; none in a running wheel."""
        return act_beside(rng, self._acted(rng, seconds, 0.0), first)

    def side(self, _figure: BodyFigure) -> str:
        return ""

    def posed(self, rig: Rig, rest: Array, pose: Array) -> BodyFigure:
        """Skin an individual; its lowest point is on the floor."""
        places, turned = place_joints(rig.joints, pose, rig.parents)
        # v -> R (v - J) + p of each bone, blended by the weights
        shift = places - np.einsum("jab,jb->ja", turned, rig.joints)
        vertices = skin(rest, rig.weights, np.concatenate([turned, shift[..., None]], axis=2).astype(np.float32))
        down = np.array([0, 0, vertices[:, 2].min()], np.float32)
        vertices, places = vertices - down, (places - down).astype(np.float32)
        middle = (self.rig.vertices.max(0) + self.rig.vertices.min(0)) / 2
        # the body's left, back and up, as for people, in units that keep the whole body within 0.6
        canonical = ((self.rig.vertices - middle) @ CANONICAL_AXES / np.ptp(self.rig.vertices[:, 0])).astype(np.float32)
        at = {name: places[b] for b, name in enumerate(rig.names)}
        ends = np.array([[at[one], at[other]] for one, other in self.anatomy.axes.values()], np.float32)
        return BodyFigure(
            vertices, vertex_normals(vertices, rig.faces), rig.faces, self.parts_of_vertices, self.places,
            np.zeros((len(vertices), 1), np.float32), canonical,
            np.array([at[name] for name in self.joints], np.float32), ends,
            np.asarray(turned[0] @ np.array([1, 0, 0], np.float32), np.float32),
        )  # fmt: skip

    def _individual(self, rng: Generator) -> tuple[Rig, Array]:
        """Stretch the bones and fatten the body; returns the rig and the vertices (V, 3)."""
        scales = _rodent_scales(rng, self.rig) if self.rodent else _dog_scales(rng, self.rig)
        rest, joints = self.rig.vertices.copy(), self.rig.joints
        rest = self._other_head(rng, rest)
        # (B, 3) joints of the stretched rig, from the trunk outwards
        moved = np.zeros_like(joints)
        for b, parent in enumerate(self.rig.parents):
            moved[b] = joints[b] if parent < 0 else moved[parent] + scales[parent] * (joints[b] - joints[parent])
        # v' = sum_b w_b (J'_b + s_b (v - J_b)), componentwise
        moves = np.zeros((len(joints), 3, 4), np.float32)
        moves[:, [0, 1, 2], [0, 1, 2]] = scales
        moves[:, :, 3] = moved - scales * joints
        stretched = skin(rest, self.rig.weights, moves)
        normals = vertex_normals(stretched, self.rig.faces)
        trunk = self.rig.weights[:, self.rig.bones("torso", "L_", "vertebra", "pelvis", "upper_")].sum(1)
        # (V,) thickness along the normals: of the trunk, and of all
        fat = rng.normal(0.004, 0.013) * trunk + rng.exponential(0.005) * (rng.random() < 0.6)
        tufts = rng.normal(0, 1, len(rest)) * rng.exponential(0.0025) * (rng.random() < 0.5)
        furry = ~self.ears & (self.places[:, 5] < 0.5) if self.rodent else ~self.ears
        shaped = stretched + normals * (np.maximum(fat, -0.015) + tufts * furry)[:, None]
        rig = Rig(self.rig.names, self.rig.parents, moved.astype(np.float32), shaped, self.rig.faces, self.rig.weights)
        return rig, np.asarray(shaped, np.float32)

    def _other_head(self, rng: Generator, rest: Array) -> Array:
        """Change snout and ears: long or short; small, large, hanging or folded back."""
        head = self.rig.weights[:, self.rig.bones("skull", "jaw")].sum(1)
        # (V,) distance ahead of the snout's beginning, which is stretched or shortened
        beyond = np.maximum(rest[:, 0] - self.anatomy.snout, 0) * head
        rest[:, 0] += beyond * (rng.uniform(-0.15, 0.15) if self.rodent else rng.uniform(-0.6, 0.35))
        base = np.array(self.anatomy.ear, np.float32)
        size = rng.uniform(0.9, 1.9) if self.rodent else rng.uniform(0.35, 1.2)
        # hanging ears turn outwards about the body's long axis
        fold = rng.uniform(0.1, 1.2) if self.rodent or rng.random() < 0.4 else rng.uniform(1.7, 2.9)
        fold = 0.0 if not self.rodent and rng.random() < 0.4 else fold
        for sign in (1, -1):
            mine = self.ears & (np.sign(rest[:, 1]) == sign)
            off = (rest[mine] - base * [1, sign, 1]) * size
            cos, sin = np.cos(fold), np.sin(fold) * sign
            # rotation about x; the right ear's has the opposite sign
            off = np.stack([off[:, 0], cos * off[:, 1] + sin * off[:, 2], cos * off[:, 2] - sin * off[:, 1]], 1)
            rest[mine] = base * [1, sign, 1] + off
        return rest

    def view(self, rng: Generator, figure: BodyFigure, size: int) -> Camera:
        """Place the camera and frame the animal."""
        if self.rodent:
            camera = _above(rng, figure) if self.anatomy.view == "above" else _beside(rng, figure)
            close: tuple[tuple[str, ...], ...] = (("snout", "head", "torso_front"), ("torso_front", "torso_rear"))
        else:
            camera = _around(rng, figure)
            close = (("head", "neck"), ("head", "neck", "torso"))
        rows = tuple(tuple(self.parts.index(name) for name in names) for names in close)
        return frame_it(rng, camera, figure, size, rows)

    def background(self, rng: Generator, size: int, horizon: float, photos: Photos) -> Array:
        """Draw the background: floors for views from above, else rooms, outdoors and photos, without other animals."""
        if self.rodent and rng.random() < 0.85:
            return draw_arena(rng, size) if self.anatomy.view == "above" else draw_cage(rng, size, horizon)
        return draw_background(rng, size, horizon, photos, animals=False)


CANONICAL_AXES = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float32)
"""Turns (ahead, left, up) rows into (left, back, up)."""


def _around(rng: Generator, figure: BodyFigure) -> Camera:
    """From any side, more often across the body, level with it or slightly above."""
    ahead = np.degrees(np.arctan2(figure.facing[1], figure.facing[0]))
    side = rng.choice([-90, 90]) + rng.normal(0, 25)
    angle = np.radians(ahead + (side if rng.random() < 0.45 else rng.uniform(-180, 180)))
    lift = np.radians(np.clip(rng.normal(9, 9) if rng.random() < 0.85 else rng.uniform(10, 65), -12, 70))
    return _looking(rng, figure, float(angle), float(lift), rng.normal(0, 4))


def _beside(rng: Generator, figure: BodyFigure) -> Camera:
    """Across the body, level with it."""
    ahead = np.degrees(np.arctan2(figure.facing[1], figure.facing[0]))
    angle = np.radians(ahead + rng.choice([-90, 90]) + rng.normal(0, 16))
    return _looking(rng, figure, float(angle), float(np.radians(np.clip(rng.normal(5, 6), -5, 30))), rng.normal(0, 2))


def _above(rng: Generator, figure: BodyFigure) -> Camera:
    tilt = abs(rng.normal(0, 9)) if rng.random() < 0.85 else rng.uniform(10, 40)
    return _looking(
        rng, figure, rng.uniform(0, 2 * np.pi), float(np.radians(90 - min(tilt, 45))), rng.uniform(-180, 180)
    )


def _looking(rng: Generator, figure: BodyFigure, angle: float, lift: float, roll: float) -> Camera:
    # spherical coordinates around the animal
    outwards = np.array([np.cos(angle) * np.cos(lift), np.sin(angle) * np.cos(lift), np.sin(lift)], np.float32)
    away = float(rng.choice([rng.uniform(1.3, 2.5), rng.uniform(2.5, 9)], p=[0.2, 0.8]))
    middle = np.asarray(figure.vertices.mean(0), np.float32)
    return Camera(turned_towards(-outwards, roll), middle + outwards * max(1.2, away))


def _dog_scales(rng: Generator, rig: Rig) -> Array:
    """(B, 3) factors of the bones: legs, neck, head, trunk and tail, from dachshund and cat to goat and horse."""
    out = np.ones((len(rig.names), 3), np.float32)
    long = rng.uniform(0.5, 0.8) if rng.random() < 0.25 else rng.uniform(0.8, 1.2)
    thick = rng.uniform(0.85, 1.6)
    limbs = rig.bones("upper_arm", "lower_arm", "hand", "finger", "upper_leg", "lower_leg", "foot", "toe")
    out[limbs] = (thick, thick, long)
    out[rig.bones("upper_leg")] *= (1.0, 1.0, rng.uniform(0.92, 1.08))
    out[rig.bones("lower_leg")] *= (rng.uniform(0.6, 1.0), 1.0, 1.0)
    out[rig.bones("finger", "toe")] = thick * 0.95
    out[rig.bones("torso", "L_", "pelvis")] = (rng.uniform(0.82, 1.15), rng.uniform(0.9, 1.45), rng.uniform(0.85, 1.15))
    neck = rng.uniform(0.7, 1.15) if rng.random() < 0.7 else rng.uniform(1.15, 1.9)
    out[rig.bones("C_")] = (neck * 0.95, rng.uniform(0.9, 1.5), neck)
    out[rig.bones("skull", "jaw", "nose", "brow", "ear")] = rng.uniform(0.75, 1.25)
    tail, bushy = rng.uniform(0.15, 1.15), rng.uniform(1, 3.5)
    out[rig.bones("Ca_")] = (tail, bushy, max(tail, 0.5) * 0.5 + bushy * 0.35)
    return out


def _rodent_scales(rng: Generator, rig: Rig) -> Array:
    out = np.ones((len(rig.names), 3), np.float32)
    out[rig.bones("torso", "vertebra_", "pelvis")] = (
        rng.uniform(0.8, 1.1),
        rng.uniform(0.9, 1.3),
        rng.uniform(0.85, 1.1),
    )
    out[rig.bones("vertebra_C")] = (rng.uniform(0.6, 1.2), *(rng.uniform(0.8, 1.4),) * 2)
    out[rig.bones("skull", "jaw", "nose", "brow", "ear")] = rng.uniform(0.9, 1.2)
    return out


def load_animals(name: str) -> Animals:
    """Read one of ANATOMIES. Raises MissingExtraError without dm_control's files."""
    anatomy, assets = ANATOMIES[name], find_assets()
    return make_animals(anatomy, read_rig(*(assets / file for file in anatomy.files)))


def make_animals(anatomy: Anatomy, rig: Rig) -> Animals:
    """Prepare a rig in the file's units: landmarks, fewer vertices, parts; then scale it to a body length of 1."""
    coarse = coarser(rig, anatomy.cell).with_points(anatomy.points)
    parts = parts_of(anatomy, coarse)
    places = places_of(anatomy, coarse, parts, vertex_normals(coarse.vertices, coarse.faces))
    ears = is_ear(anatomy, coarse.vertices) & (coarse.weights[:, coarse.bones("skull")].sum(1) > 0.5)
    length = anatomy.nose[0] - float(coarse.joints[coarse.names.index(f"{anatomy.tail}1"), 0])
    scaled = Rig(
        coarse.names, coarse.parents, (coarse.joints / length).astype(np.float32),
        (coarse.vertices / length).astype(np.float32), coarse.faces, coarse.weights,
    )  # fmt: skip
    return Animals(anatomy.scaled(length), scaled, parts, places, ears, length)
