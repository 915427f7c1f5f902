"""Options of every video in a corpus, as values sent to the workers."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import msgspec

from streamparts.bundle.load import Bundle
from streamparts.runtime.options import TRACKING, Tracking
from streamparts.sinks.outputs import Outputs
from streamparts.sources.reading import READING, Reading
from streamparts.tracksfile.records import SCHEMA as TRACKS_SCHEMA

RETRIES = 2
"""Further attempts at a video, by default."""
BOTH = Outputs(Path("overlay.mp4"), Path("tracks.jsonl"))
"""The outputs of each video, under these names behind its own."""
EACH_VIDEOS = ("policy", "first_index")
"""Options of Tracking that a corpus run sets itself, for each video."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusOptions:
    """Options for reading and tracking each video, and for writing its outputs."""

    outputs: Outputs = BOTH
    """Only whether a file is requested counts: its name follows from the video's."""
    tracking: Tracking = TRACKING
    reading: Reading = READING

    def __post_init__(self) -> None:
        if not self.outputs.paths:
            raise ValueError("a corpus run writes overlays, tracks or both; neither was requested")
        if self.outputs.masks and self.outputs.tracks is None:
            raise ValueError("masks go into the tracks, which were not requested")
        reading = self.reading
        if reading.damaged not in ("keep", "drop"):
            raise ValueError(f"damaged must be keep or drop, got {reading.damaged!r}")
        if reading.max_pixels < 1:
            raise ValueError(f"max_pixels must be positive, got {reading.max_pixels}")
        start, end = reading.start or 0, reading.end
        if start < 0 or (end is not None and end <= start) or reading.every < 1:
            raise ValueError(
                f"start {reading.start}, end {end}, every {reading.every}: give 0 <= start < end and every >= 1"
            )

    @property
    def sha256(self) -> str:
        """SHA-256, in hexadecimal, of everything that affects the outputs, including the schema of the tracks. How a
        video is decoded does not."""
        outputs, tracking, reading = self.outputs, self.tracking, self.reading
        values = {one.name: getattr(tracking, one.name) for one in fields(tracking) if one.name not in EACH_VIDEOS}
        if tracking.smoothing and not tracking.smoothing.side_seconds:  # as before votes on sides existed
            kept = {name: value for name, value in asdict(tracking.smoothing).items() if name != "side_seconds"}
            values["smoothing"] = msgspec.Raw(msgspec.json.encode(kept))  # in the order of the fields
        values |= {name: getattr(reading, name) for name in ("start", "end", "every")}
        values |= {"overlay": outputs.overlay is not None, "tracks": outputs.tracks is not None, "masks": outputs.masks}
        if outputs.overlay is not None:
            values |= {name: getattr(outputs, name) for name in ("style", "encoder", "audio")}
        if reading.damaged != "keep":  # results from before this option existed stay valid
            values["damaged"] = reading.damaged
        values |= {"schema": TRACKS_SCHEMA, "fps": None if reading.fps is None else str(reading.fps)}
        return hashlib.sha256(msgspec.json.encode(values, order="deterministic")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """The workers of a corpus run, as given by the user. Raises ValueError for invalid numbers."""

    workers: int | None = None
    """Number of processes; None for as many as there is room for."""
    cluster: str | None = None
    """Ray cluster: "auto" or an address; None for this machine."""
    cpus_per_task: float | None = None
    """CPUs of a worker on the cluster."""
    gpus_per_task: float = 0
    """GPUs of a worker on the cluster."""
    retries: int = RETRIES
    """Further attempts after a failure that may be temporary."""

    def __post_init__(self) -> None:
        if self.retries < 0 or (self.workers is not None and self.workers < 1):
            raise ValueError(f"retries {self.retries}, workers {self.workers}: give 0 or more, 1 or more")
        if self.cluster is None and (self.cpus_per_task is not None or self.gpus_per_task):
            raise ValueError("cpus_per_task and gpus_per_task are for clusters: also give cluster")
        if (self.cpus_per_task is not None and self.cpus_per_task < 0) or self.gpus_per_task < 0:
            raise ValueError(
                f"cpus_per_task {self.cpus_per_task} and gpus_per_task {self.gpus_per_task} must not be negative"
            )


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings sent to a worker once."""

    bundle: Bundle
    options: CorpusOptions
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
