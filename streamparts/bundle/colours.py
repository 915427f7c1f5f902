"""The colour of each part, the same in every image that shows parts."""

from __future__ import annotations

Color = tuple[int, int, int]
"""RGB, 0 to 255."""

PALETTE: tuple[Color, ...] = (
    (0, 158, 225),
    (245, 130, 20),
    (20, 170, 110),
    (225, 70, 150),
    (250, 215, 40),
    (120, 95, 220),
    (225, 50, 40),
    (90, 220, 225),
    (150, 105, 60),
    (165, 215, 80),
    (200, 160, 255),
    (255, 170, 160),
)
"""RGB by part number. Neighbours differ in lightness as well as in hue, for colour-blind readers."""


def part_color(part: int) -> Color:
    """RGB of part `part`; colours repeat after the palette's length."""
    return PALETTE[part % len(PALETTE)]
