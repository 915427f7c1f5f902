"""What a run says of itself at its end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FEW = 0.03
"""A share of the frames below which a subject that was seen may as well have been a mistake."""
FEWEST_FRAMES = 10
"""Of a run from which that can be told."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did and how long it took."""

    num_frames: int
    """Frames that went through all stages."""
    seconds: float
    """Wall time from the first frame asked for to the last output closed."""
    age_p50_ms: float
    """Median age of a result: from leaving the decoder to written by the last output. nan without frames."""
    age_p95_ms: float
    """95th percentile of the same."""
    age_p99_ms: float
    """99th percentile of the same."""
    fps_in: float
    """Frames decoded per second."""
    stage_ms: dict[str, float]
    """Mean milliseconds per frame in each stage; stages in different threads overlap. "decode" includes waiting for the
    source."""
    stage_p95_ms: dict[str, float]
    """95th percentiles of the same."""
    num_dropped: int
    """Frames of a live source that a newer one replaced before anybody took them."""
    num_skipped: int
    """Frames left out on purpose, to keep to max_fps."""
    num_gaps: int
    """Times the source broke off and came back."""
    num_segments: int
    """Unbroken stretches of the stream: one, unless it broke off or changed its size."""
    num_callback_lost: int
    """Results that `on_tracks` was too slow for."""
    num_messages_lost: int
    """Results that were not sent, or that a receiver was too slow for, as far as is known; of all addresses together.
    `notes` has the reasons."""
    decode_errors: int
    """Packets of the source that could not be decoded."""
    packets_lost: int
    """Packets of the source that are known to be lost on the way, or missing from a file."""
    num_damaged: int
    """Frames of which something was lost: those that are marked, and those left out for it."""
    repaired_times: int
    """Frames whose time was missing or not increasing in the source, and was continued."""
    outputs: tuple[Path, ...]
    """Files written."""
    notes: tuple[str, ...]
    """What is to be known of the outputs, in sentences."""
    interrupted: bool
    """Whether `stop`, or closing the preview, ended the run."""
    backend: str
    """Name of the backend that ran the network."""
    why_backend: str
    """What spoke for it, in one line."""
    warnings: tuple[str, ...]
    """What else went wrong, one line each: threads that had to be left behind, for example."""
    subject_share: float | None = None
    """Share of the frames in which the model's subject was seen; None where the model does not tell."""
    model: str = ""
    """Name of the model."""

    @property
    def mismatch(self) -> str | None:
        """One line where so few frames show the subject that model and video do not seem to be of one kind."""
        if self.subject_share is None or self.num_frames < FEWEST_FRAMES or self.subject_share >= FEW:
            return None
        return (
            f"the subject of {self.model} was seen in {round(self.subject_share * self.num_frames)} of "
            f"{self.num_frames} frames: model and video do not seem to be of one kind"
        )

    @property
    def fps(self) -> float:
        """Results per second."""
        return self.num_frames / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one of several sources ended."""

    source: str
    """What its outputs are called after."""
    summary: Summary
    """Of what was done, up to the error where there is one."""
    error: BaseException | None
    """What ended it, if not the end of the source or `stop`."""
