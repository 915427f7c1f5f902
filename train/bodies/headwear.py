"""Hair and hats that stand off the head."""

from __future__ import annotations

from numpy.random import Generator

Ball = tuple[tuple[float, float, float], tuple[float, float, float], str]
"""Centre and radii of an ellipsoid in units of the head's box, and its material: "hair" or "hat"."""


def draw_headwear(rng: Generator) -> tuple[Ball, ...]:
    """Place hair or a hat in units of the head's box: x to the left, y to the back, z up."""
    kind = rng.random()
    if kind < 0.22:  # long hair down the neck
        down = rng.uniform(0.15, 0.9)
        return (((0.5, 0.72, 0.45 - down / 2), (rng.uniform(0.4, 0.55), 0.3, 0.5 + down / 2), "hair"),)
    if kind < 0.34:  # full hair
        return (
            ((0.5, 0.66, 0.66), (rng.uniform(0.48, 0.62), rng.uniform(0.42, 0.55), rng.uniform(0.4, 0.55)), "hair"),
        )
    if kind < 0.42:  # bun
        return (((0.5, rng.uniform(0.7, 1.05), rng.uniform(0.7, 1.05)), (0.2, 0.17, 0.15), "hair"),)
    if kind < 0.48:  # pony tail
        return (((0.5, 1.05, 0.45), (0.14, 0.14, rng.uniform(0.3, 0.6)), "hair"),)
    if kind < 0.58:  # cap, with a peak now and then
        cap: tuple[Ball, ...] = (((0.5, 0.54, 0.82), (0.5, 0.5, 0.3), "hat"),)
        return cap + ((((0.5, -0.02, 0.76), (0.36, 0.32, 0.03), "hat"),) if rng.random() < 0.6 else ())
    if kind < 0.62:  # brimmed hat
        return (((0.5, 0.54, 0.9), (0.45, 0.45, 0.32), "hat"), ((0.5, 0.5, 0.76), (0.95, 0.85, 0.04), "hat"))
    return ()
