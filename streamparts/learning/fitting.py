"""Selects the bundled model that finds its subject in the given clips."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from streamparts.backends.choice import choose_backend
from streamparts.backends.loading import load_model
from streamparts.bundle.shipped import model_names
from streamparts.parity.sample_frames import frames_spread_over
from streamparts.runtime.tracker import Tracker
from streamparts.sources.rescale import Rescaler

NUM_FRAMES = 24
SCORE, SHARE = 0.8, 0.7
"""Minimum subject score, and minimum share of frames that must reach it."""


def best_model(clips: Path, say: Callable[[str], None]) -> str:
    """Return the bundled model that finds its subject in most frames of the clips; "" if none finds it in enough of
    them. Raises VideoError if the clips cannot be read."""
    specs = {name: load_model(name).spec for name in model_names()}
    shares = {
        name: share_found(name, clips) for name, spec in specs.items() if spec.subject and spec.precision == "fp32"
    }
    best = max(shares, key=lambda name: shares[name], default="")
    if not best or shares[best] < SHARE:
        return ""
    say(f"{best} finds its subject in {shares[best]:.0%} of the frames")
    return best


def share_found(name: str, clips: Path) -> float:
    """Share of some frames in which the subject score is high enough."""
    bundle, rescaler, found = load_model(name), Rescaler(), []
    backend = choose_backend(bundle).backend
    for _, frame in frames_spread_over(clips, NUM_FRAMES):
        tracks = Tracker(bundle, backend=backend).update(rescaler.rgb(frame), 0.0)
        found.append((tracks.subject_score or 0.0) >= SCORE)
    return float(np.mean(found))
