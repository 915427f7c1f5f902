"""Fur, painted by the place on the body: plain, countershaded, saddled, patched, spotted or striped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from .builds import Array

BROWNS = (
    (0.05, 0.05, 0.05),
    (0.11, 0.09, 0.08),
    (0.22, 0.15, 0.10),
    (0.36, 0.23, 0.13),
    (0.52, 0.34, 0.18),
    (0.66, 0.47, 0.27),
    (0.80, 0.64, 0.43),
    (0.90, 0.82, 0.68),
    (0.95, 0.93, 0.90),
    (0.60, 0.58, 0.56),
    (0.36, 0.35, 0.35),
    (0.50, 0.24, 0.11),
)
"""Colours of fur, from black over browns, fawn and white to greys and red."""
RODENTS = ((0.93, 0.92, 0.90), (0.06, 0.06, 0.06), (0.30, 0.22, 0.15), (0.42, 0.36, 0.28), (0.45, 0.45, 0.46))
"""White, black, brown, agouti and grey."""
SKIN = np.array([0.80, 0.58, 0.53], np.float32)
"""Bare skin: ears, paws and tails of rodents."""
PATTERNS = ("plain", "saddle", "patches", "spots", "stripes")


@dataclass(frozen=True)
class Coat:
    """The looks of an animal; its `places` are those of anatomy.places_of."""

    first: Array
    second: Array
    belly: Array
    pattern: str
    period: float
    """Size of the pattern, in body lengths."""
    share: float
    """Level of the pattern in [-1, 1]: a low one covers more."""
    waves: Array
    """(6, 3) directions of the pattern's waves, and (6,) phases in `phases`."""
    phases: Array
    shaded: float
    """Strength of the lighter belly, 0 to 1."""
    socks: float
    """Where the legs' second colour begins: 0 at the trunk, 1 at the toes; above 1 without."""
    mask: float
    """Reach of the muzzle's colour from the nose, in lengths of the head; 0 without."""
    muzzle: Array
    tip: float
    """Where the tail's second colour begins; above 1 without."""
    fur: float
    """Strength of the hairs' streaks."""
    bare: float
    """Share of skin's colour of ears, paws and tail."""
    skin: Array
    contact: float = 0.0
    gloss: float = 0.0

    def paint(self, places: Array, _material: Array, rest: Array, _uv: Array | None = None) -> tuple[Array, Array]:
        """Return colours (M, 3) and strengths of uneven shading (M,) for places (M, 8) and positions at rest (M, 3)."""
        below, leg, nose, eye, tail, bare = places[:, 0], *places[:, 1:6].T
        # (M, 1) share of the second colour, with a soft border where the pattern is 0
        mix = _soft(self._pattern(rest, places), 6.0)[:, None]
        colour = self.first * (1 - mix) + self.second * mix
        under = (self.shaded * _soft(below - 0.25, 4.0))[:, None]
        colour = colour * (1 - under) + self.belly * under
        for where, tint in (
            (_soft(leg - self.socks, 25.0), self.second),
            (_soft(tail - self.tip, 25.0), self.second),
            (_soft(self.mask - nose, 12.0) * (self.mask > 0), self.muzzle),
            (bare * self.bare, self.skin),
        ):
            colour = colour * (1 - where[:, None]) + tint * where[:, None]
        colour = colour * (1 + self.fur * self._hairs(rest))[:, None]
        colour = np.where((nose < 0.07)[:, None], np.minimum(colour, 0.08 + 0.5 * self.bare * self.skin), colour)
        colour = np.where((eye < 0.06)[:, None], np.array([0.05, 0.04, 0.04]), colour)
        return np.asarray(np.clip(colour, 0, 1), np.float32), np.full(len(places), 0.03 + 0.1 * self.fur, np.float32)

    def _pattern(self, rest: Array, places: Array) -> Array:
        """(M,) above 0 where the second colour is."""
        if self.pattern == "plain":
            return np.full(len(rest), -1.0, np.float32)
        waves = np.sin(2 * np.pi / self.period * (rest @ self.waves.T) + self.phases)  # (M, 6)
        if self.pattern == "saddle":
            return np.asarray(-places[:, 0] - self.share * 0.5 + 0.15 * waves[:, 0], np.float32)
        if self.pattern == "stripes":
            # stripes across y, bent by two waves
            bent = rest[:, 1] / self.period * 2 * np.pi + 0.8 * waves[:, 0] + 0.5 * waves[:, 1]
            return np.asarray(np.sin(2 * bent) - self.share - 0.3, np.float32)
        if self.pattern == "spots":
            return np.asarray(waves[:, :3].sum(1) / 1.7 - 0.6 - self.share, np.float32)
        return np.asarray(waves.sum(1) / 2.4 - self.share, np.float32)

    def _hairs(self, rest: Array) -> Array:
        """(M,) streaks and fine noise, about in [-1, 1]."""
        fine = rest @ (self.waves[:3] * np.array([60, 330, 330], np.float32)).T + self.phases[:3]
        # a hash of the position, which looks like noise and moves with the skin
        grain = np.modf(np.abs(np.sin(rest @ np.array([1271.7, 3117.3, 2741.1], np.float32))) * 437.5)[0]
        # waves of waves along the body: streaks of uneven length
        strand = np.sin(fine[:, 0] + 2 * np.sin(fine[:, 1] * 0.4)) * np.sin(
            fine[:, 2] * 0.3 + 2 * np.sin(fine[:, 0] * 0.2)
        )
        return np.asarray(0.3 * strand + grain - 0.5, np.float32)


