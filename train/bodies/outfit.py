"""Clothes, skin and hair: drawn at random, and painted by the place on the body."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from streamparts.arrays import ByteArray

from .builds import Array
from .colours import any_colour, skin_colour
from .garments import Worn, sampled
from .headwear import Ball, draw_headwear

BODY, SKIRT, HAIR, HAT, GARMENT = 0, 1, 2, 3, 4
HAIRS = (
    (0.07, 0.06, 0.06),
    (0.14, 0.09, 0.06),
    (0.30, 0.19, 0.11),
    (0.60, 0.45, 0.25),
    (0.62, 0.60, 0.58),
    (0.45, 0.17, 0.08),
)
BARE = 0.16
"""Share of people without robes whose chest is bare."""
COVERED = 0.08
"""Share of people whose hair is under a tight cap or a scarf, or dyed."""


@dataclass(frozen=True)
class Cloth:
    """A colour, and a pattern in a second colour."""

    colour: Array
    accent: Array
    pattern: str
    """One of plain, stripes, checks, dots, blotches, or a print on the chest."""
    period: float
    """Size of the pattern in metres."""
    turn: float
    wrinkles: float
    """Strength of uneven shading."""


@dataclass(frozen=True)
class Outfit:
    """A person's looks, except for the body."""

    skin: Array
    hair: Array
    hairline: float
    """Height of the hairline above the eyes, in distances between the eyes; a large value is a bald head."""
    beard: bool
    face: bool
    """True if brows, eyes and lips are painted; faces behind masks or far away have none."""
    top: Cloth
    bottom: Cloth
    shoes: Array
    socks: Array
    hat: Array
    sleeves: float
    """End of the sleeve along the arm: 0 without sleeves, 2 at the wrist, 3 with gloves."""
    trousers: float
    """End of the trouser leg along the leg."""
    waist: float
    """Height of the top's hem on the trunk."""
    neckline: float
    shod: float
    """Start of the shoes along the leg; above 3, the feet are bare."""
    sock: float
    """Start of the socks along the leg."""
    loose_arms: float
    loose_trunk: float
    loose_legs: float
    """Distance of the cloth from the body in metres."""
    skirt: float
    """Length of the skirt along the legs; 0 without a skirt."""
    flare: float
    folds: float
    dress: bool
    """True if the skirt has the cloth of the top."""
    phases: Array
    """(6,) parameters of the wrinkles."""
    on_head: tuple[Ball, ...]
    """Ellipsoids of hair and hats, in units of the head's box."""
    contact: float = 0.0
    gloss: float = 0.0
    bare: bool = False
    """True for a bare chest."""
    skin_map: ByteArray | None = None
    """(h, w, 3) photographed skin, for the body's texture coordinates."""
    worn: tuple[Worn, ...] = ()
    """Garments over what is painted; garment k has the material GARMENT + k."""

    def looseness(self, places: Array, rest: Array) -> Array:
        """(V,) distance of cloth or hair from the skin in metres."""
        arm, leg, height = places[:, 0], places[:, 1], places[:, 2]
        out = np.zeros(len(places), np.float32)
        on_arm = arm > -1
        flared = 0.35 + 0.65 * np.clip(arm / max(self.sleeves, 0.3), 0, 1)
        out += np.where(on_arm & (arm < self.sleeves), 0.004 + self.loose_arms * flared, 0)
        on_leg = leg > -1
        out += np.where(on_leg & (leg < self.trousers), 0.004 + self.loose_legs * (0.6 + 0.2 * np.clip(leg, 0, 2)), 0)
        trunk = ~on_arm & ~on_leg & (height > -0.6) & (height < 0.98)
        out += np.where(trunk, 0.004 + self.loose_trunk * np.clip(1.4 - height, 0.3, 1), 0)
        out += np.where(on_leg & (leg > self.shod), 0.006, 0)
        wave = np.sin(rest @ np.array([31, 17, 23], np.float32) + self.phases[0]) * np.sin(
            rest[:, 2] * 29 + self.phases[1]
        )
        out *= 1 + (0.08 + 0.05 * self.phases[4]) * wave
        hairy = is_hair(places, self.hairline) & (height > 1)
        return np.asarray(out + np.where(hairy, 0.012, 0), np.float32)

    def paint(self, places: Array, material: Array, rest: Array, uv: Array | None = None) -> tuple[Array, Array]:
        """See BodyLooks."""
        arm, leg, height = places[:, 0], places[:, 1], places[:, 2]
        body = material < 0.5
        colour = np.tile(self.skin, (len(places), 1)).astype(np.float32)
        uneven = np.full(len(places), 0.02, np.float32)
        if uv is not None and self.skin_map is not None:
            colour[body] = sampled(self.skin_map, uv[body])
        self._paint_head(colour, places, body & (height > 0.9))
        on_arm, on_leg = arm > -0.99, leg > -0.99
        trunk = ~on_arm & ~on_leg & (height < self._collar(places))
        covered = (on_arm & (arm < self.sleeves)) | (trunk & (height >= self.waist))
        below = (on_leg & (leg < self.trousers)) | (trunk & (height < self.waist))
        skirt = (material > 0.5) & (material < 1.5)
        for cloth, where in (
            (self.bottom, body & below),
            (self.top, body & covered & (not self.bare or self.skin_map is None)),
            (self.top if self.dress else self.bottom, skirt),
        ):
            colour[where] = paint_cloth(cloth, rest[where], places[where])
            uneven[where] = cloth.wrinkles
        foot = body & on_leg & (leg > self.sock)
        colour[foot] = self.socks
        colour[body & on_leg & (leg > self.shod)] = self.shoes
        colour[(material > 1.5) & (material < 2.5)] = self.hair
        colour[(material > 2.5) & (material < 3.5)] = self.hat
        if uv is not None:
            for k, each in enumerate(self.worn):
                mine = np.abs(material - GARMENT - k) < 0.5
                colour[mine] = each.colours(uv[mine])
        return colour, uneven

    def _collar(self, places: Array) -> Array:
        return np.asarray(
            self.neckline - 0.9 * np.clip(-places[:, 7] - 0.02, 0, 0.2) * (self.neckline < 0.97), np.float32
        )

    def _paint_head(self, colour: Array, places: Array, head: NDArray[np.bool_]) -> None:
        across, behind, above = places[:, 3], places[:, 4], places[:, 5]
        if self.face:
            front = head & (behind < 0.6)
            side = np.abs(np.abs(across) - 0.5)
            colour[front & (side < 0.26) & (np.abs(above) < 0.11)] = (0.12, 0.09, 0.08)
            if self.skin_map is None:  # a photographed skin has brows and lips
                colour[front & (side < 0.36) & (np.abs(above - 0.42) < 0.09)] = self.hair * 0.8
                lips = front & (np.abs(across) < 0.42) & (np.abs(above + 1.13) < 0.13)
                colour[lips] = self.skin * np.array([0.85, 0.55, 0.55])
        if self.beard:
            colour[head & (behind < 1.1) & (above < -0.7) & (above > -2.4)] = self.hair
        colour[head & is_hair(places, self.hairline)] = self.hair


