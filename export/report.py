"""Reports a comparison: a table of all frames, an image of the worst one, or an error."""

from __future__ import annotations

import json
import math
from pathlib import Path

import msgspec

from streamparts.bundle.agreement import Agreement, Tolerance, allowed
from streamparts.errors import ModelError
from streamparts.files import write_whole
from streamparts.parity.agreement import Comparison
from streamparts.parity.labels_picture import labels_png
from streamparts.parity.sample_frames import FrameSet

Problem = tuple[slice, Tolerance, str]
"""Rows of frames, their tolerance, and how they exceed it."""


def problems(comparison: Comparison, tolerance: Tolerance, frames: FrameSet) -> list[Problem]:
    """Return where the comparison exceeds the tolerance: on the real frames, on the synthetic ones."""
    real, odd = slice(frames.num_real), slice(frames.num_real, None)
    judged = [(real, tolerance)]
    if tolerance.odd and len(frames.names) > frames.num_real:
        judged.append((odd, msgspec.structs.replace(tolerance, pose_px=tolerance.odd * tolerance.pose_px)))
    return [
        (rows, limits, problem)
        for rows, limits in judged
        if (problem := comparison.of(rows).agreement().problem(limits))
    ]


def require_parity(
    comparison: Comparison, tolerance: Tolerance, frames: FrameSet, output: Path, report: Path | None
) -> Agreement:
    """Return the agreement on the real frames, and write the table to `report`. If it exceeds the tolerance, write the
    worst frame beside `output` as x.worst.png and raise ModelError."""
    found = problems(comparison, tolerance, frames)
    if report:
        write_whole(report, table(comparison, tolerance, frames, not found).encode())
    if not found:
        return comparison.of(slice(frames.num_real)).agreement()
    rows, limits, problem = found[0]
    worst = (rows.start or 0) + comparison.of(rows).worst(limits)
    picture = output.with_suffix(".worst.png")
    write_whole(picture, labels_png(frames.images[worst], comparison.reference[worst], comparison.candidate[worst]))
    raise ModelError(
        f"the exported model differs from the trained network (worst: frame {worst}, {frames.names[worst]}, see "
        f"{picture}): {problem}. Nothing was written"
    )


def said(agreement: Agreement, tolerance: Tolerance, frames: FrameSet) -> str:
    """Describe the agreement, its frames and its tolerance in words."""
    odd = len(frames.names) - frames.num_real
    return (
        f"{frames.num_real} real and {odd} synthetic frames: {agreement.describe()}\nallowed were {allowed(tolerance)}"
    )


def table(comparison: Comparison, tolerance: Tolerance, frames: FrameSet, passes: bool) -> str:
    """Build the JSON table: tolerance, verdict, and the figures over all real frames and of each frame."""
    rows = [
        {
            "frame": name,
            "label_mismatch": number(comparison.label_mismatch[row]),
            "pose_error_px": number(comparison.max_pose_px[row]),
            "mean_pose_error_px": number(comparison.mean_pose_px[row]),
            "score_error": number(comparison.score[row]),
        }
        for row, name in enumerate(frames.names)
    ]
    real = msgspec.to_builtins(comparison.of(slice(frames.num_real)).agreement())
    result = {
        "passes": passes,
        "tolerance": msgspec.to_builtins(tolerance),
        "real_frames": {name: number(value) for name, value in real.items()},
        "frames": rows,
    }
    return json.dumps(result, indent=2, allow_nan=False) + "\n"


def number(value: float) -> float | None:
    """Return the number for JSON: null for nan and infinity."""
    return float(value) if math.isfinite(value) else None