def _soft(values: Array, steep: float) -> Array:
    return np.asarray(np.clip(0.5 + steep * values, 0, 1), np.float32)


def draw_coat(rng: Generator, rodent: bool) -> Coat:
    """Draw a coat: a dog's, another quadruped's, or a rodent's."""
    table = np.array(RODENTS if rodent else BROWNS, np.float32)
    rows = rng.choice(len(table), 3, p=(0.3, 0.3, 0.15, 0.15, 0.1) if rodent else None)
    first, second, third = (table[row] * rng.uniform(0.8, 1.2) * (1 + rng.normal(0, 0.04, 3)) for row in rows)
    light = np.clip(first * 0.4 + np.array([0.6, 0.57, 0.52]), 0, 1)
    pattern = str(rng.choice(PATTERNS, p=(0.8, 0.05, 0.15, 0, 0) if rodent else (0.46, 0.16, 0.20, 0.09, 0.09)))
    pale = np.array([0.95, 0.93, 0.9]) * rng.uniform(0.75, 1.05)
    return Coat(
        first=np.clip(first, 0, 1).astype(np.float32),
        second=np.clip(pale if rng.random() < 0.4 else second, 0, 1).astype(np.float32),
        belly=(light if rng.random() < 0.8 else np.clip(third, 0, 1)).astype(np.float32),
        pattern=pattern,
        period=float(rng.uniform(0.05, 0.11) if pattern in ("spots", "stripes") else rng.uniform(0.2, 0.7)),
        share=float(rng.uniform(-0.5, 0.6)),
        waves=(rng.normal(0, 1, (6, 3)) / np.sqrt(3)).astype(np.float32),
        phases=rng.uniform(0, 6.3, 6).astype(np.float32),
        shaded=float(rng.uniform(0, 1) * (rng.random() < 0.5)),
        socks=2.0 if rodent or rng.random() < 0.6 else float(rng.uniform(0.3, 0.9)),
        mask=0.0 if rodent or rng.random() < 0.6 else float(rng.uniform(0.15, 0.9)),
        muzzle=(np.array([0.07, 0.06, 0.06]) if rng.random() < 0.5 else pale).astype(np.float32),
        tip=2.0 if rodent or rng.random() < 0.75 else float(rng.uniform(0.5, 0.9)),
        fur=float(rng.uniform(0.03, 0.3)),
        bare=float(rng.uniform(0.3, 1.0)) if rodent else 0.0,
        skin=np.clip(SKIN * rng.uniform(0.5, 1.15), 0, 1).astype(np.float32),
    )
