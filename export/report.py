"""What a comparison leaves behind: a table of all frames, a picture of the worst one, or an error."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from export.parity import Comparison, Tolerance
from export.parity_frames import FrameSet
from streamparts.data import ByteArray
from streamparts.errors import ModelError
from streamparts.sidecar import write_whole
from streamparts.sinks.drawing import part_color

SCALE = 3
"""Pixels of the picture per pixel of the model."""


def require_parity(
    comparison: Comparison, tolerance: Tolerance, frames: FrameSet, output: Path, report: Path | None
) -> None:
    """Leave the table at `report`. Beyond tolerance leave the worst frame beside `output`, as x.worst.png, and raise
    ModelError."""
    if report:
        write_whole(report, table(comparison, tolerance).encode())
    if comparison.passes(tolerance):
        return
    worst = comparison.worst(tolerance)
    picture = output.with_suffix(".worst.png")
    write_picture(picture, frames.images[worst], comparison.reference[worst], comparison.candidate[worst])
    raise ModelError(
        f"what would be written differs from what it is made of (worst: frame {worst}, {comparison.names[worst]}, see "
        f"{picture}): {comparison.summary()}; allowed are {limits(tolerance)}. Nothing was written"
    )


def limits(tolerance: Tolerance) -> str:
    """What may differ, in words."""
    which = "in the mean" if tolerance.mean else "in any frame"
    return (
        f"{100 * tolerance.label_mismatch:g} % of the labels, {tolerance.pose_error_px:g} px@128 and "
        f"{tolerance.score_error:g} of a score {which}"
    )


def table(comparison: Comparison, tolerance: Tolerance) -> str:
    """JSON: the tolerance, the verdict, the figures over the real frames and those of each frame."""
    real = slice(comparison.num_real)
    rows = [
        {
            "frame": name,
            "label_mismatch": number(comparison.label_mismatch[row]),
            "pose_error_px": number(comparison.pose_error_px[row]),
            "mean_pose_error_px": number(comparison.mean_pose_error_px[row]),
            "score_error": number(comparison.score_error[row]),
        }
        for row, name in enumerate(comparison.names)
    ]
    result = {
        "passes": comparison.passes(tolerance),
        "tolerance": asdict(tolerance),
        "real_frames": comparison.num_real,
        "label_agreement": comparison.label_agreement,
        "mean_pose_error_px": number(comparison.mean_pose_error_px[real].mean()),
        "max_pose_error_px": number(comparison.pose_error_px[real].max()),
        "max_score_error": number(comparison.score_error[real].max()),
        "frames": rows,
    }
    return json.dumps(result, indent=2, allow_nan=False) + "\n"


def number(value: float) -> float | None:
    """As JSON knows it: null for nan and infinity."""
    return float(value) if math.isfinite(value) else None


def write_picture(path: Path, image: ByteArray, reference: ByteArray, candidate: ByteArray) -> None:
    """A PNG: an (H, W, 3) picture, and both (H, W) labels in the parts' colours, side by side."""
    colours = np.array([(20, 20, 20), *map(part_color, range(255))], np.uint8)
    row = np.concatenate([image, colours[reference], colours[candidate]], axis=1)
    done, png = cv2.imencode(".png", row.repeat(SCALE, 0).repeat(SCALE, 1)[..., ::-1])
    if not done:
        raise ModelError(f"{path} cannot be encoded as PNG")
    write_whole(path, png.tobytes())
