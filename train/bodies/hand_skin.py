"""Looks of hands: skin, nails, creases, knuckles, sleeves, gloves and rings, painted by the place on the hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from .builds import Array
from .colours import SKINS, any_colour
from .outfit import Cloth, paint_cloth

SKIN, THING = 0, 3
"""Materials: the hand with its sleeve, and the thing it holds."""


@dataclass(frozen=True)
class HandLooks:
    """The looks of one arm with its hand; places are those of hand_mesh.places_on_hand."""

    skin: Array
    palm: Array
    """Colour of the palm: lighter and redder than the back of the hand, most so of dark skin."""
    nail: Array
    nails: float
    """Where a finger's nail begins: 2.5 in its last bone; above 3 without."""
    crease: float
    """Strength of creases and knuckles."""
    mottled: float
    sleeve: Cloth
    cuff: float
    """Where the sleeve begins along the arm: 0 at the wrist, 1 at the elbow; above 2 without."""
    loose: float
    """Distance of the sleeve from the arm, in lengths of the arm with the hand."""
    glove: Array
    gloved: float
    """Where the glove ends along the arm; below -1 without."""
    ring: Array
    rings: tuple[float, ...]
    """Numbers of the fingers with a ring."""
    band: tuple[float, float]
    """Where a watch or bracelet begins and ends along the arm."""
    thing: Cloth
    phases: Array
    """(6,) parameters of the folds and of uneven skin."""
    contact: float
    """Strength of the shade between near fingers."""
    gloss: float = 0.0

    def looseness(self, places: Array, rest: Array) -> Array:
        """(V,) distance of sleeve and glove from the skin."""
        arm = places[:, 0]
        # (V,) in [-1, 1]: two waves that do not share a period make folds without a pattern
        wave = np.sin(rest @ np.array([31, 17, 43], np.float32) + self.phases[0]) * np.sin(
            rest[:, 2] * 47 + self.phases[1]
        )
        sleeve = (arm > self.cuff) * (0.008 + self.loose * (1 + 0.35 * wave))
        glove = (arm < self.gloved) * 0.003
        band = ((arm > self.band[0]) & (arm < self.band[1])) * 0.006
        return np.asarray(np.maximum(np.maximum(sleeve, glove), band), np.float32)

    def paint(self, places: Array, material: Array, rest: Array, _uv: Array | None = None) -> tuple[Array, Array]:
        """Return colours (M, 3) and strengths of uneven shading (M,) for places (M, 8), materials (M,) and positions at
        rest (M, 3)."""
        arm = places[:, 0]
        colour = self._bare(places, rest)
        uneven = np.full(len(places), 0.03, np.float32)
        for finger in self.rings:
            on = (np.abs(places[:, 1] - finger) < 0.2) & (np.abs(places[:, 2] - 0.55) < 0.09)
            colour[on] = self.ring
        gloved = arm < self.gloved
        colour[gloved] = self.glove * (1 - 0.25 * self._knuckles(places[gloved]))[:, None]
        uneven[gloved] = 0.12
        banded = (arm > self.band[0]) & (arm < self.band[1])
        colour[banded] = self.ring * 0.6
        covered = arm > self.cuff
        colour[covered] = paint_cloth(self.sleeve, rest[covered] * 0.5, places[covered])
        hem = covered & (arm < self.cuff + 0.04)
        colour[hem] *= 0.88
        uneven[covered] = self.sleeve.wrinkles
        held = material > 1.5
        colour[held] = paint_cloth(self.thing, rest[held] * 0.5, places[held])
        uneven[held] = 0.0
        return np.asarray(np.clip(colour, 0, 1), np.float32), uneven

    def _bare(self, places: Array, rest: Array) -> Array:
        # (M,) 1 on the palm's side of the hand, 0 on its back and on the arm
        inner = np.clip(0.5 + 0.9 * places[:, 3], 0, 1) * (places[:, 0] < 0.12)
        colour = self.skin * (1 - inner[:, None]) + self.palm * inner[:, None]
        along, knuckles = places[:, 2], self._knuckles(places)
        # fingertips and the palm's rim are redder, knuckles darker
        red = np.clip(along - 2.1, 0, 1) * 0.8 + 0.35 * inner * np.clip(np.abs(places[:, 5]) - 0.3, 0, 1)
        colour = colour * (1 - red[:, None] * np.array([0.0, 0.13, 0.11], np.float32))
        colour = colour * (1 - self.crease * (knuckles + self._lines(places) * inner))[:, None]
        patches = np.sin(rest @ np.array([29, 41, 23], np.float32) + self.phases[2]) * np.sin(
            rest @ np.array([-37, 19, 31], np.float32) + self.phases[3]
        )
        colour = colour * (1 + self.mottled * patches[:, None] * np.array([0.4, 1, 1], np.float32))
        middle = (along > self.nails) & (along < 2.97) & (np.abs(places[:, 4]) < 0.62) & (places[:, 3] < -0.6)
        tip = middle & (along > 2.9)
        colour[middle] = self.nail
        colour[tip] = 0.4 * self.nail + 0.6 * np.array([0.93, 0.9, 0.86], np.float32)
        return np.asarray(colour, np.float32)

    def _knuckles(self, places: Array) -> Array:
        """(M,) dark lines at the joints of the fingers, in [0, 1]."""
        along = places[:, 2]
        out = np.zeros(len(along), np.float32)
        for joint, reach in ((1.0, 0.07), (2.0, 0.08), (0.42, 0.06)):
            # a Gaussian across each joint; -0.5 keeps the arm out
            out += np.exp(-(((along - joint) / reach) ** 2)) * (along > -0.5)
        return np.minimum(out, 1)

    def _lines(self, places: Array) -> Array:
        """(M,) the palm's three lines and the creases of the wrist, in [0, 1]."""
        across, up = places[:, 5], places[:, 6]
        thin = 0.035
        # (3, M) signed distances from two arcs across the palm and one around the thumb
        bent = 0.06 * np.sin(self.phases[4] + 2 * across)
        curves = (
            up - (0.80 - 0.13 * np.clip(across + 0.3, 0, 2) ** 2 + bent),
            up - (0.62 - 0.16 * (across + 0.6) + bent),
            np.hypot(across + 0.95, (up - 0.25) * 1.2) - 0.72,
        )
        out = sum(np.exp(-((curve / thin) ** 2)) for curve in curves) * (places[:, 1] < 0.5) * (np.abs(across) < 0.9)
        wrist = np.exp(-(((places[:, 0] - 0.01) / 0.012) ** 2)) + 0.7 * np.exp(-(((places[:, 0] - 0.05) / 0.012) ** 2))
        return np.asarray(np.minimum(out * (up > 0.1) + wrist, 1), np.float32)


