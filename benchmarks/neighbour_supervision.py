"""The loop of benchmarks.plain_loop with supervision's sinks and annotators: video in and out, masks, centres as JSON.

python -m benchmarks.neighbour_supervision CLIP CENTRES.json [DRAWN.mp4]
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from typing import Any

import cv2
import numpy as np
import onnxruntime
import supervision as sv

from benchmarks.plain_loop import fitted
from streamparts.arrays import ByteArray
from streamparts.bundle.load import find_model


def main(clip: str, centres: str, drawn: str | None = None) -> None:
    session = onnxruntime.InferenceSession(find_model("puppet-human"), providers=["CPUExecutionProvider"])
    side = session.get_inputs()[0].shape[1]
    num_frames = found = 0
    began, cpu = time.perf_counter(), time.process_time()
    masks, dots = sv.MaskAnnotator(), sv.VertexAnnotator()
    lines = sv.JSONSink(centres)
    lines.open()
    with ExitStack() as stack:
        stack.callback(lines.write_and_close)
        video = stack.enter_context(sv.VideoSink(drawn, sv.VideoInfo.from_video_path(clip))) if drawn else None
        for number, picture in enumerate(sv.get_video_frames_generator(clip)):
            small, place = fitted(picture, side)
            labels, affines, scores = session.run(
                ["labels", "affines", "scores"], {"image": small[None, ..., ::-1].copy()}
            )
            detections, points = detected(picture, labels[0], affines[0], scores[0], place)
            lines.append(detections, {"frame": number})
            num_frames += 1
            found += len(detections) > 0
            if video:
                video.write_frame(dots.annotate(masks.annotate(picture, detections), points))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({"frames": num_frames, "found": found, "seconds": seconds, "processor seconds": cpu}))


def detected(
    picture: Any, labels: ByteArray, affines: Any, scores: Any, place: tuple[float, int, int]
) -> tuple[sv.Detections, sv.KeyPoints]:
    """The parts in view, with masks of the frame's size."""
    scale, left, top = place
    height, width = picture.shape[:2]
    side = len(labels)
    inner = labels[top : top + round(height * scale), left : left + round(width * scale)]
    shown = cv2.resize(inner, (width, height), interpolation=cv2.INTER_NEAREST)
    parts = np.array([part for part in np.flatnonzero(scores > 0.5) if (inner == part + 1).any()], np.int64)
    masks = shown == (parts + 1)[:, None, None].astype(np.uint8)
    centres = ((affines[parts, :, 2] + 1) * side / 2 - (left, top)) / scale
    if not len(parts):
        return sv.Detections.empty(), sv.KeyPoints.empty()
    detections = sv.Detections(sv.mask_to_xyxy(masks), masks, scores[parts], parts)
    return detections, sv.KeyPoints(centres[None].astype(np.float32))


if __name__ == "__main__":
    main(*sys.argv[1:])
