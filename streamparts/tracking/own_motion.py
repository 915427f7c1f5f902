"""Own motion in a video, beside the camera's: measured on small grey images, up to five times per second."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import FloatArray
from streamparts.data import Frame
from streamparts.sources.rescale import Rescaler
from streamparts.tracking.boxes import Box, box_of

LONGER_SIDE = 80
"""Size of the grey images, in pixels."""
SPAN_SECONDS = (0.2, 1.0)
"""Least and greatest time between the two images of a measurement."""
PACE = 0.5
"""Update rate of the map."""
STEPS = 2
"""Gauss-Newton steps from the shift to the affine motion of the camera."""
NOISE = 1.0
"""Grey levels that noise changes."""
FLAT = 4.0
"""Squared gradient, in grey levels per pixel, below which a displacement cannot be seen."""
MOST_PIXELS = 3.0
"""Displacements count up to this."""
WINDOW = 5
"""Side of the window over which displacements are averaged, in pixels."""
USUAL_TIMES, USUAL_MORE = 4.0, 0.2
"""A pixel surely moves if its displacement exceeds the median this many times, and by this many pixels more."""
SURE = 0.25
"""Certainty of motion of the pixels of a piece."""
LEAST_SHARE = 0.004
"""Pieces below this share of the image are noise."""


@dataclass(frozen=True, slots=True)
class _Grey:
    seconds: float
    image: FloatArray
    """(h, w) smoothed grey levels."""


class OwnMotion:
    """The memory of one segment of a video."""

    def __init__(self) -> None:
        self._rescaler = Rescaler()
        self._before: _Grey | None = None
        self._due_seconds = -math.inf
        """When the next image is needed."""
        self._displacements: FloatArray | None = None
        self._certainty: FloatArray | None = None
        self._scales = np.ones(4)
        """Small pixels per displayed pixel, for a box."""
        self.largest: Box | None = None
        """Bounding box of the piece that moves most, in displayed pixels; None if nothing surely moves."""

    def update(self, frame: Frame, pause: float = 0.0) -> bool:
        """Take the next frame; True if it gave a new measurement, after which there is a `pause`, in seconds."""
        seconds = frame.pts_seconds
        if seconds < self._due_seconds:
            return False
        before, now = self._before, _Grey(seconds, self._grey(frame))
        self._before, self._due_seconds = now, seconds + SPAN_SECONDS[0]
        if before is None or seconds - before.seconds > SPAN_SECONDS[1]:
            return False
        if pause:
            self._before, self._due_seconds = None, seconds + pause
        height, width = now.image.shape
        self._scales = np.array([width / frame.width, height / frame.height] * 2)
        self._learn(own_displacements(before.image, now.image))
        return True

    def share(self, box: Box, without: Box | None = None) -> float:
        """In [0, 1]: mean certainty of motion in a box of displayed pixels, in which that of another box, `without`,
        does not count; 0 outside the image and before any measurement."""
        if self._certainty is None:
            return 0.0
        certainty = self._certainty
        if without is not None:
            certainty = certainty.copy()
            certainty[self._slices(without)] = 0
        inside = certainty[self._slices(box)]
        return float(inside.mean()) if inside.size else 0.0

    def _learn(self, displacements: FloatArray) -> None:
        before = self._displacements
        if before is not None:
            displacements = before + PACE * (displacements - before)
        self._displacements = displacements
        usual = _median(displacements)
        surely = USUAL_TIMES * usual + USUAL_MORE
        # 0 up to half of what surely moves, 1 from there on
        self._certainty = np.clip(2 * displacements / surely - 1, 0, 1)
        piece = _largest_piece(self._certainty)
        self.largest = None if piece is None else piece / self._scales

    def _slices(self, box: Box) -> tuple[slice, slice]:
        """Rows and columns of the map that a box covers, at least one each."""
        # in small pixels
        left, top, right, bottom = (round(side) for side in (box * self._scales).tolist())
        return slice(max(top, 0), max(bottom, top + 1, 1)), slice(max(left, 0), max(right, left + 1, 1))

    def _grey(self, frame: Frame) -> FloatArray:
        """(h, w) smoothed green, in levels of 0 to 255."""
        import cv2

        scale = LONGER_SIDE / max(frame.height, frame.width)
        size_hw = max(8, round(frame.height * scale)), max(8, round(frame.width * scale))
        green = np.asarray(self._rescaler.rgb(frame, size_hw)[:, :, 1], np.float32)
        return np.asarray(cv2.GaussianBlur(green, (5, 5), 1.0), np.float32)


def _largest_piece(certainty: FloatArray) -> Box | None:
    """Bounding box of the piece with the most motion, in small pixels."""
    import cv2

    sure = (certainty > SURE).astype(np.uint8)
    moves = np.asarray(cv2.morphologyEx(sure, cv2.MORPH_CLOSE, np.ones((WINDOW, WINDOW), np.uint8)), np.uint8)
    number, marks, found, _ = cv2.connectedComponentsWithStats(moves)
    if number == 1:
        return None
    weights = np.bincount(marks.ravel(), certainty.ravel(), minlength=number)[1:]
    piece = int(weights.argmax())
    if weights[piece] < LEAST_SHARE * moves.size:
        return None
    left, top, width, height = found[1 + piece, :4].astype(float)
    return box_of((left, top, width, height))


def own_displacements(first: FloatArray, second: FloatArray) -> FloatArray:
    """(h, w) displacement of the second image's pixels along their gradient since the first, beside the camera's
    motion, in pixels. Both (h, w) grey levels."""
    import cv2

    height, width = second.shape
    gradients = _gradients(second)
    back = _camera(first, second, gradients)
    # nothing is known of what comes into view: it counts as the camera's
    seen = cv2.warpAffine(first, back, (width, height), second.copy(), _BACKWARDS, cv2.BORDER_TRANSPARENT)
    squared = gradients[0] ** 2 + gradients[1] ** 2
    # normal flow |I_t| / |grad I| by least squares over a window: sum |I_t| |g| / sum |g|^2
    window = (WINDOW, WINDOW)
    change = cv2.blur(np.abs(second - seen) * np.sqrt(squared), window)
    flow: FloatArray = np.minimum(change / (cv2.blur(squared, window) + FLAT), MOST_PIXELS)
    return flow


_BACKWARDS = 1 | 16
"""Flags of OpenCV: linear interpolation (INTER_LINEAR), with the inverse map given (WARP_INVERSE_MAP)."""


def _gradients(image: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Along x and y, (h, w) each."""
    import cv2

    return tuple(cv2.Sobel(image, cv2.CV_32F, x, 1 - x, scale=1 / 8) for x in (1, 0))  # type: ignore[return-value]


