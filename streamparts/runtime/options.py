"""The options of track, run and related functions as values, which flow unchanged from the caller to the loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from streamparts.backends.choice import AUTO, Chosen, choose_backend
from streamparts.backends.loading import load_model
from streamparts.bundle.load import Bundle
from streamparts.bundle.spec import ModelSpec
from streamparts.data import Backend, Tracks
from streamparts.runtime.rate_limit import RateLimit
from streamparts.runtime.stats import Progress, Stats
from streamparts.sources import Source
from streamparts.tracking.roi import Following, Roi
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
    skeleton: Skeleton | str | Path | None = None
    """Adds joints, and places hidden parts; a skeleton or its file."""
    roi: Roi | None = None
    """Region that the network sees in each frame; None is "auto"."""
    subjects: int = 1
    """Number of subjects to follow."""

    def __post_init__(self) -> None:
        if self.policy not in (None, *POLICIES):
            raise ValueError(f"policy must be one of {', '.join(POLICIES)}, got {self.policy!r}")
        if self.first_index < 0:
            raise ValueError(f"first_index must not be negative, got {self.first_index}")
        if self.max_fps is not None and not 0 < self.max_fps < float("inf"):
            raise ValueError(f"max_fps must be a positive number, got {self.max_fps}")

    def rate_limit(self) -> RateLimit | None:
        """Selects the frames of one source, by their times; None takes them all."""
        return None if self.max_fps is None else RateLimit(self.max_fps)

    def following(self, spec: ModelSpec) -> Following:
        """Return what selects the region that the network of a model sees. Raises ValueError for an invalid region;
        ModelError for several subjects if the model has no `subject`."""
        return Following.of(spec, self.roi, self.subjects)

    def fitted(self, spec: ModelSpec) -> Tracking:
        """Return the same options with the skeleton read from its file. Raises as `following` does; SkeletonError for a
        skeleton of other parts."""
        self.following(spec)
        return replace(self, skeleton=skeleton_for(spec.parts, self.skeleton))


TRACKING = Tracking()
"""Default: all frames, without filtering."""


@dataclass(frozen=True, slots=True)
class Network:
    """The network of a run, as given by the user."""

    model: str | Path | Bundle | None = None
    """Path or name of a model, or a bundle; None is the default model."""
    backend: Backend | str = AUTO
    """An open backend, or a name for backends.choice.choose_backend."""
    threads: int | None = None
    """Threads of a CPU backend."""
    trust_engine: bool = False
    """Load a TensorRT engine that was not built here."""

    def load(self) -> Bundle:
        """Raises ModelError."""
        return self.model if isinstance(self.model, Bundle) else load_model(self.model, self.trust_engine)

    def open(self, bundle: Bundle) -> Chosen:
        """Open the backend for the loaded model. Raises BackendError, or ValueError for threads of an open one."""
        if isinstance(self.backend, str):
            return choose_backend(bundle, self.backend, self.threads)
        if self.threads is not None:
            raise ValueError("threads apply to a backend given by name; this one is already open")
        return Chosen(self.backend, "given")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """The caller's functions, and its signal to stop. `on_tracks` and `progress` get the source's name first."""

    opener: Callable[[str | Path], Source] | None = None
    """Opens a source given as a path or word; None is open_source."""
    stats: str | Path | Callable[[Stats], None] | None = None
    """Receives the statistics: a file, "-" for stderr, or a function."""
    on_tracks: Callable[[str, Tracks], None] | None = None
    """Called with each frame's tracks, in a separate thread."""
    progress: Callable[[str, Progress], None] | None = None
    """Called after each frame, in the loop's thread."""
    say: Callable[[str], None] | None = None
    """Receives lines for the user."""
    stop: threading.Event | None = None
    """Ends the run after the current frame once it is set."""


NO_HOOKS = Hooks()


def default_policy(source: Source) -> Policy:
    """ "latest" for live sources, else "all"."""
    return "latest" if source.live else "all"
