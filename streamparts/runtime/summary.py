"""The summary of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streamparts.runtime.counts import Counts

FEW = 0.03
"""Share of frames with the subject below which the detections may be false."""
FEWEST_FRAMES = 10
"""Minimum number of frames for this judgement."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Results and durations of a run."""

    num_frames: int
    """Frames that passed all stages."""
    seconds: float
    """Wall time from the first requested frame to the last closed output."""
    age_p50_ms: float
    """Median latency: from the decoder's output of a frame until the last sink has written its result. nan without
    frames."""
    age_p95_ms: float
    """95th percentile of the latency."""
    age_p99_ms: float
    """99th percentile of the latency."""
    fps_in: float
    """Frames decoded per second."""
    stage_ms: dict[str, float]
    """Mean milliseconds per frame in each stage; stages in different threads overlap. "decode" includes waiting for the
    source."""
    stage_p95_ms: dict[str, float]
    """95th percentiles of the same."""
    counts: Counts
    """Frames dropped, skipped, damaged and so on; results that were lost."""
    outputs: tuple[Path, ...]
    """Files written."""
    notes: tuple[str, ...]
    """Remarks about the outputs, such as the reasons for lost messages, in sentences."""
    interrupted: bool
    """True if `stop`, or closing the preview, ended the run."""
    backend: str
    """Name of the backend that ran the network."""
    why_backend: str
    """Reason for the choice of the backend, in one line."""
    warnings: tuple[str, ...]
    """Other problems, one line each, such as abandoned threads."""
    subject_share: float | None = None
    """Share of the frames that show the model's subject; None if the model does not estimate it."""
    model: str = ""
    """Name of the model."""

    @property
    def mismatch(self) -> str | None:
        """A line if so few frames show the subject that the model does not seem to fit the video."""
        if self.subject_share is None or self.num_frames < FEWEST_FRAMES or self.subject_share >= FEW:
            return None
        return (
            f"the subject of {self.model} was visible in {round(self.subject_share * self.num_frames)} of "
            f"{self.num_frames} frames: the model does not seem to fit the video"
        )

    @property
    def fps(self) -> float:
        """Results per second."""
        return self.num_frames / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one of several sources."""

    source: str
    """Base name of its outputs."""
    summary: Summary
    """Summary, up to the error if there is one."""
    error: BaseException | None
    """Error that ended it; None if it ended normally or by `stop`."""