def _camera(first: FloatArray, second: FloatArray, gradients: tuple[FloatArray, FloatArray]) -> NDArray[np.float64]:
    """(2, 3) affine A with second(x) = first(A x) for most pixels x, as indices: a phase correlation, then Gauss-Newton
    steps in which pixels that do not follow count less."""
    import cv2

    height, width = second.shape
    # copies, because OpenCV multiplies the images by the window in place
    (x, y), _ = cv2.phaseCorrelate(first.copy(), second.copy(), cv2.createHanningWindow((width, height), cv2.CV_32F))
    camera = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]], np.float64)
    step = 2  # every second pixel along x and y suffices for six numbers
    rows, columns = (np.arange(0, side, step, dtype=np.float32) for side in (height, width))
    gx, gy = (each[::step, ::step] for each in gradients)
    # inverse compositional: second((1 + D) x) = first(A x); the rows of J are the gradient times 1, x, y
    x_there, y_there = np.broadcast_to(columns, gx.shape), np.broadcast_to(rows[:, None], gx.shape)
    middle = np.array([width / 2, height / 2])
    x_there, y_there = x_there - np.float32(middle[0]), y_there - np.float32(middle[1])
    # (6, pixels)
    jacobian = np.stack([gx, gx * x_there, gx * y_there, gy, gy * x_there, gy * y_there]).reshape(6, -1)
    for _ in range(STEPS):
        seen = cv2.warpAffine(first, camera[:2], (width, height), flags=_BACKWARDS, borderMode=cv2.BORDER_REPLICATE)
        off = (seen - second)[::step, ::step].ravel()
        scale = 1.5 * _median(np.abs(off)) + NOISE
        # Geman-McClure's weights 1 / (1 + r^2 / s^2)^2
        weighted = jacobian / (1 + (off / scale) ** 2) ** 2
        # J W J^T p = J W r; little is added for images without texture
        # einsum, because a matrix product would wake threads
        normal = np.einsum("ip,jp->ij", weighted, jacobian) + np.diag([1e-3, 10, 10] * 2)
        p = np.linalg.solve(normal, np.einsum("ip,p->i", weighted, off)).astype(np.float64)
        linear = np.array([[p[1], p[2]], [p[4], p[5]]])
        moved = np.eye(3)
        moved[:2, :2] += linear
        moved[:2, 2] = np.array([p[0], p[3]]) - linear @ middle
        # A <- A (1 + D)^-1
        camera = camera @ np.linalg.inv(moved)
    return camera[:2]


def _median(values: FloatArray) -> float:
    """The greater of the two middle ones; ten times as fast as numpy's, which also looks for nan."""
    middle = values.size // 2
    return float(np.partition(values, middle, axis=None)[middle])
