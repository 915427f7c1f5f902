"""How a video is tracked: the options that track, run and their kin share, as one value."""

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
    """How the frames of one video become tracks. Raises ValueError where a value is out of range."""

    policy: Policy | None = None
    """What happens when frames come faster than they are taken; None is the source's own, see default_policy."""
    max_fps: float | None = None
    """Leaves out frames, by their times, so that no more than so many a second are tracked."""
    first_index: int = 0
    """Frames before this one are read and left out."""
    smoothing: Smoothing | None = None
    """Filters the poses over time and keeps symmetric parts apart; None leaves them as the network gives them."""
    skeleton: Skeleton | None = None
    """Gives joints, and places hidden parts."""
    following: Following = WHOLE_PICTURE
    """What the network sees of each frame."""

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
        """The same from what users give, for one model. Raises ValueError; SkeletonError for the skeleton of other
        parts; ModelError for several subjects of a model that does not know them."""
        return Tracking(
            policy=policy,
            max_fps=max_fps,
            first_index=first_index,
            smoothing=smoothing,
            skeleton=skeleton_for(spec.parts, skeleton),
            following=Following.of(spec, roi, subjects),
        )


TRACKING = Tracking()
"""All frames, as the network gives them."""


def default_policy(source: Source) -> Policy:
    """ "latest" for what is live, else "all"."""
    return "latest" if source.live else "all"
