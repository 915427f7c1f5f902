"""Measures what the runtime's OpenCV calls would cost without OpenCV: python -m benchmarks.opencv [--rounds 15]

Each row does one step of a run at 1280 x 720 with ten parts, with OpenCV and with another library, in turns; the ratio
is the median of the turns' ratios, of processor time. Libraries that are missing here (aggdraw, contourpy, scipy,
Pillow) are left out.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import time
from collections.abc import Callable
from fractions import Fraction
from types import ModuleType
from typing import Any

import av
import cv2
import numpy as np
from av import VideoFrame
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import Interpolation, VideoReformatter

from benchmarks.markdown import table
from benchmarks.place import commit, machine

HEIGHT, WIDTH, SIDE, NUM_PARTS = 720, 1280, 128, 10
Work = Callable[[], object]


def _module(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _picture() -> Any:
    smooth = np.random.default_rng(0).integers(0, 256, (9, 16, 3), np.uint8)
    return cv2.resize(smooth, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def _labels() -> Any:
    """(SIDE, SIDE) ten discs, as a network labels them."""
    y, x = np.mgrid[:SIDE, :SIDE]
    labels = np.zeros((SIDE, SIDE), np.uint8)
    for part in range(NUM_PARTS):
        labels[(x - 22 - 20 * (part % 5)) ** 2 + (y - 40 - 40 * (part // 5)) ** 2 < 13**2] = part + 1
    return labels


def _outlines() -> list[Any]:
    """Ten closed lines (60, 2) in pixels of the picture."""
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1) * (70 + 6 * np.sin(5 * angles))[:, None]
    places = np.array([[200 + 200 * (part % 5), 230 + 240 * (part // 5)] for part in range(NUM_PARTS)])
    return [ring + place for place in places]


def scaling() -> dict[str, Work]:
    picture, reformatter = _picture(), VideoReformatter()

    def swscale() -> object:
        frame = VideoFrame.from_ndarray(picture, "rgb24")
        return reformatter.reformat(
            frame, SIDE, SIDE, "rgb24", interpolation=Interpolation.AREA, threads=1
        ).to_ndarray()

    return {
        "OpenCV": lambda: cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA),
        "PyAV's scaler": swscale,
    }


def contours() -> dict[str, Work]:
    masks = [np.ascontiguousarray(_labels() == part + 1).view(np.uint8) for part in range(NUM_PARTS)]

    def opencv() -> object:
        large = [cv2.resize(mask, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST) for mask in masks]
        return [cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE) for mask in large]

    works: dict[str, Work] = {"OpenCV": opencv}
    if contourpy := _module("contourpy"):
        works["contourpy"] = lambda: [contourpy.contour_generator(z=mask).lines(0.5) for mask in masks]
    return works


def pieces() -> dict[str, Work]:
    mask = (_labels() > 0).view(np.uint8)
    works: dict[str, Work] = {"OpenCV": lambda: cv2.connectedComponents(mask, connectivity=8, ltype=cv2.CV_32S)}
    if ndimage := _module("scipy.ndimage"):
        works["scipy"] = lambda: ndimage.label(mask, np.ones((3, 3), np.int8))
    return works


def lines() -> dict[str, Work]:
    plane, rings = np.zeros((HEIGHT, WIDTH), np.uint8), _outlines()
    fixed = [np.rint(16 * ring).astype(np.int32)[:, None] for ring in rings]
    works: dict[str, Work] = {"OpenCV": lambda: cv2.polylines(plane, fixed, True, 200, 2, cv2.LINE_AA, 4)}
    if aggdraw := _module("aggdraw"):
        flat = [np.concatenate([ring, ring[:1]]).ravel().tolist() for ring in rings]
        pillow, pen = importlib.import_module("PIL.Image"), aggdraw.Pen(200, 2)

        def agg() -> object:
            canvas = aggdraw.Draw(pillow.fromarray(plane))
            for ring in flat:
                canvas.line(ring, pen)
            return np.frombuffer(canvas.tobytes(), np.uint8)

        works["aggdraw"] = agg
    if draw := _module("PIL.ImageDraw"):
        points = [[(float(x), float(y)) for x, y in ring] for ring in rings]
        pillow = importlib.import_module("PIL.Image")

        def jagged() -> object:
            image = pillow.fromarray(plane)
            for ring in points:
                draw.Draw(image).line([*ring, ring[0]], 200, 2)
            return np.asarray(image)

        works["Pillow, jagged"] = jagged
    return works


def areas() -> dict[str, Work]:
    plane, rings = np.zeros((HEIGHT, WIDTH), np.uint8), _outlines()
    fixed = [np.rint(16 * ring).astype(np.int32)[:, None] for ring in rings]
    works: dict[str, Work] = {
        "OpenCV": lambda: [cv2.fillPoly(plane, [ring], 90 + n, cv2.LINE_8, 4) for n, ring in enumerate(fixed)]
    }
    if draw := _module("PIL.ImageDraw"):
        points = [[(float(x), float(y)) for x, y in ring] for ring in rings]
        pillow = importlib.import_module("PIL.Image")

        def filled() -> object:
            image = pillow.fromarray(plane)
            for n, ring in enumerate(points):
                draw.Draw(image).polygon(ring, 90 + n)
            return np.asarray(image)

        works["Pillow"] = filled
    labels, rows = _labels(), np.arange(HEIGHT) * SIDE // HEIGHT
    columns = np.arange(WIDTH) * SIDE // WIDTH
    values = np.arange(NUM_PARTS + 1, dtype=np.uint8)
    works["numpy, blocks of the labels"] = lambda: values[labels[rows][:, columns]]
    return works


def texts() -> dict[str, Work]:
    plane = np.zeros((HEIGHT, WIDTH), np.uint8)

    def opencv() -> object:
        for part in range(NUM_PARTS):
            place = (100 + 90 * part, 300)
            cv2.putText(plane, str(part), place, cv2.FONT_HERSHEY_SIMPLEX, 0.7, 255, 2, cv2.LINE_AA)
        return plane

    works: dict[str, Work] = {"OpenCV": opencv}
    fonts, draw = _module("PIL.ImageFont"), _module("PIL.ImageDraw")
    if fonts and draw:
        font, pillow = fonts.load_default(20), importlib.import_module("PIL.Image")

        def written() -> object:
            image = pillow.fromarray(plane)
            pen = draw.Draw(image)
            for part in range(NUM_PARTS):
                pen.text((100 + 90 * part, 280), str(part), 255, font)
            return np.asarray(image)

        works["Pillow"] = written
    return works


def jpeg() -> dict[str, Work]:
    picture = _picture()

    def with_av() -> object:
        codec = av.CodecContext.create("mjpeg", "w")
        assert isinstance(codec, VideoCodecContext)
        codec.width, codec.height, codec.pix_fmt, codec.time_base = WIDTH, HEIGHT, "yuvj420p", Fraction(1, 25)
        codec.options, codec.thread_count = {"qmin": "3", "qmax": "3"}, 1
        frame = VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuvj420p", threads=1)
        return [bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)]]

    return {"OpenCV": lambda: cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, 80)), "PyAV": with_av}


STEPS: dict[str, Callable[[], dict[str, Work]]] = {
    "scale an RGB array for the network": scaling,
    "outlines of ten parts": contours,
    "connected pieces of a mask": pieces,
    "ten smooth closed lines": lines,
    "ten filled areas": areas,
    "ten numbers": texts,
    "a JPEG for the preview": jpeg,
}


def _spent(work: Work, least: float = 0.01) -> float:
    """Milliseconds of processor time for one call."""
    calls, start = 0, time.process_time()
    while (spent := time.process_time() - start) < least:
        work()
        calls += 1
    return 1e3 * spent / calls


def measured(works: dict[str, Work], rounds: int) -> list[tuple[str, float, float]]:
    """(library, milliseconds, times OpenCV's) of each, in turns."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(_spent(work))
    ratios = {
        name: [mine / own for mine, own in zip(spent, times["OpenCV"], strict=True)] for name, spent in times.items()
    }
    return [(name, statistics.median(spent), statistics.median(ratios[name])) for name, spent in times.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    rows = [
        (step, name, f"{ms:.3f} ms", f"{ratio:.2f}")
        for step, make in STEPS.items()
        for name, ms, ratio in measured(make(), args.rounds)
    ]
    print(table(("step", "library", "one core", "times OpenCV's"), rows))
    print(f"\nCommit {commit()}; {', '.join(f'{key} {value}' for key, value in machine().items())}.")


if __name__ == "__main__":
    main()