def draw_looks(rng: Generator) -> HandLooks:
    """Draw an arm's looks: two thirds of the arms are bare at least to the middle, one hand in fourteen is gloved."""
    skin = _skin(rng)
    # palms are lighter than the back, the more the darker the skin
    dark = 1 - float(skin.mean())
    palm = skin + (np.array([0.90, 0.68, 0.58]) - skin) * np.clip(rng.uniform(0.1, 0.35) + 0.35 * dark, 0, 0.7)
    polish = rng.random() < 0.14
    nail = any_colour(rng) if polish else palm * 0.6 + np.array([0.36, 0.27, 0.26]) * (0.6 + 0.5 * float(skin.mean()))
    kind = rng.random()
    cuff = 3.0 if kind < 0.38 else float(rng.uniform(0.35, 1.2) if kind < 0.62 else rng.uniform(-0.12, 0.35))
    metal = np.array([0.83, 0.68, 0.35]) if rng.random() < 0.5 else np.array([0.75, 0.75, 0.77])
    fingers = (1.0, 2.0, 3.0, 4.0, 5.0)
    rings = tuple(
        float(f) for f in rng.choice(fingers, rng.integers(1, 3), replace=False, p=(0.1, 0.2, 0.25, 0.35, 0.1))
    )
    band = float(rng.uniform(0.03, 0.12))
    return HandLooks(
        skin=skin,
        palm=np.asarray(np.clip(palm, 0, 1), np.float32),
        nail=np.asarray(np.clip(nail, 0, 1), np.float32),
        nails=float(rng.uniform(2.35, 2.5)),
        crease=float(rng.uniform(0.03, 0.27)),
        mottled=float(rng.uniform(0, 0.06)),
        sleeve=_cloth(rng),
        cuff=cuff,
        loose=float(rng.uniform(0, 0.012) if rng.random() < 0.6 else rng.uniform(0.01, 0.045)),
        glove=any_colour(rng),
        gloved=float(rng.uniform(0.02, 0.5)) if rng.random() < 0.07 else -2.0,
        ring=np.asarray(metal * rng.uniform(0.6, 1.1), np.float32),
        rings=rings if rng.random() < 0.16 else (),
        band=(band, band + float(rng.uniform(0.02, 0.09))) if rng.random() < 0.12 else (9.0, 9.0),
        thing=_cloth(rng),
        phases=rng.uniform(0, 6.3, 6).astype(np.float32),
        contact=float(rng.uniform(0.4, 1.0)),
    )


def _skin(rng: Generator) -> Array:
    """Draw a skin colour, evenly over the range from pale to dark, from yellowish to pink."""
    # linear between neighbours of the table, which is sorted by lightness
    row = rng.random() * (len(SKINS) - 1)
    low, share = int(row), row % 1
    tone = np.array(SKINS[low]) * (1 - share) + np.array(SKINS[low + 1]) * share
    pink = rng.normal(0.3, 0.6)
    return np.asarray(tone * rng.uniform(0.88, 1.1) * (1 + pink * np.array([0.01, -0.05, -0.02])), np.float32).clip(
        0, 1
    )


def _cloth(rng: Generator) -> Cloth:
    pattern = str(rng.choice(("plain", "stripes", "checks", "dots", "blotches"), p=(0.66, 0.12, 0.08, 0.05, 0.09)))
    return Cloth(
        any_colour(rng),
        any_colour(rng),
        pattern,
        float(rng.uniform(0.02, 0.12)),
        float(rng.uniform(0, np.pi)),
        float(rng.uniform(0.05, 0.3)),
    )