def is_hair(places: Array, hairline: float) -> NDArray[np.bool_]:
    """Return (M,) True where hair grows."""
    return np.asarray(places[:, 5] > hairline - 0.95 * np.clip(places[:, 4], 0, 3))


def paint_cloth(cloth: Cloth, rest: Array, places: Array) -> Array:
    """Return the colours (M, 3) of a cloth at positions at rest."""
    cos, sin = np.cos(cloth.turn), np.sin(cloth.turn)
    u = 2 * np.pi * (rest[:, 0] * cos + rest[:, 2] * sin) / cloth.period
    v = 2 * np.pi * (rest[:, 2] * cos - rest[:, 0] * sin + 0.3 * rest[:, 1]) / cloth.period
    if cloth.pattern == "stripes":
        share = np.clip(2 * np.sin(v), -1, 1)
    elif cloth.pattern == "checks":
        share = np.clip(1.5 * (np.sin(u) + np.sin(v)), -1, 1)
    elif cloth.pattern == "dots":
        share = np.clip(3 * (np.sin(2 * u) + np.sin(2 * v)) - 3.2, -1, 1)
    elif cloth.pattern == "blotches":
        share = np.clip(3 * np.sin(u + 2 * np.sin(0.7 * v + 1)) * np.sin(v + 1.7 * np.sin(0.8 * u)), -1, 1)
    elif cloth.pattern == "print":
        near = (np.abs(places[:, 6]) < 0.09) & (np.abs(places[:, 2] - 0.62) < 0.13) & (places[:, 7] < 0)
        share = np.where(near, 1.0, -1.0) * np.where(np.sin(5 * v) > -0.5, 1, 0.4)
    else:
        share = np.full(len(rest), -1.0)
    mix = (0.5 + 0.5 * share)[:, None]
    return np.asarray(cloth.colour * (1 - mix) + cloth.accent * mix, np.float32)


