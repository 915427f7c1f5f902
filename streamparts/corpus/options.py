"""What every video of a corpus is run with: values that travel to the workers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction

import msgspec

from streamparts.bundle.load import Bundle
from streamparts.sinks.overlay.style import DEFAULT_STYLE, OverlayStyle
from streamparts.tracking.roi import Roi
from streamparts.tracking.skeleton import Skeleton
from streamparts.tracking.smoothing import Smoothing
from streamparts.tracksfile.records import SCHEMA as TRACKS_SCHEMA

_HOW = ("hwaccel",)
"""Fields that say how the work is done, not what comes out."""
_OF_OVERLAY = ("style", "encoder", "audio")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is read of each video, and what is written."""

    overlay: bool = True
    """Whether to write an overlay video."""
    tracks: bool = True
    """Whether to write tracks."""
    masks: bool = False
    """Whether the tracks have a mask for every part."""
    style: OverlayStyle = DEFAULT_STYLE
    """What the overlay shows."""
    encoder: str = "auto"
    """Of the overlay."""
    audio: bool = True
    """Whether the overlay carries the video's sound."""
    smoothing: Smoothing | None = None
    """Filters the poses over time."""
    skeleton: Skeleton | None = None
    """Gives joints, and places hidden parts."""
    start: float | None = None
    """Seconds of each video to begin at."""
    end: float | None = None
    """Seconds of each video to end before."""
    every: int = 1
    """Only every so many frames."""
    fps: Fraction | None = None
    """Of sequences of pictures."""
    max_fps: float | None = None
    """No more than so many frames for a second of video."""
    hwaccel: str = "none"
    """What decodes."""
    roi: Roi | None = None
    """What the network is to see."""
    subjects: int = 1
    """How many are followed."""
    damaged: str = "keep"
    """Of frames of which something is missing: "keep" or "drop"."""

    def __post_init__(self) -> None:
        if not (self.overlay or self.tracks):
            raise ValueError("a corpus run writes overlays, tracks or both; neither was asked for")
        if self.masks and not self.tracks:
            raise ValueError("masks go into the tracks, which were not asked for")

    @property
    def sha256(self) -> str:
        """Of what decides the outputs, the schema of the tracks with it; in hexadecimal."""
        left_out = _HOW if self.overlay else (*_HOW, *_OF_OVERLAY)
        values = {name: getattr(self, name) for name in self.__slots__ if name not in left_out}
        if self.damaged == "keep":  # what was made before there was this choice stays valid
            del values["damaged"]
        values |= {"schema": TRACKS_SCHEMA, "fps": None if self.fps is None else str(self.fps)}
        return hashlib.sha256(msgspec.json.encode(values, order="deterministic")).hexdigest()


@dataclass(frozen=True, slots=True)
class Settings:
    """What a worker is told once."""

    bundle: Bundle
    options: Options
    backend: str
    """A name for backends.choice.choose_backend."""
    threads: int | None
    """Of the network, of decoding and of encoding, each."""
    out_dir: str
    """Folder or address of the outputs."""
    token: str
    """What the driver wrote into `out_dir`: who does not find it there has another folder before it."""
    version: str
    """Of streamparts, at the driver."""


@dataclass(frozen=True, slots=True)
class Task:
    """One video for a worker."""

    number: int
    """Which of the corpus, from 0."""
    name: str
    """What its outputs are called after, with slashes: "a/x"."""
    source: str
    """Path, folder of pictures, or address."""
    attempt: int
    """From 1."""
    known: str | None = None
    """SHA-256 of the content that a result is there of, where the same options and model made it."""
    owner: tuple[str, str] | None = None
    """(content, source) of the other video whose outputs have this name: only the same content may replace them."""
