"""Paint of robot arms: the maker's colours or others, bands, parts of another colour, letters, dirt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .builds import Array
from .colours import any_colour

CABLE, STAND = 1, 2
"""Materials: 0 is the arm itself."""
MAKERS = (
    (0.95, 0.95, 0.95),
    (0.82, 0.83, 0.84),
    (0.62, 0.64, 0.66),
    (0.30, 0.31, 0.33),
    (0.07, 0.07, 0.08),
    (0.95, 0.42, 0.06),
    (0.96, 0.74, 0.06),
    (0.75, 0.07, 0.07),
    (0.10, 0.35, 0.65),
    (0.16, 0.45, 0.30),
)
"""Usual colours of arms: white, greys, black, orange, yellow, red, blue, green."""
SHARES = (0.24, 0.12, 0.10, 0.08, 0.10, 0.13, 0.10, 0.05, 0.05, 0.03)


@dataclass(frozen=True)
class ArmLooks:
    """The looks of one arm; places are those of arm_kinds.places_on_arm."""

    table: Array
    """(3, 3) colours of the surfaces that are light, dark or bright in the maker's file."""
    parts: Array
    """(6, 3) factors of each part's colour; 1 for most."""
    second: Array
    seconds: tuple[int, ...]
    """Parts that have the second colour."""
    bands: tuple[tuple[int, float, float], ...]
    """Part, start and end along it, of bands in the dark colour."""
    letters: tuple[int, float, float]
    """Part with letters, their position along it, and their side in radians; part -1 for none."""
    stand: Array
    cable: Array
    worn: float
    """Strength of dirt and scratches."""
    gloss: float
    phases: Array
    contact: float

    def paint(self, places: Array, material: Array, _rest: Array, _uv: Array | None = None) -> tuple[Array, Array]:
        """Return colours (M, 3) and strengths of uneven shading (M,), 0, for places (M, 8) and materials (M,)."""
        part = np.clip(np.round(places[:, 0]), 0, 5).astype(np.intp)
        colour = self.table[np.clip(np.round(places[:, 3]), 0, 2).astype(np.intp)]
        light = places[:, 3] < 0.5
        colour[light & np.isin(part, self.seconds)] = self.second
        for number, low, high in self.bands:
            colour[light & (part == number) & (places[:, 1] > low) & (places[:, 1] < high)] = self.table[1]
        colour = colour * self.parts[part]
        self._write(colour, part, places)
        # (M,) waves of waves: blotches without direction or period
        dirt = np.sin(places[:, 4:7] @ np.array([140, 90, 60], np.float32) + self.phases[0])
        dirt = dirt + np.sin(places[:, 4:7] @ np.array([-50, 170, 110], np.float32) + 2 * dirt + self.phases[1])
        colour = colour * (1 - self.worn * np.clip(dirt, 0, 2))[:, None]
        colour[(material > 0.5) & (material < 1.5)] = self.cable
        colour[material > 1.5] = self.stand
        return np.asarray(np.clip(colour, 0, 1), np.float32), np.zeros(len(places), np.float32)

    def _write(self, colour: Array, part: NDArray[np.intp], places: Array) -> None:
        """Letters: short bars of the dark or light colour in a rectangle on one side of a part."""
        number, at, side = self.letters
        if number < 0:
            return
        x, y, z = places[:, 4:7].T
        # within 53 degrees of that side of the link
        facing = (x * np.cos(side) + y * np.sin(side)) > 0.6 * np.hypot(x, y)
        row = (places[:, 1] - at) / 0.3
        bars = np.sin(places[:, 1] * 90 + self.phases[2]) + np.sin(places[:, 1] * 143 + self.phases[3]) > 0.1
        across = np.abs(x * np.sin(side) - y * np.cos(side)) < 0.02
        on = (part == number) & facing & (np.abs(row) < 0.5) & bars & across & (np.abs(z) < 1)
        ink = self.table[1] if float(self.table[0].mean()) > 0.4 else np.array([0.9, 0.9, 0.9], np.float32)
        colour[on] = ink


def draw_arm_looks(rng: Generator, table: Array) -> ArmLooks:
    """Draw an arm's looks; `table` (3, 3) are the maker's light, dark and bright colours."""
    own = rng.random() < 0.4
    first, other = (np.array(MAKERS[rng.choice(len(MAKERS), p=SHARES)]) for _ in range(2))
    dark = np.full(3, rng.uniform(0.03, 0.35)) if rng.random() < 0.8 else any_colour(rng)
    colours = table if own else np.stack([first, dark, other])
    colours = colours * rng.uniform(0.85, 1.1) * (1 + rng.normal(0, 0.03, (3, 3)))
    some = tuple(k for k in range(6) if rng.random() < 0.35) if rng.random() < 0.4 else ()
    bands = []
    for _ in range(int(rng.integers(0, 5)) if rng.random() < 0.6 else 0):
        low = float(rng.choice([rng.uniform(-0.15, 0.1), rng.uniform(0.1, 1.0)]))
        bands.append((int(rng.integers(6)), low, low + float(rng.uniform(0.02, 0.2))))
    # grippers are often darker than the arm
    gripper = 0.15 + 0.5 * rng.random() if rng.random() < 0.5 else 1.0
    return ArmLooks(
        table=np.clip(colours, 0, 1).astype(np.float32),
        parts=np.array([rng.uniform(0.3, 1) if rng.random() < 0.2 else 1, 1, 1, 1, 1, gripper], np.float32)[:, None]
        * np.ones(3, np.float32),
        second=np.asarray(other if rng.random() < 0.6 else any_colour(rng), np.float32),
        seconds=some,
        bands=tuple(bands),
        letters=(
            int(rng.integers(1, 5)) if rng.random() < 0.4 else -1,
            float(rng.uniform(0.2, 0.8)),
            rng.uniform(0, 6.3),
        ),
        stand=any_colour(rng),
        cable=np.full(3, rng.uniform(0.02, 0.2), np.float32) if rng.random() < 0.8 else any_colour(rng),
        worn=float(rng.exponential(0.04)),
        gloss=float(rng.uniform(0.05, 0.6)),
        phases=rng.uniform(0, 6.3, 6).astype(np.float32),
        contact=float(rng.uniform(0.3, 0.9)),
    )
