"""Generated tracks files, and their content, read with the standard library only."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from streamparts.tracksfile.rle import encode_mask

Line = dict[str, Any]

NAMES = ("head, left", 'tail "x"', "größe = 1")
MASKS = {"mask_hw": [32, 32], "offset_xy": [0, 4], "scale_xy": [2.0, 2.0], "coordinates": ""}
"""64 x 48 pixels in a mask of 32 x 32, with a border above and below."""
SMALL_MASKS = {"mask_hw": [32, 32], "offset_xy": [4, 0], "scale_xy": [1.5, 1.5], "coordinates": ""}
"""36 x 48 pixels."""


def part_line(number: int, name: str, x: float, y: float, visible: bool, mask: np.ndarray | None = None) -> Line:
    line = {
        "id": number,
        "name": name,
        "center": [round(x, 3), round(y, 3)],
        "affine": [[4.5, -1.25, round(x, 4)], [1.5, 3.75, round(y, 4)]],
        "area": 20.5 + number,
        "score": round(0.9 - 0.1 * number, 3),
        "visible": visible,
    }
    return line if mask is None else {**line, "mask": encode_mask(mask)}


def disc(number: int, step: int) -> np.ndarray:
    """A mask within the inner rows and columns of both kinds."""
    y, x = np.mgrid[:32, :32] + 0.5
    return np.hypot(x - 9 - 4 * number, y - 12 - step % 6) < 3


def header_line(names: tuple[str, ...], time_base: tuple[int, int], masks: bool = False, **model: Any) -> Line:
    return {
        "type": "header",
        "schema": "streamparts.tracks/3",
        "streamparts": "0.1.0",
        "model": {"name": "made up", "method": "assembly", "sha256": "0" * 64, "parts": list(names), **model},
        "source": {"name": "clip.mp4", "height": 48, "width": 64, "time_base": list(time_base), "rate": [25, 1]},
        "policy": "all",
        "coordinates": "",
        "masks": MASKS if masks else None,
    }


def frame_line(
    number: int, pts: int, base: tuple[int, int], names: tuple[str, ...], hidden: tuple[int, ...] = (), **more: Any
) -> Line:
    """A part k of frame n is at (7.1234 + 13 k + n / 3, 11.4567 + n % 7)."""
    masks = more.pop("masks", False)
    parts = [
        part_line(
            k,
            name,
            7.1234 + 13 * k + number % 1000 / 3,
            11.4567 + number % 7,
            k not in hidden,
            disc(k, number) if masks and k not in hidden else None,
        )
        for k, name in enumerate(names)
    ]
    seconds = round(float(Fraction(*base) * pts), 6)
    return {"type": "frame", "frame": number, "pts": pts, "pts_seconds": seconds, "parts": parts, **more}


def write_lines(path: Path, lines: list[Line]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def even_tracks(path: Path, num_frames: int = 30, names: tuple[str, ...] = NAMES, masks: bool = False) -> Path:
    """25 frames a second, everything seen."""
    frames = [frame_line(n, n * 512, (1, 12800), names, masks=masks) for n in range(num_frames)]
    return write_lines(path, [header_line(names, (1, 12800), masks), *frames])


def awkward_tracks(path: Path, masks: bool = False, names: tuple[str, ...] = NAMES) -> Path:
    """Uneven times, frames that were dropped, parts and whole frames that are not seen, and, after a gap, a segment of
    another size, with another clock, whose times go back."""
    base, other = (1, 1000), (1, 90000)
    segment = {"type": "segment", "segment": 1, "frame": 8, "height": 48, "width": 36, "time_base": list(other)}
    lines = [
        header_line(names, base, masks),
        frame_line(2, 33, base, names, masks=masks),
        frame_line(3, 90, base, names, (1,), masks=masks),
        frame_line(6, 91, base, names, (0, 1, 2), dropped=2, masks=masks),
        {"type": "gap", "frame": 8, "pts": 1001, "pts_seconds": 0.011122, "seconds": 5.2, "reason": "it was closed"},
        {**segment, "masks": SMALL_MASKS if masks else None},
        frame_line(8, 1001, other, names, (), segment=1, dropped=1, masks=masks),
        frame_line(9, 4004, other, names, (2,), segment=1, masks=masks),
    ]
    return write_lines(path, lines)


def lines_of(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def frames_of(path: Path) -> list[Line]:
    return [line for line in lines_of(path) if line["type"] == "frame"]


def exact_seconds(path: Path) -> list[float]:
    """Time of every frame, from its ticks."""
    base, out = Fraction(0), list[float]()
    for line in lines_of(path):
        if line["type"] != "gap" and line["type"] != "frame":
            base = Fraction(*(line["source"]["time_base"] if line["type"] == "header" else line["time_base"]))
        if line["type"] == "frame":
            out.append(float(line["pts"] * base))
    return out


def places(path: Path, num_rows: int | None = None, shift: float = 0.0) -> np.ndarray:
    """(frames, parts, 3) x, y, score; nan, nan and 0 where not seen. With `num_rows` by frame number, and nan, nan, nan
    in frames that are not there. `shift` is added to x and y."""
    frames = frames_of(path)
    rows = [
        [(*part["center"], part["score"]) if part["visible"] else (np.nan, np.nan, 0.0) for part in frame["parts"]]
        for frame in frames
    ]
    values = np.array(rows, float).reshape(len(frames), -1, 3)
    values[:, :, :2] += shift
    if num_rows is None:
        return values
    out = np.full((num_rows, *values.shape[1:]), np.nan)
    out[[frame["frame"] for frame in frames]] = values
    return out
