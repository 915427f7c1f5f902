"""Tracks the parts of an object in video, with a network that learned the parts without labels.

    import streamparts

    for tracks in streamparts.track("dance.mp4"):
        print(tracks.pts_seconds, tracks.centers[tracks.visible])

Importing this package loads no library; numpy, video, network and drawing libraries are loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from streamparts.errors import (
    BackendError,
    MissingExtraError,
    ModelError,
    SkeletonError,
    StreampartsError,
    TracksError,
    VideoError,
)

if TYPE_CHECKING:
    from streamparts.backends.loading import load_model as load_model
    from streamparts.corpus.run import run_corpus as run_corpus
    from streamparts.data import Frame as Frame
    from streamparts.data import Joints as Joints
    from streamparts.data import Parts as Parts
    from streamparts.data import Tracks as Tracks
    from streamparts.formats.pandas_table import to_pandas as to_pandas
    from streamparts.geometry import Letterbox as Letterbox
    from streamparts.learning.learn import learn as learn
    from streamparts.runtime.asynchronous import atrack as atrack
    from streamparts.runtime.loop import track as track
    from streamparts.runtime.stream import run as run
    from streamparts.runtime.stream import run_many as run_many
    from streamparts.runtime.tracker import Tracker as Tracker
    from streamparts.sources import open_source as open_source
    from streamparts.tracking.skeleton import Skeleton as Skeleton
    from streamparts.tracking.skeleton_file import load_skeleton as load_skeleton
    from streamparts.tracking.smoothing import Smoothing as Smoothing
    from streamparts.tracksfile.reading import read_tracks as read_tracks

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "Frame",
    "Joints",
    "Letterbox",
    "MissingExtraError",
    "ModelError",
    "Parts",
    "Skeleton",
    "SkeletonError",
    "Smoothing",
    "StreampartsError",
    "Tracker",
    "Tracks",
    "TracksError",
    "VideoError",
    "atrack",
    "learn",
    "load_model",
    "load_skeleton",
    "open_source",
    "read_tracks",
    "run",
    "run_corpus",
    "run_many",
    "to_pandas",
    "track",
]

_HOME_OF = {
    "Frame": "streamparts.data",
    "Joints": "streamparts.data",
    "Letterbox": "streamparts.geometry",
    "Parts": "streamparts.data",
    "Skeleton": "streamparts.tracking.skeleton",
    "Smoothing": "streamparts.tracking.smoothing",
    "Tracker": "streamparts.runtime.tracker",
    "Tracks": "streamparts.data",
    "atrack": "streamparts.runtime.asynchronous",
    "learn": "streamparts.learning.learn",
    "load_model": "streamparts.backends.loading",
    "load_skeleton": "streamparts.tracking.skeleton_file",
    "open_source": "streamparts.sources",
    "read_tracks": "streamparts.tracksfile.reading",
    "run": "streamparts.runtime.stream",
    "run_corpus": "streamparts.corpus.run",
    "run_many": "streamparts.runtime.stream",
    "to_pandas": "streamparts.formats.pandas_table",
    "track": "streamparts.runtime.loop",
}


def __getattr__(name: str) -> object:
    if name in ("data", "geometry"):  # modules that could be used before they were imported
        return importlib.import_module(f"streamparts.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'streamparts' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
