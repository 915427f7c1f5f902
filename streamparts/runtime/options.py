"""Tracking options shared by track, run and related functions, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from streamparts.bundle.spec import ModelSpec
from streamparts.sources import Source
from streamparts.tracking.roi import WHOLE_PICTURE, Following, Roi
from streamparts.tracking.skeleton import Skeleton
from streamparts.tracking.skeleton_file import skeleton_for
from streamparts.tracking.smoothing import Smoothing

Policy = Literal["all", "latest"]
POLICIES: tuple[Policy, ...] = ("all", "latest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """Options that determine the tracks of a video. Raises ValueError for values out of range."""

    policy: Policy | None = None
    """Frames to track if they arrive too fast; None is the source's default, see default_policy."""
    max_fps: float | None = None
    """Limits the tracked frames per second, by the frames' times."""
    first_index: int = 0
    """Earlier frames are read and skipped."""
    smoothing: Smoothing | None = None
    """Filters the poses over time and keeps mirrored parts apart; None leaves them unfiltered."""
    skeleton: Skeleton | None = None
    """Adds joints, and places hidden parts."""
    following: Following = WHOLE_PICTURE
    """Region that the network sees in each frame."""

    def __post_init__(self) -> None:
        if self.policy not in (None, *POLICIES):
            raise ValueError(f"policy must be one of {', '.join(POLICIES)}, got {self.policy!r}")
        if self.first_index < 0:
            raise ValueError(f"first_index must not be negative, got {self.first_index}")
        if self.max_fps is not None and not 0 < self.max_fps < float("inf"):
            raise ValueError(f"max_fps must be a positive number, got {self.max_fps}")

    @staticmethod
    def of(
        spec: ModelSpec,
        *,
        policy: Policy | None = None,
        max_fps: float | None = None,
        first_index: int = 0,
        smoothing: Smoothing | None = None,
        skeleton: Skeleton | str | Path | None = None,
        roi: Roi | None = None,
        subjects: int = 1,
    ) -> Tracking:
        """Convert users' arguments for one model. Raises ValueError; SkeletonError for a skeleton of other parts;
        ModelError for several subjects if the model has no `subject`."""
        return Tracking(
            policy=policy,
            max_fps=max_fps,
            first_index=first_index,
            smoothing=smoothing,
            skeleton=skeleton_for(spec.parts, skeleton),
            following=Following.of(spec, roi, subjects),
        )


TRACKING = Tracking()
"""Default: all frames, without filtering."""


def default_policy(source: Source) -> Policy:
    """ "latest" for live sources, else "all"."""
    return "latest" if source.live else "all"
