"""A typical hand-written loop around the bundled model: cv2.VideoCapture, ONNX Runtime, cv2.VideoWriter.

python -m benchmarks.plain_loop CLIP CENTRES.jsonl [DRAWN.mp4]

It is sequential, numbers frames instead of using times, and has no tracker: a hidden part is simply missing.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime

from streamparts.arrays import ByteArray
from streamparts.bundle.load import find_model

COLOURS = np.random.default_rng(1).integers(60, 255, (256, 3), np.uint8)


def main(clip: str, centres: str, drawn: str | None = None) -> None:
    session = onnxruntime.InferenceSession(find_model("puppet-human"), providers=["CPUExecutionProvider"])
    side = session.get_inputs()[0].shape[1]
    num_frames = found = 0
    began, cpu = time.perf_counter(), time.process_time()
    video = cv2.VideoCapture(clip)
    writer = None
    with Path(centres).open("w", encoding="utf-8") as lines:
        while True:
            there, picture = video.read()
            if not there:
                break
            small, (scale, left, top) = fitted(picture, side)
            labels, affines, scores = session.run(
                ["labels", "affines", "scores"], {"image": small[None, ..., ::-1].copy()}
            )
            points = [
                [part, *(((affines[0, part, :, 2] + 1) * side / 2 - (left, top)) / scale).tolist()]
                for part in np.flatnonzero(scores[0] > 0.5).tolist()
            ]
            lines.write(json.dumps(points) + "\n")
            num_frames += 1
            found += bool(points)
            if drawn:
                if writer is None:
                    rate = video.get(cv2.CAP_PROP_FPS)
                    writer = cv2.VideoWriter(drawn, cv2.VideoWriter.fourcc(*"mp4v"), rate, picture.shape[1::-1])
                writer.write(painted(picture, labels[0], points, (scale, left, top)))
    if writer is not None:
        writer.release()
    video.release()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({"frames": num_frames, "found": found, "seconds": seconds, "processor seconds": cpu}))


def fitted(picture: Any, side: int) -> tuple[ByteArray, tuple[float, int, int]]:
    """(side, side, 3) with grey borders, and scale, left and top of the frame in it."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    small = cv2.resize(picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    left, top = (side - small.shape[1]) // 2, (side - small.shape[0]) // 2
    out = np.full((side, side, 3), 114, np.uint8)
    out[top : top + small.shape[0], left : left + small.shape[1]] = small
    return out, (scale, left, top)


def painted(picture: Any, labels: ByteArray, points: list[list[float]], place: tuple[float, int, int]) -> Any:
    """The frame with its parts' colours and a dot at each centre."""
    height, width = picture.shape[:2]
    scale, left, top = place
    inner = labels[top : top + round(height * scale), left : left + round(width * scale)]
    coloured, inside = (
        cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST) for small in (COLOURS[inner], inner)
    )
    cv2.copyTo(cv2.addWeighted(picture, 0.5, coloured, 0.5, 0), inside, picture)
    for _, x, y in points:
        cv2.circle(picture, (round(x), round(y)), 5, (255, 255, 255), -1)
    return picture


if __name__ == "__main__":
    main(*sys.argv[1:])