def _cloth(rng: Generator, colour: Array | None = None) -> Cloth:
    patterns = ("plain", "stripes", "checks", "dots", "blotches", "print")
    pattern = str(rng.choice(patterns, p=(0.62, 0.10, 0.06, 0.04, 0.08, 0.10)))
    base = any_colour(rng) if colour is None else colour
    return Cloth(
        base,
        any_colour(rng),
        pattern,
        float(rng.uniform(0.04, 0.3)),
        float(rng.uniform(0, np.pi)),
        float(rng.uniform(0.05, 0.3)),
    )


def _bare_chest(rng: Generator, skin: Array) -> Cloth:
    """Draw skin in the place of a top: even, or with shades of muscles and hair, reddened, or with white markers."""
    kind = rng.random()
    if kind < 0.15:
        return Cloth(
            skin, np.full(3, rng.uniform(0.6, 0.95), np.float32), "dots", float(rng.uniform(0.1, 0.3)), 0, 0.05
        )
    tint = np.array([1.0, rng.uniform(0.75, 1.0), rng.uniform(0.7, 1.0)]) * rng.uniform(0.75, 1.1)
    shades = np.clip(skin * tint, 0, 1).astype(np.float32)
    pattern = "blotches" if kind < 0.6 else "plain"
    return Cloth(skin, shades, pattern, float(rng.uniform(0.15, 0.5)), float(rng.uniform(0, np.pi)), 0.05)


def draw_outfit(rng: Generator) -> Outfit:
    """Draw an outfit, from sportswear to robes; a third of them have one colour or nearly one."""
    top = _cloth(rng)
    robe = rng.random() < 0.24
    suit = rng.random() < (0.65 if robe else 0.2)
    bottom = top if suit else _cloth(rng)
    kind = rng.random()
    skirt = float(rng.uniform(0.35, 2.1)) if kind < 0.14 else 0.0
    trousers = float(rng.choice([rng.uniform(0.25, 0.95), rng.uniform(0.95, 1.5), 2.05], p=[0.2, 0.1, 0.7]))
    sleeves = float(
        rng.choice(
            [-0.5, rng.uniform(0.1, 0.6), rng.uniform(0.6, 1.6), rng.uniform(1.9, 2.1), 3.5],
            p=[0.1, 0.3, 0.14, 0.44, 0.02],
        )
    )
    skin = skin_colour(rng)
    kind = rng.random()
    bare, covered = kind < BARE and not robe, kind < BARE / 3 or kind > 1 - COVERED
    if bare:  # as in a gait laboratory, a pool or a summer garden
        top, skirt = _bare_chest(rng, skin), 0.0
        trousers = float(rng.choice([rng.uniform(0.0, 0.95), rng.uniform(0.95, 1.5), 2.05], p=[0.75, 0.1, 0.15]))
        bottom = bottom if bottom is not top and not suit else _cloth(rng)
    hair = np.asarray(
        np.array(HAIRS[rng.choice(len(HAIRS), p=(0.36, 0.24, 0.16, 0.10, 0.09, 0.05))]) * rng.uniform(0.7, 1.3),
        np.float32,
    )
    if covered:
        hair = any_colour(rng)
    return Outfit(
        skin=skin,
        hair=hair,
        hairline=9.0 if rng.random() < 0.07 else float(rng.uniform(0.8, 1.4)),
        beard=rng.random() < 0.12,
        face=rng.random() < 0.93,
        top=top,
        bottom=bottom,
        shoes=top.colour if rng.random() < 0.1 else any_colour(rng),
        socks=any_colour(rng),
        hat=any_colour(rng),
        sleeves=float(rng.uniform(1.6, 2.15)) if robe else sleeves,
        trousers=0.15 if skirt else (2.1 if robe else trousers),
        waist=float(rng.uniform(-0.45, -0.1) if robe else rng.uniform(-0.35, 0.25)),
        neckline=float(rng.uniform(0.86, 1.08)),
        shod=3.4 if rng.random() < (0.6 if bare else 0.12) else float(rng.uniform(1.95, 2.12)),
        sock=3.4 if bare else float(rng.choice([1.5, 1.85, 3.4], p=[0.15, 0.35, 0.5])),
        bare=bare,
        loose_arms=0.0 if bare else float(rng.uniform(0.012, 0.05) if robe else rng.exponential(0.007)),
        loose_trunk=0.0 if bare else float(rng.exponential(0.012)) + 0.01 * robe,
        loose_legs=float(rng.uniform(0.015, 0.075) if robe or rng.random() < 0.15 else rng.exponential(0.008)),
        skirt=skirt,
        flare=float(rng.uniform(0.0, 0.16)),
        folds=float(rng.uniform(0, 0.12)),
        dress=rng.random() < 0.6,
        phases=rng.uniform(0, 6.3, 6).astype(np.float32),
        on_head=draw_headwear(rng),
    )
