"""Colours of clothes and skin."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from .builds import Array

SKINS = (
    (0.96, 0.80, 0.69),
    (0.91, 0.72, 0.58),
    (0.82, 0.60, 0.44),
    (0.66, 0.46, 0.33),
    (0.47, 0.31, 0.22),
    (0.30, 0.20, 0.15),
)


def any_colour(rng: Generator) -> Array:
    """Draw a colour of clothes: black, white, greys, muted and bright colours."""
    kind = rng.random()
    if kind < 0.22:
        return np.asarray(rng.uniform(0.02, 0.16) * (1 + rng.normal(0, 0.12, 3)), np.float32).clip(0, 1)
    if kind < 0.44:
        return np.asarray(rng.uniform(0.72, 0.98) * (1 + rng.normal(0, 0.025, 3)), np.float32).clip(0, 1)
    if kind < 0.55:
        return np.asarray(rng.uniform(0.2, 0.7) * (1 + rng.normal(0, 0.05, 3)), np.float32).clip(0, 1)
    if kind < 0.67:  # denim and navy
        return np.asarray(np.array([0.2, 0.3, 0.5]) * rng.uniform(0.35, 1.5), np.float32).clip(0, 1)
    hue, saturation, value = rng.random(), rng.uniform(0.25, 0.95), rng.uniform(0.2, 0.95)
    ramp = np.clip(np.abs((hue + np.array([0, 2, 1]) / 3) % 1 * 6 - 3) - 1, 0, 1)
    return np.asarray(value * (1 + saturation * (ramp - 1)), np.float32)


def skin_colour(rng: Generator) -> Array:
    first, second = rng.choice(len(SKINS), 2)
    mix = rng.random() * 0.4
    return np.asarray(
        (np.array(SKINS[first]) * (1 - mix) + np.array(SKINS[second]) * mix) * rng.uniform(0.9, 1.08), np.float32
    )
