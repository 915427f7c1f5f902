"""Options of every video in a corpus, as values sent to the workers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction

import msgspec

from streamparts.bundle.load import Bundle
from streamparts.sinks.overlay.style import DEFAULT_STYLE, OverlayStyle
from streamparts.sources.base import MAX_PIXELS
from streamparts.sources.reading import Reading
from streamparts.tracking.roi import Roi
from streamparts.tracking.skeleton import Skeleton
from streamparts.tracking.smoothing import Smoothing
from streamparts.tracksfile.records import SCHEMA as TRACKS_SCHEMA

_HOW = ("hwaccel", "max_pixels")
"""Fields that affect the processing, not the results."""
_OF_OVERLAY = ("style", "encoder", "audio")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options for reading each video and writing its outputs."""

    overlay: bool = True
    """Write an overlay video."""
    tracks: bool = True
    """Write tracks."""
    masks: bool = False
    """Add a mask for every part to the tracks."""
    style: OverlayStyle = DEFAULT_STYLE
    """Style of the overlay."""
    encoder: str = "auto"
    """Encoder of the overlay."""
    audio: bool = True
    """Copy the video's audio into the overlay."""
    smoothing: Smoothing | None = None
    """Filter the poses over time."""
    skeleton: Skeleton | None = None
    """Skeleton that adds joints and places hidden parts."""
    start: float | None = None
    """Start time in each video, in seconds."""
    end: float | None = None
    """End time in each video, in seconds."""
    every: int = 1
    """Use every N-th frame."""
    fps: Fraction | None = None
    """Frame rate of image sequences."""
    max_fps: float | None = None
    """Maximum frames per second of video."""
    hwaccel: str = "none"
    """Decoder."""
    roi: Roi | None = None
    """Region that the network sees."""
    subjects: int = 1
    """Number of subjects to follow."""
    damaged: str = "keep"
    """Damaged frames: "keep" or "drop"."""
    max_pixels: int = MAX_PIXELS
    """Refuse larger frames."""

    def __post_init__(self) -> None:
        if not (self.overlay or self.tracks):
            raise ValueError("a corpus run writes overlays, tracks or both; neither was requested")
        if self.masks and not self.tracks:
            raise ValueError("masks go into the tracks, which were not requested")

    @property
    def reading(self) -> Reading:
        """Options for reading each video."""
        return Reading(
            start=self.start,
            end=self.end,
            every=self.every,
            damaged=self.damaged,
            fps=self.fps,
            hwaccel=self.hwaccel,
            max_pixels=self.max_pixels,
        )

    @property
    def sha256(self) -> str:
        """SHA-256, in hexadecimal, of everything that affects the outputs, including the schema of the tracks."""
        left_out = _HOW if self.overlay else (*_HOW, *_OF_OVERLAY)
        values = {name: getattr(self, name) for name in self.__slots__ if name not in left_out}
        if self.damaged == "keep":  # results from before this option existed stay valid
            del values["damaged"]
        values |= {"schema": TRACKS_SCHEMA, "fps": None if self.fps is None else str(self.fps)}
        return hashlib.sha256(msgspec.json.encode(values, order="deterministic")).hexdigest()


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings sent to a worker once."""

    bundle: Bundle
    options: Options
    backend: str
    """A name for backends.choice.choose_backend."""
    threads: int | None
    """Threads of the network, of decoding and of encoding, each."""
    out_dir: str
    """Folder or address of the outputs."""
    token: str
    """Token that the driver wrote into `out_dir`: a worker that does not find it sees another folder."""
    version: str
    """Version of streamparts in the driver."""


@dataclass(frozen=True, slots=True)
class Task:
    """A video for a worker."""

    number: int
    """Index in the corpus."""
    name: str
    """Base name of its outputs, with slashes: "a/x"."""
    source: str
    """Path, folder of images, or address."""
    attempt: int
    """Number of the attempt, from 1."""
    known: str | None = None
    """SHA-256 of the content of the existing result, if it was made with the same options and model."""
    owner: tuple[str, str] | None = None
    """(content, source) of another video whose outputs have this name: only the same content may replace them."""
