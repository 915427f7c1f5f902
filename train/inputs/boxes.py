"""Reads the subject's rectangle in each image from boxes.csv or boxes.json."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from streamparts.texts import read_text

from ..frames.camera import Box
from ..frames.pictures import PictureError

COLUMNS = ["name", "x", "y", "width", "height"]


class Rectangle(NamedTuple):
    """A rectangle in continuous pixels of the image as displayed."""

    x: float
    y: float
    width: float
    height: float

    def within(self, hw: tuple[int, int]) -> Box:
        """Return the rectangle in whole pixels of an image of this size. Raises PictureError if it contains none."""
        left, right = (round(min(max(x, 0), hw[1])) for x in (self.x, self.x + self.width))
        top, bottom = (round(min(max(y, 0), hw[0])) for y in (self.y, self.y + self.height))
        if left >= right or top >= bottom:
            where = ", ".join(f"{value:g}" for value in self)
            raise PictureError(f"its box ({where}) lies outside its {hw[1]}x{hw[0]} pixels")
        return Box(top, bottom, left, right)

    def sticks_out(self, hw: tuple[int, int]) -> bool:
        """True if the rectangle exceeds the image by at least half a pixel, so that `within` crops it."""
        over = (-self.x, -self.y, self.x + self.width - hw[1], self.y + self.height - hw[0])
        return max(over) > 0.5


def with_surroundings(box: Box, hw: tuple[int, int]) -> Box:
    """Enlarge the rectangle by half of its size on each side, within the image."""
    more_y, more_x = (box.bottom - box.top) // 2, (box.right - box.left) // 2
    top, left = max(0, box.top - more_y), max(0, box.left - more_x)
    return Box(top, min(hw[0], box.bottom + more_y), left, min(hw[1], box.right + more_x))


def read_boxes(path: Path) -> dict[str, Rectangle]:
    """Map an image's name, relative to its folder, to its box. Reads CSV with the columns name, x, y, width, height, or
    JSON {"name": [x, y, width, height]}. Raises PictureError naming the invalid entry."""
    try:
        text = read_text(path)
        return _checked(_json_rows(text) if path.suffix.lower() == ".json" else _csv_rows(text))
    except (OSError, ValueError) as error:
        raise PictureError(f"{path}: the boxes cannot be read ({error})") from error


def _csv_rows(text: str) -> Iterable[tuple[str, list[str]]]:
    rows = [row for row in csv.reader(text.splitlines()) if row]
    if not rows or [cell.strip() for cell in rows[0]] != COLUMNS:
        raise ValueError(f"its first line must be {','.join(COLUMNS)}")
    return [(row[0].strip(), row[1:]) for row in rows[1:]]


def _json_rows(text: str) -> Iterable[tuple[str, list[float]]]:
    def pairs(items: list[tuple[str, list[float]]]) -> list[tuple[str, list[float]]]:
        return items

    rows = json.loads(text, object_pairs_hook=pairs)
    if not text.lstrip().startswith("{"):
        raise ValueError('it must be an object: {"name": [x, y, width, height], ...}')
    return list(rows)


def _checked(rows: Iterable[tuple[str, list[str] | list[float]]]) -> dict[str, Rectangle]:
    boxes: dict[str, Rectangle] = {}
    for name, values in rows:
        if name in boxes:
            raise ValueError(f"{name} is listed twice")
        if not isinstance(values, list) or len(values) != 4:
            raise ValueError(f"{name} needs four numbers: x, y, width, height")
        try:
            numbers = [float(value) for value in values]
        except (TypeError, ValueError):
            raise ValueError(f"{name} needs four numbers, but has {values}") from None
        if not np.isfinite(numbers).all() or min(numbers[2:]) <= 0:
            raise ValueError(f"{name} needs a width and a height above 0, but has {values}")
        boxes[name] = Rectangle(*numbers)
    return boxes
