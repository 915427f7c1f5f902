"""Large frames with small reddish squares that move, for a model whose subject they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import cv2
import msgspec
import numpy as np

from streamparts.arrays import ByteArray
from streamparts.backends.loading import load_model
from streamparts.bundle.load import Bundle
from streamparts.bundle.spec import SubjectSpec
from streamparts.data import Frame
from tests.media import ArraySource
from tests.tiny_model import tiny_spec, write_tiny_model

SUBJECT = SubjectSpec(slope=(4.0, 2.0), offset=3.0, source="drawn")
"""Score 0.5 if the parts cover 1.8 % of the network's input."""
RED, PINK = (220, 30, 30), (230, 90, 90)


@dataclass(frozen=True)
class Square:
    """Where a square is in frame n."""

    center: Callable[[int], tuple[float, float]]
    side: float = 24
    colour: tuple[int, int, int] = RED


def square_bundle(folder: Path, input_hw: tuple[int, int] = (48, 48)) -> Bundle:
    """The tiny model, with a description of its subject."""
    spec = msgspec.structs.replace(tiny_spec(input_hw), subject=SUBJECT)
    return load_model(write_tiny_model(folder / "square.onnx", input_hw, spec))


def background(seed: int, height: int = 360, width: int = 480) -> ByteArray:
    """Grey patches: neither reddish nor greenish."""
    patches = np.random.default_rng(seed).integers(40, 220, (9, 12)).astype(np.uint8)
    grey = cv2.resize(patches, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.repeat(grey[:, :, None], 3, axis=2)


def scene(number: int, squares: Sequence[Square], behind: ByteArray) -> ByteArray:
    """Frame `number`; the later squares are in front."""
    picture = behind.copy()
    for square in squares:
        x, y = square.center(number)
        corners = np.round(np.array([x, y, x, y]) + square.side / 2 * np.array([-1, -1, 1, 1])).astype(int)
        left, top, right, bottom = np.maximum(corners, 0).tolist()
        picture[top:bottom, left:right] = square.colour
    return picture


class SceneSource(ArraySource):
    """Pictures as a source. `begins` are the numbers at which a new segment begins, `damaged` those of damaged ones."""

    def __init__(
        self, pictures: Sequence[ByteArray], begins: Sequence[int] = (), rate: int = 30, damaged: Sequence[int] = ()
    ) -> None:
        super().__init__(len(pictures), *pictures[0].shape[:2])
        self.rate, self.time_base = Fraction(rate), Fraction(1, rate)
        self._pictures, self._begins, self._damaged = pictures, begins, damaged

    def __iter__(self) -> Iterator[Frame]:
        for index, picture in enumerate(self._pictures):
            height, width = picture.shape[:2]
            frame = Frame(index, index, self.time_base, picture, 0, height, width, time.perf_counter())
            segment = sum(index >= begin for begin in self._begins)
            yield replace(frame, segment=segment, damaged=index in self._damaged)


def along(start: tuple[float, float], step: tuple[float, float]) -> Callable[[int], tuple[float, float]]:
    return lambda number: (start[0] + step[0] * number, start[1] + step[1] * number)
